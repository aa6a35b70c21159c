/** What happened? Everything, by who, what and how it ended; each event one click away. */
import { dashboard } from '../model/dashboard.ts'
import type { Variable } from '../model/grafana.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import { column, hidden, ranking, resultColors, resultColumn, table, timeseries } from '../model/panels.ts'
import { byActionPrefix, byEnvironment, byUser, inRange, interval, rows, series } from '../model/query.ts'
import { action, asValue, environment, user } from '../model/variables.ts'

const result: Variable = {
  name: 'result',
  label: 'Result',
  type: 'custom',
  hide: 0,
  query: 'success,error,denied,none,other',
  multi: true,
  includeAll: true,
  current: { text: ['All'], value: ['$__all'] },
  options: ['success', 'error', 'denied', 'none', 'other'].map((value) => ({ text: value, value, selected: false })),
}

/** What the view timeline shows, cheapest condition first; ResultClass is computed for the rows that are left. */
const where = `${inRange} AND EventName != '' AND Action != 'system.heartbeat'
  AND ${byUser} AND ${byActionPrefix} AND ${byEnvironment} AND $__conditionalAll(ResultClass IN (\${result:singlequote}), $result)`

export const timeline = dashboard({
  uid: 'agnes-timeline',
  title: 'Timeline',
  description: 'What happened, who did it, and how did it end?',
  variables: [user, environment, action, result],
  sections: [
    {
      height: 8,
      panels: [
        timeseries({
          title: 'How much happened, and how did it end?',
          description:
            'Events by class of their result, without heartbeats (otel_logs; the view timeline shows the same). Drag over a rise of red to see only that time in the table below.',
          width: 24,
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
      ],
    },
    {
      height: 9,
      panels: [
        ranking({
          title: 'Who did most?',
          description:
            'Events by user (user.id); those without one are of the system. Click a bar to see only that user.',
          width: 8,
          unit: 'short',
          query: rows(`
SELECT if(UserId = '', 'system', toString(UserId)) AS user, count() AS events, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${where}
GROUP BY UserId
ORDER BY events DESC
LIMIT 12`),
          links: [toDashboard('Only this user', 'agnes-timeline', { user: field('user_value') })],
          overrides: [hidden('user_value')],
        }),
        ranking({
          title: 'What was done most?',
          description: 'Events by action. Click a bar to see only actions that begin with it.',
          width: 8,
          unit: 'short',
          query: rows(`
SELECT toString(Action) AS action, count() AS events
FROM otel_logs
WHERE ${where}
GROUP BY Action
ORDER BY events DESC
LIMIT 12`),
          links: [toDashboard('Only this action', 'agnes-timeline', { action: field('action') })],
        }),
        ranking({
          title: 'What failed or was denied most?',
          description:
            'Errors and denials by action. Click a bar for these events; if one stands out, the message in the table says why.',
          width: 8,
          unit: 'short',
          noValue: 'nothing failed',
          query: rows(`
SELECT toString(Action) AS action, count() AS failures
FROM otel_logs
WHERE ${where} AND ResultClass IN ('error', 'denied')
GROUP BY Action
ORDER BY failures DESC
LIMIT 12`),
          links: [toDashboard('Only this action', 'agnes-timeline', { action: field('action') })],
        }),
      ],
    },
    {
      height: 16,
      panels: [
        table({
          title: 'What exactly happened?',
          description:
            'The newest 300 events of the selection. The event opens in the inbox with everything that belongs to the same request; the user filters this page.',
          width: 24,
          unit: 'none',
          query: rows(`
SELECT Timestamp AS time, toString(UserId) AS user, toString(Action) AS action, Resource AS resource, toString(ResultClass) AS result, DurationMs AS duration,
  toString(ClientKind) AS client, Message AS message, toString(ServiceName) AS service, EventId AS id, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${where}
ORDER BY Timestamp DESC
LIMIT 300`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('user', {
              'custom.width': 120,
              links: [toDashboard('Only this user', 'agnes-timeline', { user: field('user_value') })],
            }),
            column('action', {
              'custom.width': 220,
              links: [toInbox('Open the event', `/admin/activity/${field('id')}`)],
            }),
            column('duration', { unit: 'ms', 'custom.width': 90 }),
            column('client', { 'custom.width': 90 }),
            resultColumn('result'),
            hidden('id'),
            hidden('user_value'),
          ],
        }),
      ],
    },
  ],
})
