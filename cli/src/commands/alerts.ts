import type { Alert, AlertSilence, ClickHouseClient } from '@agnes/clickhouse'
import { type Config, exitCodes, nearest, UserError } from '@agnes/config'
import { type Command, InvalidArgumentError } from 'commander'
import { duration } from '../arguments.ts'
import { type AuditFields, audit, whoami } from '../audit.ts'
import { withClickHouse } from '../connect.ts'
import { log } from '../output/streams.ts'
import { renderTable } from '../output/table.ts'
import { harmlessJson } from '../output/text.ts'

export function registerAlerts(program: Command): void {
  const alerts = program
    .command('alerts')
    .description('Alerts without Grafana: what fires, and what is muted')
    .addHelpText(
      'after',
      `
The processors evaluate the rules and the Telegram bot tells of them; docs/alerts.md. Grafana has alerts of its own.

Examples:
  agnes alerts list
  agnes alerts mute agnes-sync-failures --for 2h --comment "the source is being moved"
  agnes alerts silences
  agnes alerts unmute h3kq9x2m
`,
    )
  registerList(alerts)
  registerRules(alerts)
  registerMute(alerts)
  registerUnmute(alerts)
  registerSilences(alerts)
}

const mostAlerts = 1_000
/** How long an alert that is over is shown by --all. */
const resolvedForMs = 30 * 86_400_000

function registerList(alerts: Command): void {
  alerts
    .command('list')
    .description('What fires or is pending')
    .option('--all', 'also what is over, of the last 30 days')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExamples:\n  agnes alerts list\n  agnes alerts list --all --json | jq ".[].summary"\n')
    .action(async ({ all, json }: { all?: boolean; json?: boolean }) => {
      await withAlerts(async (client, { fetchAlerts, fetchSilences, silenceOf }, config) => {
        const now = new Date()
        const [found, silences] = await Promise.all([
          fetchAlerts(client, {
            states: all ? ['firing', 'pending', 'resolved'] : ['firing', 'pending'],
            resolvedSince: new Date(now.getTime() - resolvedForMs),
            limit: mostAlerts,
          }),
          fetchSilences(client, now),
        ])
        const listed = found.map((alert) => ({ alert, mutedUntil: silenceOf(alert, silences, now)?.endsAt }))
        if (json) process.stdout.write(`${harmlessJson(listed.map(describeAlert), 2)}\n`)
        else if (listed.length > 0) {
          process.stdout.write(renderAlerts(listed, now))
          const runbooks = new Set(listed.map(({ alert }) => `docs/runbooks/${alert.runbook}.md`))
          log(`what to do: ${[...runbooks].join(', ')}`)
        } else log('no alert fires')
        if (config.processorIntervals.alerts === 0) {
          log('the rules are not evaluated here: AGNES_PROCESSOR_ALERTS_INTERVAL is 0')
        }
      })
    })
}

function registerRules(alerts: Command): void {
  alerts
    .command('rules')
    .description('Which rules there are, and what they look at')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExamples:\n  agnes alerts rules\n  agnes alerts rules --json | jq ".[].rule"\n')
    .action(async ({ json }: { json?: boolean }) => {
      const { loadConfig } = await import('@agnes/config')
      const rules = await rulesOf(loadConfig().config)
      if (json) {
        const described = rules.map((rule) => ({
          rule: rule.uid,
          title: rule.title,
          severity: rule.severity,
          condition: rule.condition,
          for_seconds: rule.forSeconds,
          keep_firing_seconds: rule.keepFiringSeconds,
          every_seconds: rule.everySeconds,
          summary: rule.summary,
          first_step: rule.firstStep,
          runbook: `docs/runbooks/${rule.runbook}.md`,
        }))
        process.stdout.write(`${harmlessJson(described, 2)}\n`)
        return
      }
      process.stdout.write(
        renderTable(rules, [
          { title: 'rule', text: ({ uid }) => uid },
          { title: 'severity', text: ({ severity }) => severity, color: severityColor },
          { title: 'fires', text: ({ condition: { op, threshold } }) => `${op === 'gt' ? '>' : '<'} ${threshold}` },
          { title: 'for', text: ({ forSeconds }) => (forSeconds === 0 ? 'at once' : `${forSeconds / 60} min`) },
          { title: 'title', text: ({ title }) => title, flexible: true },
        ]),
      )
    })
}

interface MuteOptions {
  readonly for: number
  readonly label?: Readonly<Record<string, string>>
  readonly comment?: string
  readonly json?: boolean
}

/** A mute that is forgotten must not outlive what it was for. */
const longestMuteMs = 30 * 86_400_000

function registerMute(alerts: Command): void {
  alerts
    .command('mute')
    .argument('<rule>', 'the rule, as "agnes alerts rules" names it; agnes- may be left out')
    .description('Tell nobody of the alerts of a rule for a while; they are evaluated and listed all the same')
    .requiredOption('--for <time>', 'how long: 30m, 2h, 7d, at most 30d', muteTime)
    .option('--label <name=value>', 'only alerts with this label, may be repeated: tenant=acme', label)
    .option('--comment <text>', 'why')
    .option('--json', 'print the silence as JSON')
    .addHelpText(
      'after',
      `
The id of the silence is the only thing on standard output; "agnes alerts unmute" ends it. What still fires when it ends
is told of then. Notifications of one chat are muted by /mute, sent to the bot.

Examples:
  agnes alerts mute agnes-sync-failures --for 2h
  agnes alerts mute sync-stale --for 3d --label tenant=acme --label table=orders --comment "source is being moved"
`,
    )
    .action(async (name: string, options: MuteOptions) => {
      await withAlerts(async (client, { createSilence }, config) => {
        const rule = ruleOf(name, await rulesOf(config))
        const now = new Date()
        const silence = await createSilence(client, {
          rule,
          labels: options.label ?? {},
          startsAt: now,
          endsAt: new Date(now.getTime() + options.for),
          createdBy: whoami(),
          comment: options.comment ?? '',
        })
        process.stdout.write(options.json ? `${harmlessJson(describeSilence(silence), 2)}\n` : `${silence.id}\n`)
        log(`${rule} is muted until ${silence.endsAt.toISOString()}; "agnes alerts unmute ${silence.id}" ends it`)
        await record(silenceAudit('alert.mute', silence))
      })
    })
}

function registerUnmute(alerts: Command): void {
  alerts
    .command('unmute')
    .argument('<id>', 'the silence, by its id')
    .description('End a silence; what fires is told of then')
    .option('--json', 'print the silence as JSON')
    .addHelpText('after', '\nExamples:\n  agnes alerts unmute h3kq9x2m\n')
    .action(async (id: string, { json }: { json?: boolean }) => {
      await withAlerts(async (client, { endSilence }) => {
        const { before, after } = await endSilence(client, id, new Date())
        if (json) process.stdout.write(`${harmlessJson(describeSilence(after), 2)}\n`)
        if (before === after) log(`silence ${id} had ended at ${after.endsAt.toISOString()}`)
        else {
          log(`silence ${id} of ${after.rule} has ended`)
          await record(silenceAudit('alert.unmute', after, before))
        }
      })
    })
}

function registerSilences(alerts: Command): void {
  alerts
    .command('silences')
    .description('What is muted, until when, and by whom')
    .option('--all', 'also silences that have ended')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExamples:\n  agnes alerts silences\n  agnes alerts silences --all --json\n')
    .action(async ({ all, json }: { all?: boolean; json?: boolean }) => {
      await withAlerts(async (client, { fetchSilences }) => {
        const found = await fetchSilences(client, all ? new Date(0) : new Date())
        if (json) process.stdout.write(`${harmlessJson(found.map(describeSilence), 2)}\n`)
        else if (found.length === 0) log('nothing is muted')
        else {
          process.stdout.write(
            renderTable(found, [
              { title: 'id', text: ({ id }) => id },
              { title: 'rule', text: ({ rule }) => rule },
              { title: 'labels', text: ({ labels }) => labelsText(labels), flexible: true },
              { title: 'until', text: ({ endsAt }) => minuteOf(endsAt) },
              { title: 'by', text: ({ createdBy }) => createdBy, flexible: true },
              { title: 'comment', text: ({ comment }) => comment, flexible: true },
            ]),
          )
        }
      })
    })
}

async function withAlerts(
  work: (client: ClickHouseClient, room: typeof import('@agnes/clickhouse'), config: Config) => Promise<void>,
): Promise<void> {
  await withClickHouse(async (client, config) => work(client, await import('@agnes/clickhouse'), config))
}

async function rulesOf(config: Config) {
  const { evaluatedRules } = await import('@agnes/processors')
  return evaluatedRules({ dailyBudgetUsd: config.alertsDailyBudgetUsd })
}

/** @throws UserError (exit code 2) for a rule there is not */
function ruleOf(name: string, rules: readonly { readonly uid: string }[]): string {
  const uids = rules.map(({ uid }) => uid)
  const found = uids.find((uid) => uid === name || uid === `agnes-${name}`)
  if (found !== undefined) return found
  const near = nearest(name.startsWith('agnes-') ? name : `agnes-${name}`, uids)
  throw new UserError(`there is no rule ${name}`, {
    code: 'no_rule',
    exitCode: exitCodes.usage,
    hint: near === undefined ? '"agnes alerts rules" lists them' : `did you mean ${near}?`,
  })
}

function label(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Use name=value, like tenant=acme.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

function muteTime(text: string): number {
  const ms = duration(text)
  if (ms < 1_000 || ms > longestMuteMs) throw new InvalidArgumentError('Use a time from 1s to 30d.')
  return ms
}

function silenceAudit(
  action: 'alert.mute' | 'alert.unmute',
  silence: AlertSilence,
  before?: AlertSilence,
): AuditFields {
  return {
    action,
    resource: `alert:${silence.rule}`,
    result: 'success',
    clientKind: 'cli',
    params: { ...describeSilence(silence), by: whoami() },
    ...(before === undefined ? {} : { paramsBefore: describeSilence(before) }),
  }
}

async function record(fields: AuditFields): Promise<void> {
  if (!(await audit(fields))) log('this change is not in the audit trail: no gateway took the event')
}

function describeSilence({ id, rule, labels, startsAt, endsAt, createdBy, comment }: AlertSilence) {
  return {
    id,
    rule,
    labels,
    starts_at: startsAt.toISOString(),
    ends_at: endsAt.toISOString(),
    created_by: createdBy,
    ...(comment === '' ? {} : { comment }),
  }
}

interface Listed {
  readonly alert: Alert
  readonly mutedUntil: Date | undefined
}

/** As `GET /api/admin/alerts` tells it. */
function describeAlert({ alert, mutedUntil }: Listed) {
  return {
    fingerprint: alert.fingerprint,
    rule: alert.rule,
    title: alert.title,
    severity: alert.severity,
    state: alert.state,
    labels: alert.labels,
    value: alert.value ?? null,
    summary: alert.summary,
    first_step: alert.firstStep,
    runbook: `docs/runbooks/${alert.runbook}.md`,
    active_since: alert.activeSince.toISOString(),
    fired_at: alert.firedAt?.toISOString() ?? null,
    resolved_at: alert.resolvedAt?.toISOString() ?? null,
    muted_until: mutedUntil?.toISOString() ?? null,
  }
}

export function renderAlerts(alerts: readonly Listed[], now: Date, width?: number): string {
  return renderTable(
    alerts,
    [
      {
        title: 'state',
        text: ({ alert, mutedUntil }) => (mutedUntil === undefined ? alert.state : `${alert.state}, muted`),
        color: ({ alert, mutedUntil }) =>
          mutedUntil !== undefined || alert.state !== 'firing' ? 'dim' : severityColor(alert),
      },
      { title: 'since', text: ({ alert }) => minuteOf(alert.resolvedAt ?? alert.activeSince, now) },
      { title: 'rule', text: ({ alert }) => alert.rule },
      { title: 'what is wrong', text: ({ alert }) => alert.summary, flexible: true },
    ],
    width,
  )
}

function severityColor({ severity }: { readonly severity: Alert['severity'] }): 'red' | 'yellow' {
  return severity === 'critical' ? 'red' : 'yellow'
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const all = Object.entries(labels).map(([name, value]) => `${name}=${value}`)
  return all.length === 0 ? 'all' : all.join(' ')
}

/** In UTC; the time alone where it is today's. */
function minuteOf(at: Date, now?: Date): string {
  const text = at.toISOString().slice(0, 16).replace('T', ' ')
  return now !== undefined && text.slice(0, 10) === now.toISOString().slice(0, 10) ? text.slice(11) : text
}
