/** Every processor, in the order they run when several are due. Adding one: its file, and a line here. */
import { exitCodes, UserError } from '@agnes/config'
import { failureScan } from './failure-scan/processor.ts'
import type { Processor } from './processor.ts'
import type { ScheduledProcessor } from './scheduler.ts'
import { transcripts } from './transcripts/processor.ts'
import { usage } from './usage/processor.ts'

export const processors: readonly Processor[] = [transcripts, failureScan, usage]

/** What runs beside them and looks at no session: seconds between two looks, by name of its interval. */
export const companions = { alerts: 60 } as const

/** @throws UserError (exit code 2) if there is none of that name */
export function processorOf(name: string): Processor {
  const found = processors.find((one) => one.name === name)
  if (found !== undefined) return found
  throw new UserError(`there is no processor ${name}`, {
    code: 'no_processor',
    exitCode: exitCodes.usage,
    hint: `there are ${processors.map((one) => one.name).join(', ')}`,
  })
}

/**
 * Those that run, with their cadence.
 * @param intervals seconds by name, of AGNES_PROCESSOR_<NAME>_INTERVAL; 0 switches one off
 * @throws UserError (exit code 2) for an interval of a processor there is not
 */
export function scheduled(intervals: Readonly<Record<string, number>>): ScheduledProcessor[] {
  const names = [...processors.map(({ name }) => name), ...Object.keys(companions)]
  for (const name of Object.keys(intervals)) {
    if (names.includes(name)) continue
    throw new UserError(`AGNES_PROCESSOR_${name.toUpperCase()}_INTERVAL: there is no such processor`, {
      code: 'unknown_variable',
      exitCode: exitCodes.usage,
      hint: `there are ${names.map((one) => `AGNES_PROCESSOR_${one.toUpperCase()}_INTERVAL`).join(', ')}`,
    })
  }
  return processors
    .map((processor) => ({ processor, everyMs: (intervals[processor.name] ?? processor.everySeconds) * 1000 }))
    .filter(({ everyMs }) => everyMs > 0)
}
