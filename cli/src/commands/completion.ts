import { exitCodes, UserError } from '@agnes/config'
import type { Command } from 'commander'

export function registerCompletion(program: Command): void {
  program
    .command('completion <shell>')
    .description('Print a completion script for bash, zsh or fish')
    .addHelpText(
      'after',
      '\nExamples:\n  source <(agnes completion bash)\n  agnes completion fish > ~/.config/fish/completions/agnes.fish\n',
    )
    .action((shell: string) => {
      const script = scripts[shell]
      if (script === undefined) {
        throw new UserError(`there is no completion for "${shell}"`, {
          code: 'unknown_shell',
          exitCode: exitCodes.usage,
          hint: 'choose bash, zsh or fish',
        })
      }
      process.stdout.write(script(tree(program)))
    })
}

interface Completion {
  readonly name: string
  readonly description: string
  readonly flags: readonly string[]
}

/** The command tree as it is: nothing to keep in step by hand. */
function tree(program: Command): readonly Completion[] {
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    flags: command.options.flatMap((option) => (option.long === undefined ? [] : [option.long])),
  }))
}

const scripts: Readonly<Record<string, (commands: readonly Completion[]) => string>> = {
  bash: (commands) => `_agnes() {
  local cur="\${COMP_WORDS[COMP_CWORD]}"
  case "\${COMP_WORDS[1]}" in
${commands.map(({ name, flags }) => `    ${name}) [ "$COMP_CWORD" -gt 1 ] && COMPREPLY=($(compgen -W "${flags.join(' ')} --help" -- "$cur")) && return ;;`).join('\n')}
  esac
  [ "$COMP_CWORD" -eq 1 ] && COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')}" -- "$cur"))
}
complete -F _agnes agnes
`,
  zsh: (commands) => `#compdef agnes
_agnes() {
  local -a commands=(${commands.map(({ name, description }) => `'${name}:${quoted(description)}'`).join(' ')})
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case "$words[2]" in
${commands.map(({ name, flags }) => `    ${name}) compadd -- ${[...flags, '--help'].join(' ')} ;;`).join('\n')}
  esac
}
compdef _agnes agnes
`,
  fish: (commands) =>
    commands
      .flatMap(({ name, description, flags }) => [
        `complete -c agnes -n __fish_use_subcommand -f -a ${name} -d '${quoted(description)}'`,
        ...flags.map((flag) => `complete -c agnes -n '__fish_seen_subcommand_from ${name}' -l ${flag.slice(2)}`),
      ])
      .join('\n')
      .concat('\n'),
}

function quoted(text: string): string {
  return text.replaceAll("'", '').replaceAll(':', ' ')
}
