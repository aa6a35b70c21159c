#!/usr/bin/env node
import { exitCodes, nearest, UserError } from '@agnes/config'
/** The `agnes` command: finds the command, runs it, says errors in one line. */
import { Command, CommanderError } from 'commander'
import { commands } from './commands/registry.ts'
import { version } from './version.ts'

/** Writing to a pipe whose reader has gone (`agnes activity | head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.done)
  throw error
})

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const program = new Command('agnes')
    .description('Is my Agnes instance healthy, and what happened?')
    .version(version, '-V, --version')
    .showHelpAfterError('(agnes --help lists the commands)')
    .showSuggestionAfterError()
    .exitOverride()
  for (const register of commands) register(program)
  for (const command of program.commands) command.exitOverride()
  const [first] = args
  if (first === undefined) {
    program.outputHelp()
    return exitCodes.done
  }
  const names = program.commands.map((command) => command.name())
  if (!first.startsWith('-') && first !== 'help' && !names.includes(first)) {
    const near = nearest(first, names)
    return fail(
      new UserError(`there is no command "${first}"`, {
        code: 'unknown_command',
        exitCode: exitCodes.usage,
        hint: near === undefined ? 'agnes --help lists the commands' : `did you mean "agnes ${near}"?`,
      }),
    )
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? exitCodes.done)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
    return fail(error as Error)
  }
}

function fail(error: Error): number {
  if (error instanceof UserError) {
    process.stderr.write(`agnes: ${error.message}\n`)
    if (error.hint !== undefined) process.stderr.write(`  hint: ${error.hint}\n`)
    return error.exitCode
  }
  process.stderr.write(
    `agnes: ${error.message.split('\n', 1)[0]}\n  hint: this looks like a bug of ours: please report it\n`,
  )
  return exitCodes.failure
}
