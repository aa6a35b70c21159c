import { execFileSync, spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { createProgram } from '../program.ts'
import { completionScript } from './completion.ts'

const program = createProgram()
const shells = ['bash', 'zsh', 'fish'] as const

test.for(shells)('the %s script is one the shell can read', (shell, context) => {
  const { error, status, stderr } = spawnSync(shell, ['-n'], { input: completionScript(shell, program) })
  if (error !== undefined) return context.skip(`${shell} is not installed here`)
  expect(stderr.toString()).toBe('')
  expect(status).toBe(0)
})

test.each(shells)('the %s script knows every command and option', (shell) => {
  const script = completionScript(shell, program)
  for (const command of program.commands) {
    expect(script).toMatch(new RegExp(`\\b${command.name()}\\b`))
    for (const { long } of command.options) expect(script).toContain(shell === 'fish' ? `-l ${long?.slice(2)} ` : long)
  }
})

test.each([
  [['agnes', 'he'], ['health']],
  [
    ['agnes', 'activity', '--inc'],
    ['--include-reads', '--include-heartbeats'],
  ],
  [['agnes', 'activity', '--format', 'c'], ['csv']],
  [
    ['agnes', 'completion', ''],
    ['bash', 'zsh', 'fish', '--help'],
  ],
  [['agnes', 'activity', '--user', ''], []],
])('bash completes %j', (words, expected) => {
  const script = `${completionScript('bash', program)}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _agnes; printf '%s\\n' "\${COMPREPLY[@]}"`
  const offered = execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' })
  expect(offered.split('\n').filter((word) => word !== '')).toEqual(expected)
})
