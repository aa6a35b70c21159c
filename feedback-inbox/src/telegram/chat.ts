/** Messages to chats, as the Bot API takes them. */
import type { Api } from 'grammy'
import type { Button, Message } from './messages.ts'
import { type Failure, failureOf } from './sender.ts'

export type Said = { readonly kind: 'sent'; readonly messageId: number } | Failure

/** Never rejects. A text Telegram finds fault with goes again without markup: what it says matters more. */
export async function say(api: Api, chatId: number, message: Message): Promise<Said> {
  const marked = await attempt(api, chatId, message.html, { ...optionsOf(message), parse_mode: 'HTML' })
  if (marked.kind !== 'refused' || marked.status !== 400 || !isAboutText(marked.problem)) return marked
  return attempt(api, chatId, message.plain, optionsOf(message))
}

/** Never rejects. */
export async function edit(api: Api, chatId: number, messageId: number, message: Message): Promise<Said> {
  try {
    await api.editMessageText(chatId, messageId, message.html, { ...optionsOf(message), parse_mode: 'HTML' })
    return { kind: 'sent', messageId }
  } catch (error) {
    const failure = failureOf(error)
    // It says that already: the button was pressed twice.
    if (failure.problem.includes('message is not modified')) return { kind: 'sent', messageId }
    return failure
  }
}

function isAboutText(problem: string): boolean {
  return /can't parse|message is too long|BUTTON_|button|entit/i.test(problem)
}

async function attempt(
  api: Api,
  chatId: number,
  text: string,
  options: Parameters<Api['sendMessage']>[2],
): Promise<Said> {
  try {
    const { message_id: messageId } = await api.sendMessage(chatId, text, options)
    return { kind: 'sent', messageId }
  } catch (error) {
    return failureOf(error)
  }
}

function optionsOf({ buttons }: Message) {
  return {
    // What strangers wrote is not fetched, and takes no room.
    link_preview_options: { is_disabled: true },
    ...(buttons.length === 0 ? {} : { reply_markup: { inline_keyboard: buttons.map((row) => row.map(keyOf)) } }),
  }
}

function keyOf({ text, data, url }: Button) {
  return url === undefined ? { text, callback_data: data ?? '' } : { text, url }
}
