/** What needs a person at a terminal: writing the message, reading the preview, saying yes. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import { exitCodes, UserError } from '@agnes/config'

export function isTerminal(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true
}

const template = `

# What did you want, and what happened instead?
# Lines that begin with "#" are left out; an empty message sends nothing.
`

/** The message as written in the editor; empty when nothing was. @throws UserError if there is no editor */
export function writeMessage(env: NodeJS.ProcessEnv): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'agnes-report-'))
  const file = path.join(directory, 'REPORT.md')
  try {
    writeFileSync(file, template, { mode: 0o600 })
    const editor = env.VISUAL || env.EDITOR || 'vi'
    const { status, error } = runShell(editor, [file], 'inherit')
    if (error !== undefined || status !== 0) {
      throw new UserError(`the editor (${editor}) ended with ${error?.message ?? `exit code ${status}`}`, {
        code: 'no_editor',
        hint: 'set EDITOR, or give the message: agnes report --message "…"',
      })
    }
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => !line.startsWith('#'))
      .join('\n')
      .trim()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Shows a text; with a pager when it is longer than the screen. */
export function show(heading: string, text: string, env: NodeJS.ProcessEnv): void {
  const whole = `${heading}\n\n${text}\n`
  const rows = process.stdout.rows || 24
  if (isTerminal() && whole.split('\n').length > rows) {
    const { status, error } = runShell(env.PAGER || 'less', [], whole)
    if (error === undefined && status === 0) return
  }
  process.stdout.write(`${whole}\n`)
}

/** Whoever ends the input (Ctrl-D) or interrupts (Ctrl-C) has not said yes. */
export async function saysYes(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  // At the end of the input Node closes the interface, and on some versions the question is never answered.
  const unanswered = once(lines, 'close').then(() => undefined)
  try {
    const asked = lines.question(`${question} [y/N] `).catch(() => undefined)
    const answer = await Promise.race([asked, unanswered])
    if (answer === undefined) process.stdout.write('\n')
    return /^y(es)?$/i.test(answer?.trim() ?? '')
  } finally {
    lines.close()
  }
}

export function needsTerminal(what: string): UserError {
  return new UserError(`there is no terminal to ${what}`, {
    code: 'no_terminal',
    exitCode: exitCodes.usage,
    hint: 'look at it with --preview and send that with --send, or say --message "…" --yes',
  })
}

/** `$EDITOR` and `$PAGER` may have arguments, which the shell takes apart. */
function runShell(command: string, args: readonly string[], input: string): ReturnType<typeof spawnSync> {
  return spawnSync('/bin/sh', ['-c', `${command} "$@"`, 'sh', ...args], {
    stdio: [input === 'inherit' ? 'inherit' : 'pipe', 'inherit', 'inherit'],
    ...(input === 'inherit' ? {} : { input }),
  })
}
