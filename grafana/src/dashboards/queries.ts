/** How do queries of analysts fare: how fast, how many fail, whose, on which tables? */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import {
  column,
  hidden,
  higherIsWorse,
  ranking,
  resultColors,
  resultColumn,
  stat,
  table,
  timeseries,
} from '../model/panels.ts'
import { byEnvironment, byUser, inRange, interval, rows, series } from '../model/query.ts'
import { asValue, environment, user } from '../model/variables.ts'

const where = `${inRange} AND EventName = 'agnes.audit' AND startsWith(Action, 'query.') AND ${byUser} AND ${byEnvironment}`

export const queries = dashboard({
  uid: 'agnes-queries',
  title: 'Queries',
  description: 'How fast are queries, which fail, and whose are they?',
  variables: [user, environment],
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How many queries were run?',
          description: 'Audit events whose action begins with query., of all people and agents of the selection.',
          width: 8,
          unit: 'short',
          query: rows(`SELECT count() AS queries FROM otel_logs WHERE ${where}`),
        }),
        stat({
          title: 'How many of them failed?',
          description:
            'Share of queries whose result is an error. Over 10 % is red: the table of failing ones below says whose and on which table.',
          width: 8,
          unit: 'percentunit',
          decimals: 1,
          max: 1,
          noValue: 'no queries',
          query: rows(
            `SELECT countIf(ResultClass = 'error') / nullIf(count(), 0) AS failed FROM otel_logs WHERE ${where}`,
          ),
          thresholds: higherIsWorse(0.05, 0.1),
        }),
        stat({
          title: 'How slow is one query in twenty?',
          description:
            '95th percentile of the duration. Over 10 s people go for coffee: see the slowest tables below, and the engine.',
          width: 8,
          unit: 'ms',
          noValue: 'no queries',
          query: rows(
            `SELECT if(count(DurationMs) = 0, NULL, quantile(0.95)(DurationMs)) AS p95 FROM otel_logs WHERE ${where}`,
          ),
          thresholds: higherIsWorse(3_000, 10_000),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How did queries end?',
          description: 'Queries by class of their result. Denied ones asked for a table that is not theirs.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${interval} AS time, toString(ResultClass) AS result, count() AS Value
FROM otel_logs
WHERE ${where}
GROUP BY time, result
ORDER BY time`),
          overrides: resultColors,
        }),
        timeseries({
          title: 'How long do they take?',
          description:
            'Median, 95th and 99th percentile of the duration of queries. Only the 99th rises: a few heavy queries; all rise: the engine.',
          width: 12,
          unit: 'ms',
          query: series(`
SELECT time, levels[1] AS p50, levels[2] AS p95, levels[3] AS p99
FROM (SELECT ${interval} AS time, quantiles(0.5, 0.95, 0.99)(DurationMs) AS levels FROM otel_logs WHERE ${where} AND DurationMs IS NOT NULL GROUP BY time)
ORDER BY time`),
        }),
      ],
    },
    {
      height: 10,
      panels: [
        ranking({
          title: 'On which tables are queries slow?',
          description:
            '95th percentile of the duration by resource, those with at least five queries. The first bars gain most from an index, a snapshot or a smaller table.',
          width: 12,
          unit: 'ms',
          query: rows(`
SELECT if(Resource = '', 'not said', Resource) AS table, quantile(0.95)(DurationMs) AS p95
FROM otel_logs
WHERE ${where} AND DurationMs IS NOT NULL
GROUP BY table
HAVING count() >= 5
ORDER BY p95 DESC
LIMIT 12`),
        }),
        table({
          title: 'Who runs how many, and how do they fare?',
          description:
            'Queries by user, most first. Many failures of one user: an agent that guesses, or a grant that is missing.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT toString(UserId) AS user, count() AS queries, countIf(ResultClass = 'error') AS failed, countIf(ResultClass = 'denied') AS denied, quantile(0.95)(DurationMs) AS p95,
  sum(DurationMs) AS total, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${where}
GROUP BY UserId
ORDER BY queries DESC
LIMIT 100`),
          overrides: [
            column('user', { links: [toDashboard('Only this user', 'agnes-queries', { user: field('user_value') })] }),
            column('p95', { unit: 'ms' }),
            column('total', { unit: 'ms', displayName: 'time in all' }),
            hidden('user_value'),
          ],
        }),
      ],
    },
    {
      height: 11,
      panels: [
        table({
          title: 'Which were the slowest?',
          description:
            'The 50 slowest queries of the time range. Click the action for its parameters, where the application records the SQL.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT Timestamp AS time, toString(UserId) AS user, toString(Action) AS action, Resource AS table, DurationMs AS duration, toString(ResultClass) AS result, EventId AS id
FROM otel_logs
WHERE ${where} AND DurationMs IS NOT NULL
ORDER BY DurationMs DESC
LIMIT 50`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('action', { links: [toInbox('Open the event', `/admin/activity/${field('id')}`)] }),
            column('duration', { unit: 'ms', 'custom.width': 90 }),
            resultColumn('result'),
            hidden('id'),
          ],
        }),
        table({
          title: 'Which fail, and how often?',
          description:
            'Failed and denied queries by result as written, table and action, most first. invalid_sql of many users: the table changed; of one: help that user.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT toString(Result) AS "what it said", Resource AS table, toString(Action) AS action, count() AS times, uniqExact(UserId) AS people, max(Timestamp) AS last
FROM otel_logs
WHERE ${where} AND ResultClass IN ('error', 'denied')
GROUP BY Result, Resource, Action
ORDER BY times DESC
LIMIT 50`),
          overrides: [
            column('action', {
              links: [toDashboard('Show the events', 'agnes-timeline', { action: field('action') })],
            }),
            column('last', { unit: 'dateTimeFromNow' }),
          ],
        }),
      ],
    },
  ],
})
