/** What was typed: finds the command, runs it, says errors in one line. */
import { exitCodes, UserError } from '@agnes/config'
import { CommanderError } from 'commander'
import { harmless } from './output/text.ts'
import { createProgram } from './program.ts'

/** @returns the exit code */
export async function invoke(args: readonly string[]): Promise<number> {
  const program = createProgram()
  if (args.length === 0) {
    program.outputHelp()
    return exitCodes.done
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? exitCodes.done)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
    return fail(error)
  }
}

/** Says what went wrong. @returns the exit code */
export function fail(error: unknown): number {
  // A message may quote what came from anybody.
  if (error instanceof UserError) {
    process.stderr.write(`agnes: ${harmless(error.message)}\n`)
    if (error.hint !== undefined) process.stderr.write(`  hint: ${harmless(error.hint)}\n`)
    return error.exitCode
  }
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(
    `agnes: ${harmless(message.split('\n', 1)[0] ?? '')}\n  hint: this looks like a bug of ours: please report it\n`,
  )
  return exitCodes.failure
}
