/**
 * A Telegram of one's own, in the terminal: a server that speaks the Bot API on this machine, and one person with a phone.
 * What is typed is said to the bot, `#2` presses the second button under its last message.
 */
import { createInterface } from 'node:readline'
import type { BotMessage } from '@agnes/feedback-inbox'
import { log } from '../output/streams.ts'
import { harmless } from '../output/text.ts'

const person = { id: 4242, firstName: 'Demo', username: 'demo' }

/** Runs until Ctrl-C or the end of the input. @throws the listener's errors */
export async function runTelegramDemo(port: number): Promise<void> {
  const { startTelegramLoopback } = await import('@agnes/feedback-inbox')
  let last: BotMessage | undefined
  const server = await startTelegramLoopback({
    port,
    onMessage(message) {
      last = message
      process.stdout.write(`${shown(message)}\n`)
    },
  })
  log(`this is Telegram for a bot on this machine; start Agnes with it in another terminal:
  TELEGRAM_BOT_TOKEN=${server.token} TELEGRAM_API_ROOT=${server.url} agnes up
then send here what "agnes telegram link" prints; #1 presses the first button of a message; Ctrl-C ends`)
  const lines = createInterface({ input: process.stdin })
  process.once('SIGINT', () => lines.close())
  process.once('SIGTERM', () => lines.close())
  for await (const line of lines) {
    const pressed = /^#(\d{1,2})$/.exec(line.trim())
    const button = pressed === null ? undefined : last?.buttons[Number(pressed[1]) - 1]
    if (pressed === null) server.say(person, line.trim())
    else if (last === undefined || button === undefined) log('there is no such button')
    else if (button.callback_data === undefined) log(`that opens ${button.url ?? 'nothing'}`)
    else server.press(person, last.id, button.callback_data)
  }
  await server.stop()
}

function shown({ text, buttons, edited }: BotMessage): string {
  const keys = buttons.map((button, i) => `[#${i + 1} ${button.text}]`).join(' ')
  const lines = [...text.split('\n'), ...(keys === '' ? [] : [keys])].map((line) => `  | ${harmless(line)}`)
  return [edited ? 'Agnes changed it to:' : 'Agnes:', ...lines].join('\n')
}
