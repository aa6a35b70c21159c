/** What other parts of the inbox tell the bot, and what its buttons ask of them. */

export interface Notification {
  readonly kind: 'feedback' | 'alert' | 'health'
  readonly tenant: string
  /**
   * Equal for equal causes: of one incident there is one message in an interval, whatever number of notifications comes.
   * A feedback report gives its cause key, or its id where it has none.
   */
  readonly incident: string
  /** One line, e.g. `Feedback from ana`. Secrets must have been taken out of it and of all below. */
  readonly title: string
  /** What they wrote, or what is wrong. */
  readonly body?: string
  /** Shown below, one a line. */
  readonly facts?: readonly (readonly [name: string, value: string])[]
  /** Goes out as soon as the interval allows, and never waits for the digest. */
  readonly urgent?: boolean
  /** Report it is about: its words are added when it is sent, and buttons to act on it. */
  readonly reportId?: string
  /** Page of the inbox, beginning with `/admin/`. */
  readonly path?: string
  /** An incident that is over: the next notification of it begins another one. */
  readonly over?: boolean
  /** Of an alert of our own: when it fired, ISO 8601, which tells this time from the next. */
  readonly firedAt?: string
}

export interface Notifier {
  /** Never throws, never waits, and never costs the caller anything but the copying of texts. */
  notify(notifications: Notification | readonly Notification[]): void
}

export const reportActions = ['triage', 'assign', 'resolve'] as const
export type ReportAction = (typeof reportActions)[number]

/** A report as a chat shows it. */
export interface ReportInChat {
  readonly id: string
  readonly createdAt: Date
  readonly reporter: string
  readonly message: string
  readonly status: string
  /** Empty when nobody looks after it. */
  readonly assignee: string
  readonly cause: string
}

/** On whose behalf something is done. */
export interface ChatActor {
  readonly tenant: string
  /** As it stands in audit events. */
  readonly userId: string
}

/** What buttons and `/feedback` need of the part that keeps the reports. */
export interface ReportActions {
  /**
   * Does it and leaves the audit event, in the name of the actor. One that was done before changes nothing.
   * @throws UserError that can be shown as it is
   */
  act(action: ReportAction, reportId: string, actor: ChatActor): Promise<ReportInChat>
  /** Open ones, newest first, and whether there are more. */
  open(tenant: string, limit: number): Promise<{ readonly reports: readonly ReportInChat[]; readonly more: boolean }>
  /** undefined if there is none. */
  find(tenant: string, reportId: string): Promise<ReportInChat | undefined>
}
