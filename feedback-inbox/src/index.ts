export { type InboxOptions, type RunningInbox, startInbox } from './inbox.ts'
export {
  type Account,
  type BotMessage,
  type LoopbackOptions,
  startTelegramLoopback,
  type TelegramLoopback,
} from './telegram/loopback/server.ts'
