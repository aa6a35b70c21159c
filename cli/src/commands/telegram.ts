import { type Config, loadConfig, UserError } from '@agnes/config'
import type { Command } from 'commander'
import { adminKeyFile, readAdminKey } from '../admin-key.ts'
import { findInstance } from '../instance.ts'
import { log } from '../output/streams.ts'
import { harmless, harmlessJson } from '../output/text.ts'

export function registerTelegram(program: Command): void {
  const telegram = program
    .command('telegram')
    .description('The Telegram bot: link a chat, see who is linked')
    .addHelpText('after', '\nExamples:\n  agnes telegram link\n  agnes telegram status --json\n')

  telegram
    .command('link')
    .description('Make a code that links a chat with the bot to the admin key; it works once, for ten minutes')
    .option('--json', 'print it as JSON')
    .addHelpText(
      'after',
      `
What to send to the bot is the only thing on standard output.

Examples:
  agnes telegram link
`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const code = await ask<LinkCode>('POST', '/api/admin/telegram/codes')
      if (json) {
        process.stdout.write(`${harmlessJson(code, 2)}\n`)
        return
      }
      process.stdout.write(`${code.send}\n`)
      const where = code.url === null ? 'to the bot' : `to the bot, or open ${harmless(code.url)}`
      log(`send this ${where}; it links one chat, until ${code.expires_at.slice(11, 16)} UTC`)
    })

  telegram
    .command('status')
    .description('How the bot is, and which chats are linked')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExamples:\n  agnes telegram status\n  agnes telegram status --json | jq .links\n')
    .action(async ({ json }: { json?: boolean }) => {
      const status = await ask<Status>('GET', '/api/admin/telegram')
      process.stdout.write(json ? `${harmlessJson(status, 2)}\n` : renderStatus(status))
    })
}

interface LinkCode {
  readonly code: string
  readonly expires_at: string
  readonly send: string
  readonly url: string | null
}

interface Status {
  readonly state: string
  readonly username: string | null
  readonly problem: string | null
  readonly waiting: number
  readonly links: readonly {
    readonly name: string
    readonly user_id: string
    readonly linked_at: string
    readonly muted_until: string | null
  }[]
}

function renderStatus({ state, username, problem, waiting, links }: Status): string {
  const who = username === null ? '' : ` as @${username}`
  const why = problem === null ? '' : ` (${problem})`
  const lines = links.map(({ name, user_id, linked_at, muted_until }) => {
    const muted = muted_until === null ? '' : `, muted until ${muted_until.slice(0, 16).replace('T', ' ')} UTC`
    return `  ${name} acts as ${user_id}, since ${linked_at.slice(0, 10)}${muted}`
  })
  const linked = links.length === 0 ? 'no chat is linked: agnes telegram link' : `linked chats: ${links.length}`
  return `${[`bot: ${state}${who}${why}`, `waiting: ${waiting}`, linked, ...lines].map(harmless).join('\n')}\n`
}

const answerWithinMs = 10_000

/** Asks the inbox of this configuration with the admin key. @throws UserError with what it says is wrong */
async function ask<T>(method: 'GET' | 'POST', path: string): Promise<T> {
  const { config } = loadConfig()
  const { inboxUrl } = findInstance(config)
  const answer = await fetch(`${inboxUrl}${path}`, {
    method,
    headers: { Authorization: `Bearer ${adminKeyOf(config)}` },
    redirect: 'error',
    signal: AbortSignal.timeout(answerWithinMs),
  }).catch((error: unknown) => {
    throw new UserError(`no inbox answers at ${inboxUrl}`, {
      code: 'unreachable',
      hint: 'start one with "agnes up" in another terminal',
      cause: error,
    })
  })
  const said = (await answer.json().catch(() => ({}))) as { readonly detail?: string; readonly hint?: string }
  if (answer.ok) return said as T
  throw new UserError(said.detail ?? `the inbox answers ${answer.status}`, {
    code: 'refused',
    hint: said.hint ?? 'the log of the inbox says more',
  })
}

function adminKeyOf(config: Config): string {
  const key = readAdminKey(config)
  if (key !== undefined) return key
  throw new UserError(`there is no admin key in ${adminKeyFile(config)}`, {
    code: 'no_key',
    hint: 'run it where "agnes up" runs, or link on the page /admin/telegram',
  })
}
