/** The command tree, with errors in our own form: `agnes: …` and a hint, never commander's. */
import { Command } from 'commander'
import { commands } from './commands/registry.ts'
import { harmless } from './output/text.ts'
import { version } from './version.ts'

export function createProgram(): Command {
  const program = new Command('agnes')
    .description('Is my Agnes instance healthy, and what happened?')
    .version(version, '-V, --version')
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText(
      'after',
      '\nExamples:\n  agnes up         start everything on this machine\n  agnes demo       fill it with a simulated week\n  agnes health     is it well?\n  agnes activity   what happened?\n',
    )
  for (const register of commands) register(program)
  speakOurWay(program, 'agnes')
  return program
}

function speakOurWay(command: Command, words: string): void {
  command.configureOutput({ outputError: (text, write) => write(usageError(text, `see ${words} --help`)) })
  for (const sub of command.commands) speakOurWay(sub, `${words} ${sub.name()}`)
}

/** From `error: unknown option '--jsn'\n(Did you mean --json?)` to our form. */
export function usageError(text: string, hint: string): string {
  const [first = '', second = ''] = text.trim().split('\n')
  const meant = /^\(Did you mean (.+)\?\)$/.exec(second)?.[1]
  // It quotes what was typed, or pasted.
  return `agnes: ${harmless(first.replace(/^error: /, ''))}\n  hint: ${meant === undefined ? hint : `did you mean ${meant}?`}\n`
}
