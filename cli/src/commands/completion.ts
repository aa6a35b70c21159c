import { Argument, type Command, type Option } from 'commander'

const shells = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof shells)[number]

export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .description('Print a completion script for your shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  source <(agnes completion bash)
  agnes completion zsh > "\${fpath[1]}/_agnes"
  agnes completion fish > ~/.config/fish/completions/agnes.fish
`,
    )
    .action((shell: Shell) => {
      process.stdout.write(completionScript(shell, program))
    })
}

interface CommandWords {
  readonly name: string
  readonly description: string
  readonly flags: readonly FlagWords[]
  /** Values of the command's argument. */
  readonly values: readonly string[]
}

interface FlagWords {
  readonly flag: string
  readonly description: string
  readonly takesValue: boolean
  readonly values: readonly string[]
}

/** Made from the command tree as it is: nothing to keep in step by hand. */
export function completionScript(shell: Shell, program: Command): string {
  const commands = program.commands.map(
    (command): CommandWords => ({
      name: command.name(),
      description: command.description(),
      values: [
        ...command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
        ...command.commands.map((sub) => sub.name()),
      ],
      flags: [
        ...optionsOf(command).map(({ long, description, required, argChoices }) => ({
          flag: long ?? '',
          description,
          takesValue: required,
          values: argChoices ?? [],
        })),
        { flag: '--help', description: 'display help for command', takesValue: false, values: [] },
      ],
    }),
  )
  return scripts[shell](commands)
}

/** Also those of its subcommands; one that several have is one. */
function optionsOf(command: Command): readonly Option[] {
  const all = [command, ...command.commands].flatMap(({ options }) => options)
  return all.filter((option, i) => all.findIndex(({ long }) => long === option.long) === i)
}

const scripts: Readonly<Record<Shell, (commands: readonly CommandWords[]) => string>> = { bash, zsh, fish }

function bash(commands: readonly CommandWords[]): string {
  const cases = commands.map(({ name, flags, values }) => {
    const ofFlags = flags
      .filter(({ takesValue }) => takesValue)
      .map((one) => `        ${one.flag}) COMPREPLY=($(compgen -W "${one.values.join(' ')}" -- "$cur")); return ;;\n`)
    return `    ${name})
      case "$prev" in
${ofFlags.join('')}        *) words="${[...values, ...flags.map(({ flag }) => flag)].join(' ')}" ;;
      esac ;;`
  })
  return `_agnes() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="${commands.map(({ name }) => name).join(' ')} --help --version"
  else case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _agnes agnes
`
}

function zsh(commands: readonly CommandWords[]): string {
  const cases = commands.map(({ name, flags, values }) => {
    const specs = flags.map((one) => {
      const value = one.takesValue ? `:value:${one.values.length === 0 ? '' : `(${one.values.join(' ')})`}` : ''
      return `'${one.flag}[${escaped(one.description)}]${value}'`
    })
    const argument = values.length === 0 ? [] : [`'1:argument:(${values.join(' ')})'`]
    return `    ${name}) _arguments ${[...specs, ...argument].join(' ')} ;;`
  })
  return `#compdef agnes
_agnes() {
  local -a commands=(${commands.map(({ name, description }) => `'${name}:${escaped(description)}'`).join(' ')})
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  shift words; (( CURRENT-- ))
  case "$words[1]" in
${cases.join('\n')}
  esac
}
compdef _agnes agnes
`
}

function fish(commands: readonly CommandWords[]): string {
  const lines = commands.flatMap(({ name, description, flags, values }) => {
    const within = `complete -c agnes -n '__fish_seen_subcommand_from ${name}' -f`
    return [
      `complete -c agnes -n __fish_use_subcommand -f -a ${name} -d '${escaped(description)}'`,
      ...(values.length === 0 ? [] : [`${within} -a '${values.join(' ')}'`]),
      ...flags.map(({ flag, description: does, takesValue, values: choices }) => {
        const value = takesValue ? ` -r${choices.length === 0 ? '' : ` -a '${choices.join(' ')}'`}` : ''
        return `${within} -l ${flag.slice(2)}${value} -d '${escaped(does)}'`
      }),
    ]
  })
  return `${lines.join('\n')}\n`
}

/** Descriptions stand in single quotes; colons and brackets mean something to zsh. */
function escaped(text: string): string {
  return text.replace(/['[\]\\]/g, '').replaceAll(':', ' -')
}
