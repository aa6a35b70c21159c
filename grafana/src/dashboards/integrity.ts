/** Can the audit trail be believed, and does it keep secrets? */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import { column, hidden, higherIsWorse, ranking, resultColumn, stat, table, timeseries } from '../model/panels.ts'
import { figure, inRange, inRangeOf, interval, ofGateways, rows, series } from '../model/query.ts'
import { asValue } from '../model/variables.ts'

/**
 * What an event lacks that its catalogue entry requires, as far as the columns made of these attributes show it. The view
 * event_violations says it of every attribute, but reads all of them.
 */
const missing = `multiIf(
    EventName = 'agnes.audit', if(Action = '', 'agnes.action', ''),
    EventName = 'agnes.sync', multiIf(Resource = '', 'agnes.sync.table_id', Result = '', 'agnes.sync.status', ''),
    EventName = 'agnes.session_processor', if(Action = 'session_processor.', 'agnes.processor.name', ''),
    EventName IN ('agnes.agent_run.start', 'agnes.agent_run.finish', 'agnes.run.step') AND RunId = '', 'agnes.run.id',
    EventName = 'agnes.agent_run.finish', if(Result = '', 'agnes.run.status', ''),
    EventName = 'agnes.feedback' AND Resource = '', 'agnes.feedback.id',
    EventName = 'agnes.llm.generation' AND Resource = '', 'gen_ai.request.model',
    EventName = 'agnes.exception' AND Resource = '', 'exception.type',
    EventName = 'agnes.device' AND Resource = '', 'agnes.device.id',
    EventName = 'agnes.system', multiIf(Action = 'system.', 'agnes.system.event', Resource = '', 'agnes.system.component', ''),
    '')`

export const integrity = dashboard({
  uid: 'agnes-integrity',
  title: 'Audit integrity & privacy',
  description: 'Can the audit trail be believed, and does it keep secrets?',
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How many received records are not accounted for?',
          description:
            'Of the latest heartbeat of each gateway: received, less stored, known already and waiting on disk. A few are under way between two readings; a number that stays is a loss: keep the spool as it is, and tell us.',
          width: 6,
          unit: 'short',
          noValue: 'no heartbeat',
          query: rows(
            ofGateways(
              'sum',
              `greatest(0, ${figure('received')} - ${figure('stored')} - ${figure('duplicate')} - ${figure('backlog_records')})`,
              'records',
            ),
          ),
          thresholds: higherIsWorse(10_000, 100_000),
        }),
        stat({
          title: 'How many secrets were kept out?',
          description:
            'Places redacted before an event was written anywhere (RedactionCount). Many at once: somebody logs secrets; the tables below say who and where.',
          width: 6,
          unit: 'short',
          query: rows(`SELECT sum(RedactionCount) AS secrets FROM otel_logs WHERE ${inRange} AND RedactionCount > 0`),
        }),
        stat({
          title: 'How many events passed without redaction?',
          description:
            'Events stored while redaction was switched off (RedactionRules = off). Not zero is red: switch it on (docs/redaction.md), and look through these events.',
          width: 6,
          unit: 'short',
          query: rows(`SELECT countIf(RedactionRules = 'off') AS events FROM otel_logs WHERE ${inRange}`),
          thresholds: higherIsWorse(1, 1),
        }),
        stat({
          title: 'How many events miss what they must have?',
          description:
            'Events without an attribute that their catalogue entry requires. They are stored all the same; the sender is named below, the view event_violations has every case.',
          width: 6,
          unit: 'short',
          query: rows(
            `SELECT countIf(${missing} != '') AS events FROM otel_logs WHERE ${inRange} AND startsWith(EventName, 'agnes.')`,
          ),
          thresholds: higherIsWorse(1, 1_000),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'Which rules redacted what, and when?',
          description:
            'Redactions per interval by rule (view redactions). A peak of one rule is one sender that began to log that kind of secret.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT $__timeInterval(timestamp) AS time, rule, count() AS Value
FROM redactions
WHERE ${inRangeOf('timestamp')}
GROUP BY time, rule
ORDER BY time, rule`),
        }),
        table({
          title: 'Where did secrets stand, and who sent them?',
          description:
            'Redactions by place, rule and sending service; "different" counts different secrets by their keyed hash. One secret many times: rotate it and mend the sender.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT path, rule, toString(service_name) AS service, count() AS times, uniqExact(hmac) AS different, max(timestamp) AS last
FROM redactions
WHERE ${inRangeOf('timestamp')}
GROUP BY path, rule, service_name
ORDER BY times DESC
LIMIT 100`),
          overrides: [column('last', { unit: 'dateTimeFromNow' })],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        table({
          title: 'Which redaction rules held when?',
          description:
            'First and last event stored under each set of rules (hash of the rules). Two at a time: gateways with different rules. "off" is redaction switched off; "other writers" did not come through a gateway.',
          width: 8,
          unit: 'none',
          query: rows(`
SELECT if(RedactionRules = '', 'other writers', toString(RedactionRules)) AS rules, min(ReceivedAt) AS first, max(ReceivedAt) AS last, count() AS events
FROM otel_logs
WHERE ${inRange}
GROUP BY RedactionRules
ORDER BY last DESC
LIMIT 50`),
          overrides: ['first', 'last'].map((name) => column(name, { unit: 'dateTimeAsIsoNoDateIfToday' })),
        }),
        table({
          title: 'Which senders miss required attributes?',
          description:
            'Events by name, sender and the attribute they miss. docs/events.md says what each event must have; mend the sender, old events stay as they are.',
          width: 8,
          unit: 'none',
          noValue: 'none',
          query: rows(`
SELECT toString(EventName) AS event, ${missing} AS lacks, toString(ServiceName) AS service, count() AS times, max(Timestamp) AS last
FROM otel_logs
WHERE ${inRange} AND startsWith(EventName, 'agnes.') AND lacks != ''
GROUP BY EventName, lacks, ServiceName
ORDER BY times DESC
LIMIT 50`),
          overrides: [column('last', { unit: 'dateTimeFromNow' })],
        }),
        table({
          title: 'Which events came late?',
          description:
            'Events that a gateway received more than five minutes after (late) or a minute before (early) the time they carry, by sender. Late: the sender was cut off; early: its clock is wrong.',
          width: 8,
          unit: 'none',
          noValue: 'none',
          query: rows(`
SELECT toString(ServiceName) AS service, countIf(ReceivedAt > Timestamp + INTERVAL 5 MINUTE) AS late, countIf(Timestamp > ReceivedAt + INTERVAL 1 MINUTE) AS early,
  max(dateDiff('second', Timestamp, ReceivedAt)) AS most
FROM otel_logs
WHERE ${inRange}
GROUP BY ServiceName
HAVING late + early > 0
ORDER BY late + early DESC
LIMIT 50`),
          overrides: [column('most', { unit: 's', displayName: 'latest by' })],
        }),
      ],
    },
    {
      title: 'Access',
      height: 9,
      panels: [
        timeseries({
          title: 'When were people turned away?',
          description:
            'Denied actions and failed sign-ins per interval, by action, the eight largest. A peak of sign-ins from few addresses is somebody guessing: see who, beside.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${interval} AS time, toString(Action) AS action, count() AS Value
FROM otel_logs
WHERE ${inRange} AND ResultClass = 'denied' AND Action IN (
  SELECT Action FROM otel_logs WHERE ${inRange} AND ResultClass = 'denied' GROUP BY Action ORDER BY count() DESC LIMIT 8
)
GROUP BY time, action
ORDER BY time, action`),
        }),
        table({
          title: 'Who was turned away, from where?',
          description:
            'Denials by user, with addresses and what they wanted. One address with many users, or one user from many addresses, is what to ask about.',
          width: 12,
          unit: 'none',
          noValue: 'nobody',
          query: rows(`
SELECT toString(UserId) AS user, count() AS denials, uniqExactIf(ClientAddress, ClientAddress != '') AS addresses, toString(topK(1)(Action)[1]) AS most, max(Timestamp) AS last, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${inRange} AND ResultClass = 'denied'
GROUP BY UserId
ORDER BY denials DESC
LIMIT 100`),
          overrides: [
            column('user', { links: [toDashboard('What they did', 'agnes-timeline', { user: field('user_value') })] }),
            column('last', { unit: 'dateTimeFromNow' }),
            hidden('user_value'),
          ],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        ranking({
          title: 'Who read the audit trail?',
          description:
            'Reads that people made of activity, sessions and feedback (activity.read, sessions.read, feedback.read; once a person and filter in 60 s). Somebody unexpected: see what they looked for.',
          width: 10,
          unit: 'short',
          noValue: 'nobody',
          query: rows(`
SELECT if(UserId = '', 'system', toString(UserId)) AS user, count() AS reads, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${inRange} AND EventName = 'agnes.audit' AND Action IN ('activity.read', 'sessions.read', 'feedback.read')
GROUP BY UserId
ORDER BY reads DESC
LIMIT 12`),
          links: [toDashboard('What they did', 'agnes-timeline', { user: field('user_value') })],
          overrides: [hidden('user_value')],
        }),
        table({
          title: 'What was verified, erased or let go?',
          description:
            'Events of retention, erasure, digests and verification, newest first. A failed verification is damage or tampering: follow the runbook of the alert "Integrity check failed".',
          width: 14,
          unit: 'none',
          noValue: 'nothing in this time',
          query: rows(`
SELECT Timestamp AS time, toString(Action) AS action, Resource AS resource, toString(UserId) AS user, toString(ResultClass) AS result, Message AS message, EventId AS id
FROM otel_logs
WHERE ${inRange} AND match(Action, '^(system\\\\.)?(retention|erasure|erase|integrity|digest|verify)')
ORDER BY Timestamp DESC
LIMIT 100`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('action', { links: [toInbox('Open the event', `/admin/activity/${field('id')}`)] }),
            resultColumn('result'),
            hidden('id'),
          ],
        }),
      ],
    },
  ],
})
