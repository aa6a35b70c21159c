/** Who changed what, and what was there before? */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import { column, hidden, ranking, resultColumn, stat, table, timeseries } from '../model/panels.ts'
import { byActionPrefix, byEnvironment, byUser, inRange, interval, rows, series } from '../model/query.ts'
import { action, asValue, environment, user } from '../model/variables.ts'

/** A change is an audit event that says what was there before. */
const where = `${inRange} AND EventName = 'agnes.audit' AND ParamsBefore != '' AND ${byUser} AND ${byActionPrefix} AND ${byEnvironment}`
/** Of a LowCardinality column it is computed once a value, not once a row. */
const family = "substringIndex(Action, '.', 1)"

/** Line by line what went, came and changed, of the uppermost fields of both. What is no JSON object has none. */
const difference = `arrayStringConcat(arrayConcat(
    arrayMap(pair -> concat('− ', pair.1, ': ', pair.2), arrayFilter(pair -> NOT has(after.1, pair.1), before_pairs)),
    arrayMap(pair -> concat('+ ', pair.1, ': ', pair.2), arrayFilter(pair -> NOT has(before.1, pair.1), after_pairs)),
    arrayMap(pair -> concat(pair.1, ': ', before.2[indexOf(before.1, pair.1)], ' → ', pair.2), arrayFilter(pair -> has(before.1, pair.1) AND before.2[indexOf(before.1, pair.1)] != pair.2, after_pairs))
  ), '\\n')`

export const changes = dashboard({
  uid: 'agnes-changes',
  title: 'Changes',
  description: 'Who changed what, and what was there before?',
  variables: [user, environment, action],
  from: 'now-7d',
  sections: [
    {
      height: 8,
      panels: [
        stat({
          title: 'How much was changed?',
          description:
            'Audit events that carry the state before (agnes.params_before), and how many people made them. Many at night or by somebody unexpected: see who, below.',
          width: 6,
          unit: 'short',
          query: rows(`SELECT count() AS changes, uniqExact(UserId) AS people FROM otel_logs WHERE ${where}`),
        }),
        timeseries({
          title: 'When was what changed?',
          description:
            'Changes by family of action (the part before the first dot), the eight largest. Compare a peak with errors on the Timeline: what broke after it?',
          width: 10,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${interval} AS time, toString(${family}) AS family, count() AS Value
FROM otel_logs
WHERE ${where} AND ${family} IN (SELECT ${family} AS largest FROM otel_logs WHERE ${where} GROUP BY largest ORDER BY count() DESC LIMIT 8)
GROUP BY time, family
ORDER BY time, family`),
        }),
        ranking({
          title: 'Who changed most?',
          description: 'Changes by user. Click a bar to see only what that user changed.',
          width: 8,
          unit: 'short',
          noValue: 'nobody',
          query: rows(`
SELECT if(UserId = '', 'system', toString(UserId)) AS user, count() AS changes, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${where}
GROUP BY UserId
ORDER BY changes DESC
LIMIT 12`),
          links: [toDashboard('Only this user', 'agnes-changes', { user: field('user_value') })],
          overrides: [hidden('user_value')],
        }),
      ],
    },
    {
      height: 18,
      panels: [
        table({
          title: 'What exactly changed?',
          description:
            'The newest 200 changes: − was taken away, + is new, a → b was changed, of the uppermost fields of the parameters. Click the action for the whole event, also where a difference is empty.',
          width: 24,
          unit: 'none',
          query: rows(`
WITH
  JSONExtractKeysAndValuesRaw(ParamsBefore) AS before_pairs, JSONExtractKeysAndValuesRaw(Params) AS after_pairs,
  (arrayMap(pair -> pair.1, before_pairs), arrayMap(pair -> pair.2, before_pairs)) AS before,
  (arrayMap(pair -> pair.1, after_pairs), arrayMap(pair -> pair.2, after_pairs)) AS after
SELECT Timestamp AS time, toString(UserId) AS user, toString(Action) AS action, Resource AS resource, ${difference} AS change,
  toString(ResultClass) AS result, ParamsBefore AS before_json, Params AS after_json, EventId AS id, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${where}
ORDER BY Timestamp DESC
LIMIT 200`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('user', {
              'custom.width': 110,
              links: [toDashboard('Only this user', 'agnes-changes', { user: field('user_value') })],
            }),
            column('action', {
              'custom.width': 200,
              links: [toInbox('Open the event', `/admin/activity/${field('id')}`)],
            }),
            column('resource', { 'custom.width': 180 }),
            column('change', {
              'custom.cellOptions': { type: 'auto', wrapText: true },
              'custom.wrapText': true,
              'custom.minWidth': 350,
            }),
            resultColumn('result'),
            column('before_json', {
              displayName: 'before',
              'custom.cellOptions': { type: 'json-view' },
              'custom.width': 140,
            }),
            column('after_json', {
              displayName: 'after',
              'custom.cellOptions': { type: 'json-view' },
              'custom.width': 140,
            }),
            hidden('id'),
            hidden('user_value'),
          ],
        }),
      ],
    },
  ],
})
