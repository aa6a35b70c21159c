/** Is Agnes healthy? The first thing an admin sees: five seconds, then one click to what happened. */

import { dashboard, homeUid } from '../model/dashboard.ts'
import type { Link } from '../model/grafana.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import { alerts, column, hidden, resultColors, resultColumn, stat, states, table, timeseries } from '../model/panels.ts'
import { fillGaps, inRange, inRangeOf, interval, rows, series } from '../model/query.ts'
import { asValue } from '../model/variables.ts'

/** Seconds as people say them; the pulse looks one day back. */
const ago = `multiIf(value > 86400, 'not in 24 h', value < 60, concat(toString(value), ' s ago'), value < 3600, concat(toString(intDiv(value, 60)), ' min ago'), concat(toString(intDiv(value, 3600)), ' h ago'))`

/** A tile a field: its text begins with its colour, which a mapping takes off again. */
const tiles = [
  { name: 'scheduler', title: 'Scheduler', link: toDashboard('Show its ticks', 'agnes-timeline', { action: 'run_' }) },
  { name: 'sync_24h', title: 'Syncs in 24 h', link: toDashboard('Show the syncs', 'agnes-sync') },
  { name: 'active_users_today', title: 'Active users today', link: toDashboard('Show who', 'agnes-usage') },
  { name: 'memory_pipeline', title: 'Memory pipeline', link: toDashboard('Show its runs', 'agnes-pipeline') },
  {
    name: 'diagnose_warnings',
    title: 'Diagnose warnings',
    link: toDashboard('Show the runs of diagnose', 'agnes-timeline', { action: 'system.diagnose' }),
  },
  { name: 'pipeline', title: 'Ingest pipeline', link: toDashboard('Show the pipeline', 'agnes-pipeline') },
] as const satisfies readonly { name: string; title: string; link: Link }[]

export const home = dashboard({
  uid: homeUid,
  title: 'Health pulse',
  description: 'Is Agnes healthy, and if not, what is wrong?',
  refresh: '1m',
  sections: [
    {
      height: 5,
      panels: [
        stat({
          title: 'Is Agnes healthy?',
          description:
            'The view health_pulse at the end of the time range; every threshold stands there, and `agnes health` says the same. Red or yellow: click the tile, it shows the events behind it.',
          width: 24,
          unit: 'string',
          texts: true,
          query: rows(`
SELECT
  concat(multiIf(countIf(color = 'red') > 0, 'red ', countIf(color = 'yellow') > 0, 'yellow ', 'green '), if(countIf(color != 'green') = 0, 'healthy', concat(toString(countIf(color != 'green')), ' to look at'))) AS "Agnes",
  ${tiles.map(({ name, title }) => `anyIf(concat(color, ' ', words), name = '${name}') AS "${title}"`).join(',\n  ')}
FROM (
  SELECT name, color, multiIf(
    name = 'sync_24h', detail,
    name IN ('active_users_today', 'diagnose_warnings'), if(detail = '', toString(value), detail),
    name = 'pipeline' AND value <= 120, detail,
    ${ago}) AS words
  FROM health_pulse(now = $__toTime, tenant = \${tenant:singlequote})
)`),
          mappings: ['green', 'yellow', 'red'].map((color, index) => ({
            type: 'regex' as const,
            options: { pattern: `^${color} (.*)$`, result: { text: '$1', color, index } },
          })),
          overrides: tiles.map(({ title, link }) => column(title, { links: [link] })),
        }),
      ],
    },
    {
      height: 7,
      panels: [
        alerts({
          title: 'What is firing?',
          description:
            "Grafana's alert rules that are firing or about to. Each links to its panel and its runbook; no row means that all is well.",
          width: 8,
        }),
        states({
          title: 'When was it not well?',
          description:
            'Per interval of at least 30 minutes: did the scheduler tick, did syncs work, did an ingest gateway send its heartbeat (events agnes.audit, agnes.sync, agnes.system). Red: go to Sync or Pipeline with this time range.',
          width: 16,
          unit: 'short',
          interval: '30m',
          query: series(`
SELECT ${interval} AS time,
  if(countIf(EventName = 'agnes.audit' AND ClientKind = 'scheduler') > 0, 1, 0) AS Scheduler,
  multiIf(countIf(EventName = 'agnes.sync') = 0, 0, countIf(EventName = 'agnes.sync' AND Result NOT IN ('ok', 'success', 'skipped')) = 0, 1, countIf(EventName = 'agnes.sync' AND Result IN ('ok', 'success')) > 0, 2, 3) AS Syncs,
  if(countIf(Action = 'system.heartbeat') > 0, 1, 0) AS "Ingest gateway"
FROM otel_logs
WHERE ${inRange} AND EventName IN ('agnes.audit', 'agnes.sync', 'agnes.system')
GROUP BY time
ORDER BY time ${fillGaps}`),
          thresholds: [
            { color: 'gray', value: null },
            { color: 'green', value: 1 },
            { color: 'yellow', value: 2 },
            { color: 'red', value: 3 },
          ],
          mappings: [
            {
              type: 'value',
              options: {
                0: { text: 'nothing seen', color: 'gray', index: 0 },
                1: { text: 'ok', color: 'green', index: 1 },
                2: { text: 'some failed', color: 'yellow', index: 2 },
                3: { text: 'all failed', color: 'red', index: 3 },
              },
            },
          ],
        }),
      ],
    },
    {
      height: 8,
      panels: [
        timeseries({
          title: 'How did what happened end?',
          description:
            'Events of the view timeline by class of their result. Red grows: open Timeline, where users, actions and errors are ranked.',
          width: 10,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${interval} AS time, toString(ResultClass) AS result, count() AS Value
FROM otel_logs
WHERE ${inRange} AND EventName != '' AND Action != 'system.heartbeat'
GROUP BY time, result
ORDER BY time`),
          overrides: resultColors,
          links: [toDashboard('Show the events', 'agnes-timeline')],
        }),
        table({
          title: 'What went wrong last?',
          description:
            'The latest errors and denials of the view timeline. Click the event for all that belongs to it, the user for what else they did.',
          width: 14,
          unit: 'none',
          query: rows(`
SELECT timestamp AS time, toString(user_id) AS user, summary AS event, toString(result_class) AS result, id, ${asValue('user_id')} AS user_value
FROM timeline
WHERE ${inRangeOf('timestamp')} AND result_class IN ('error', 'denied')
ORDER BY timestamp DESC
LIMIT 50`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('user', {
              'custom.width': 110,
              links: [toDashboard('What else they did', 'agnes-timeline', { user: field('user_value') })],
            }),
            column('event', { links: [toInbox('Open the event', `/admin/activity/${field('id')}`)] }),
            resultColumn('result'),
            hidden('id'),
            hidden('user_value'),
          ],
        }),
      ],
    },
  ],
})
