export { type InboxOptions, type RunningInbox, startInbox } from './inbox.ts'
