import { processorInterval } from '@agnes/config'
import { expect, test } from 'vitest'
import { effectiveVersion } from './processor.ts'
import { companions, processorOf, processors, scheduled } from './registry.ts'

test('each runs at its own cadence unless its interval says otherwise; 0 switches it off', () => {
  const cadences = (intervals: Record<string, number>) =>
    Object.fromEntries(scheduled(intervals).map(({ processor, everyMs }) => [processor.name, everyMs]))
  expect(cadences({})).toEqual({ transcripts: 600_000, failure_scan: 900_000, usage: 600_000 })
  expect(cadences({ failure_scan: 5, usage: 0 })).toEqual({ transcripts: 600_000, failure_scan: 5_000 })
})

test('the reference of configuration says how often each runs', () => {
  const beside = Object.entries(companions).map(([name, everySeconds]) => ({ name, everySeconds }))
  for (const { name, everySeconds } of [...processors, ...beside]) {
    expect(processorInterval.description).toContain(`\`${name.toUpperCase()}\` ${everySeconds}`)
  }
})

test('an interval of a processor there is not is refused, and so is its name', () => {
  expect(() => scheduled({ failure_scann: 5 })).toThrow('AGNES_PROCESSOR_FAILURE_SCANN_INTERVAL')
  expect(() => processorOf('nope')).toThrow('there is no processor nope')
})

test('what builds on another comes after it, and gets a new version with it', () => {
  for (const [i, processor] of processors.entries()) {
    if (processor.after === undefined) continue
    expect(processors.indexOf(processor.after)).toBeLessThan(i)
    expect(effectiveVersion(processor)).toBe(processor.version + processor.after.version)
  }
})
