/** What the bot says, as pieces of text; see {@link compose} for how they become a message. */
import type { Alert, HealthColor, HealthPulse, TelegramLink, TimelineRow } from '@agnes/clickhouse'
import type { Notification, ReportAction, ReportInChat } from './notification.ts'
import { reportActions } from './notification.ts'
import type { Parcel, Waiting } from './outbox.ts'
import { type Composed, compose, longestMessage, type Piece } from './text.ts'

export interface Button {
  readonly text: string
  /** What comes back when it is pressed; at most 64 bytes. */
  readonly data?: string
  readonly url?: string
}

export interface Message extends Composed {
  /** Rows of buttons. */
  readonly buttons: readonly (readonly Button[])[]
}

export interface MessageOptions {
  /** Address of the inbox, for links; undefined: there are none. */
  readonly publicUrl: string | undefined
  readonly digestAt: string
}

type Pieces = readonly (Piece | string)[]

/** Lines of a list; how many more there are stands below. */
const mostLines = 30

/** One message for all that is due to a chat. */
export function notificationMessage(
  parcels: readonly Parcel[],
  { forDigest }: Waiting,
  options: MessageOptions,
): Message {
  const [first] = parcels
  const isOne = parcels.length === 1 && first !== undefined
  const body = isOne ? onePieces(first, options) : listPieces(parcels, options)
  const isRepeat = parcels.some(({ delivery }) => delivery.uncertainAttempts > 0)
  const foot: Pieces = [
    ...(forDigest > 0
      ? [italic(`\n\n${counted(forDigest, 'other cause')} in the digest at ${options.digestAt} UTC · /feedback`)]
      : []),
    ...(isRepeat ? [italic('\n\nSent again: Telegram did not say whether it came through before.')] : []),
  ]
  const said = withFoot(body.pieces, foot)
  const reportId = isOne ? first.notification.reportId : undefined
  return {
    ...said,
    cut: said.cut || body.cut,
    buttons: reportId === undefined ? [] : reportButtons(reportId, pageOf(first?.notification.path, options)),
  }
}

/** The foot is never what is cut. */
function withFoot(body: Pieces, foot: Pieces): Composed {
  const below = compose(foot)
  const above = compose(body, longestMessage - below.plain.length)
  return { html: above.html + below.html, plain: above.plain + below.plain, cut: above.cut }
}

function onePieces({ delivery, notification }: Parcel, options: MessageOptions) {
  const { title, body, facts = [], path } = notification
  const page = pageOf(path, options)
  return {
    cut: false,
    pieces: [
      `${signOf(notification)} `,
      { text: title, style: 'b', atMost: 200 },
      occurrencesOf(parcelTimes(delivery)),
      ...(body === undefined ? [] : ['\n\n', { text: body, style: 'blockquote', atMost: 2_500 } as const]),
      ...(facts.length === 0 ? [] : ['\n']),
      ...facts.flatMap(([name, value]) => ['\n', { text: name, atMost: 60 }, ': ', code(value, 300)]),
      ...(page === undefined ? [] : ['\n\n', { text: 'Open in the inbox', href: page } as const]),
    ] satisfies Pieces,
  }
}

function listPieces(parcels: readonly Parcel[], options: MessageOptions) {
  const sorted = [...parcels].sort(
    (a, b) =>
      Number(b.notification.urgent ?? false) - Number(a.notification.urgent ?? false) ||
      b.delivery.occurrences - a.delivery.occurrences,
  )
  const total = parcels.reduce((sum, { delivery }) => sum + delivery.occurrences, 0)
  const left = sorted.length - mostLines
  return {
    cut: left > 0,
    pieces: [
      { text: `${counted(total, 'notification')}, ${counted(parcels.length, 'cause')}`, style: 'b' },
      '\n',
      ...sorted.slice(0, mostLines).flatMap(({ delivery, notification }) => {
        const { title, body = '', path } = notification
        const page = pageOf(path, options)
        return [
          `\n${signOf(notification)} `,
          { text: title, atMost: 100, ...(page === undefined ? {} : { href: page }) },
          occurrencesOf(parcelTimes(delivery)),
          ...(body === '' ? [] : [': ', { text: body.replace(/\s+/g, ' '), style: 'i', atMost: 80 } as const]),
        ]
      }),
      ...(left > 0 ? [`\n… and ${counted(left, 'more cause')}`] : []),
    ] satisfies Pieces,
  }
}

function parcelTimes({ occurrences, firstAt, lastAt }: Parcel['delivery']) {
  return { occurrences, first: timeOf(firstAt), last: timeOf(lastAt) }
}

function occurrencesOf({ occurrences, first, last }: ReturnType<typeof parcelTimes>): string {
  if (occurrences === 1) return ''
  return ` ×${occurrences} (${first === last ? `at ${first}` : `${first} to ${last}`})`
}

function signOf({ kind, over }: Notification): string {
  if (over) return '🟢'
  return kind === 'feedback' ? '💬' : kind === 'health' ? '🔴' : '🔔'
}

const actionLabels: Readonly<Record<ReportAction, string>> = {
  triage: 'Triage',
  assign: 'Assign to me',
  resolve: 'Resolve',
}

function reportButtons(reportId: string, page: string | undefined): Message['buttons'] {
  const actions = reportActions.map((action) => ({ text: actionLabels[action], data: `${action}:${reportId}` }))
  // Telegram refuses a whole message for a button that leads to a name without a dot.
  const open = page !== undefined && new URL(page).hostname.includes('.') ? [[{ text: 'Open', url: page }]] : []
  return [actions, ...open]
}

/** A report as it is now, with what can still be done about it. */
export function reportMessage(report: ReportInChat, note: string, options: MessageOptions): Message {
  const { id, reporter, message, status, assignee, cause, createdAt } = report
  const page = pageOf(`/admin/feedback/${encodeURIComponent(id)}`, options)
  const isDone = status !== 'open' && status !== 'triaged'
  const said = compose([
    '💬 ',
    { text: `Feedback from ${reporter}`, style: 'b', atMost: 200 },
    ` · ${timeOf(createdAt)}\n\n`,
    { text: message, style: 'blockquote', atMost: 2_500 },
    ...(cause === '' ? [] : ['\n\ncause: ', code(cause, 300)]),
    '\n\n',
    { text: status, style: 'b', atMost: 40 },
    ...(assignee === '' ? [] : [' · assigned to ', { text: assignee, atMost: 100 }]),
    ...(note === '' ? [] : ['\n', italic(note)]),
    ...(page === undefined ? [] : ['\n', { text: 'Open in the inbox', href: page }]),
  ])
  return { ...said, buttons: isDone ? [] : reportButtons(id, page) }
}

export function reportsMessage(reports: readonly ReportInChat[], more: boolean): Message {
  if (reports.length === 0) return justText('No report is open.')
  const said = compose([
    {
      text: more ? `The newest ${counted(reports.length, 'open report')}` : counted(reports.length, 'open report'),
      style: 'b',
    },
    '\n',
    ...reports.flatMap(({ reporter, message, status, createdAt }, i) => [
      `\n${i + 1}. ${timeOf(createdAt)} `,
      { text: reporter, style: 'b', atMost: 60 } as const,
      ` (${status}): `,
      { text: message.replace(/\s+/g, ' '), atMost: 200 },
    ]),
  ])
  const buttons = reports.map(({ id }, i) => ({ text: `${i + 1}`, data: `show:${id}` }))
  return { ...said, buttons: [buttons] }
}

const dots: Readonly<Record<HealthColor, string>> = { green: '🟢', yellow: '🟡', red: '🔴' }

export function healthMessage({ status, sentence, fields, generatedAt }: HealthPulse): Message {
  return {
    ...compose([
      `${dots[status]} `,
      { text: sentence, style: 'b', atMost: 600 },
      '\n',
      ...fields.flatMap(({ name, color, value }) => [
        `\n${dots[color]} ${name.replaceAll('_', ' ')}: `,
        { text: value, atMost: 200 },
      ]),
      italic(`\n\n${generatedAt.slice(11, 19)} UTC`),
    ]),
    buttons: [],
  }
}

/** @param mutedUntil of one that is muted */
export function alertsMessage(alerts: readonly Alert[], mutedUntil: (alert: Alert) => Date | undefined): Message {
  if (alerts.length === 0) return justText('No alert fires.')
  return {
    ...compose([
      { text: counted(alerts.filter(({ state }) => state === 'firing').length, 'firing alert'), style: 'b' },
      '\n',
      ...alerts.flatMap((alert) => {
        const muted = mutedUntil(alert)
        return [
          `\n${muted !== undefined ? '🔕' : alert.state === 'firing' ? '🔔' : '⏳'} ${timeOf(alert.activeSince)} `,
          { text: alert.title, style: 'b', atMost: 100 } as const,
          ...(alert.state === 'pending' ? [' (pending)'] : []),
          ': ',
          { text: alert.summary, atMost: 200 },
          ...(muted === undefined ? [] : [italic(` muted until ${timeOf(muted)}`)]),
        ]
      }),
    ]),
    buttons: [],
  }
}

export function lastMessage(rows: readonly TimelineRow[]): Message {
  if (rows.length === 0) return justText('Nothing has happened yet.')
  return {
    ...compose([
      { text: `The last ${counted(rows.length, 'event')} (UTC)`, style: 'b' },
      '\n',
      ...rows.flatMap(({ timestamp, userId, clientKind, action, eventName, result, resource }) => [
        `\n${timestamp.slice(5, 10)} ${timestamp.slice(11, 19)} `,
        code(action || eventName, 60),
        ' ',
        { text: userId || clientKind, atMost: 40 },
        ...(result === '' ? [] : [' · ', { text: result, atMost: 40 }]),
        ...(resource === '' ? [] : [' · ', { text: resource, atMost: 60 }]),
      ]),
    ]),
    buttons: [],
  }
}

export function muteMessage({ mutedUntil }: TelegramLink, now: Date): Message {
  if (mutedUntil === undefined || mutedUntil <= now) {
    return justText('Notifications are on. /mute 2h silences them for two hours, /mute off ends it.')
  }
  return justText(
    `Muted until ${mutedUntil.toISOString().slice(0, 16).replace('T', ' ')} UTC. What is urgent comes then, the rest in the digest. /mute off ends it.`,
  )
}

export const commands = [
  { command: 'health', description: 'Is it well?' },
  { command: 'alerts', description: 'What fires?' },
  { command: 'last', description: 'The last events; /last 10 for ten' },
  { command: 'feedback', description: 'Open reports' },
  { command: 'mute', description: 'No notifications for a while: /mute 2h' },
  { command: 'unlink', description: 'Unlink this chat' },
  { command: 'help', description: 'What I can do' },
] as const

export function helpMessage({ userId }: TelegramLink): Message {
  return {
    ...compose([
      'This chat is linked to ',
      code(userId, 100),
      '.\n',
      ...commands.map(({ command, description }) => `\n/${command} – ${description}`),
    ]),
    buttons: [],
  }
}

export function unlinkQuestion(): Message {
  return {
    ...justText('Unlink this chat? It gets no notifications then.'),
    buttons: [[{ text: 'Unlink', data: 'unlink:yes' }]],
  }
}

export function justText(text: string): Message {
  return { ...compose([text]), buttons: [] }
}

function code(text: string, atMost: number): Piece {
  return { text, style: 'code', atMost }
}

function italic(text: string): Piece {
  return { text, style: 'i' }
}

function pageOf(path: string | undefined, { publicUrl }: MessageOptions): string | undefined {
  return path === undefined || publicUrl === undefined ? undefined : publicUrl + path
}

function timeOf(at: Date): string {
  return `${at.toISOString().slice(5, 16).replace('T', ' ')}`
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
