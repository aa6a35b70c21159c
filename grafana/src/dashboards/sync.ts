/** Is the data fresh? Every table by time, the late ones first, and why syncs fail. */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import {
  column,
  grid,
  hidden,
  higherIsWorse,
  lowerIsWorse,
  ranking,
  resultColumn,
  stat,
  table,
  timeseries,
} from '../model/panels.ts'
import { byEnvironment, inRange, interval, rows, series } from '../model/query.ts'
import { asValue, environment, list } from '../model/variables.ts'

const tables = {
  ...list(
    'table',
    'Table',
    `SELECT ${asValue('Resource')} AS value, Resource AS text FROM otel_logs WHERE ${inRange} AND EventName = 'agnes.sync' GROUP BY Resource ORDER BY Resource LIMIT 1000`,
  ),
  multi: true,
  includeAll: true,
  current: { text: ['All'], value: ['$__all'] },
}

const where = `${inRange} AND EventName = 'agnes.sync' AND $__conditionalAll(Resource IN (\${table:singlequote}), $table) AND ${byEnvironment}`
const isOk = "Result IN ('ok', 'success')"
const hasFailed = "Result NOT IN ('ok', 'success', 'skipped')"

export const sync = dashboard({
  uid: 'agnes-sync',
  title: 'Sync',
  description: 'Is the data of every table fresh, and why not?',
  variables: [tables, environment],
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How many syncs were ok?',
          description:
            'Share of the syncs that were ok, skipped ones left out. The health pulse is yellow below 100 % and red below 95 %: look at the reasons below.',
          width: 6,
          unit: 'percentunit',
          decimals: 1,
          max: 1,
          noValue: 'no syncs',
          query: rows(
            `SELECT countIf(${isOk}) / nullIf(countIf(${isOk}) + countIf(${hasFailed}), 0) AS ok FROM otel_logs WHERE ${where}`,
          ),
          thresholds: lowerIsWorse(0.95, 1),
        }),
        stat({
          title: 'How many tables failed last time?',
          description:
            'Tables whose latest sync in the time range failed. Not zero: their names, and the error, stand in the table of late ones.',
          width: 6,
          unit: 'short',
          query: rows(
            `SELECT countIf(last_failed) AS tables FROM (SELECT argMax(${hasFailed}, Timestamp) AS last_failed FROM otel_logs WHERE ${where} GROUP BY Resource)`,
          ),
          thresholds: higherIsWorse(1, 3),
        }),
        stat({
          title: 'How old is the oldest table?',
          description:
            'Time since the latest ok sync of the table for which it is longest, seen from the end of the time range. Over a day is red: its source or its schedule is broken.',
          width: 6,
          unit: 's',
          query: rows(
            `SELECT max(age) AS oldest FROM (SELECT dateDiff('second', maxIf(Timestamp, ${isOk}), toDateTime64($__toTime, 9)) AS age FROM otel_logs WHERE ${where} GROUP BY Resource HAVING countIf(${isOk}) > 0)`,
          ),
          thresholds: higherIsWorse(7_200, 86_400),
        }),
        stat({
          title: 'How many syncs were there?',
          description:
            'Events agnes.sync, skipped ones included. Far fewer than the schedule asks for: the scheduler stood still, see the health pulse.',
          width: 6,
          unit: 'short',
          query: rows(`SELECT count() AS syncs FROM otel_logs WHERE ${where}`),
        }),
      ],
    },
    {
      height: 13,
      panels: [
        grid({
          title: 'When did which table sync?',
          description:
            'A line a table, a cell an interval: the worst sync in it. Red cells in one line are that table, red cells in one column were everywhere: look at Pipeline and Timeline at that time. The 40 tables with most failures.',
          width: 24,
          unit: 'short',
          interval: '15m',
          query: series(`
SELECT ${interval} AS time, Resource AS table, max(multiIf(${hasFailed}, 2, Result = 'skipped', 1, 0)) AS Value
FROM otel_logs
WHERE ${where} AND Resource IN (
  SELECT Resource FROM otel_logs WHERE ${where} GROUP BY Resource ORDER BY countIf(${hasFailed}) DESC, Resource LIMIT 40
)
GROUP BY time, table
ORDER BY time, table`),
          thresholds: [
            { color: 'green', value: null },
            { color: 'blue', value: 1 },
            { color: 'red', value: 2 },
          ],
          mappings: [
            {
              type: 'value',
              options: {
                0: { text: 'ok', color: 'green', index: 0 },
                1: { text: 'skipped', color: 'blue', index: 1 },
                2: { text: 'failed', color: 'red', index: 2 },
              },
            },
          ],
        }),
      ],
    },
    {
      height: 10,
      panels: [
        table({
          title: 'Which tables are late?',
          description:
            'Every table, longest without an ok sync first. Red: read the error, then ask the source; click the table to see only it.',
          width: 24,
          unit: 'none',
          query: rows(`
SELECT Resource AS table,
  if(countIf(${isOk}) = 0, NULL, dateDiff('second', maxIf(Timestamp, ${isOk}), toDateTime64($__toTime, 9))) AS age,
  toString(argMax(Result, Timestamp)) AS last, countIf(${isOk}) AS ok, countIf(${hasFailed}) AS failed,
  quantile(0.95)(DurationMs) AS p95, argMaxIf(Message, Timestamp, ${hasFailed}) AS error, ${asValue('Resource')} AS table_value
FROM otel_logs
WHERE ${where}
GROUP BY Resource
ORDER BY age IS NULL DESC, age DESC
LIMIT 500`),
          overrides: [
            column('table', {
              'custom.width': 200,
              links: [toDashboard('Only this table', 'agnes-sync', { table: field('table_value') })],
            }),
            column('age', {
              unit: 's',
              'custom.width': 120,
              'custom.cellOptions': { type: 'color-background', mode: 'basic' },
              noValue: 'never ok',
              thresholds: { mode: 'absolute', steps: higherIsWorse(7_200, 86_400) },
            }),
            resultColumn('last'),
            column('ok', { 'custom.width': 70 }),
            column('failed', { 'custom.width': 80 }),
            column('p95', { unit: 'ms', 'custom.width': 90, displayName: 'p95 duration' }),
            hidden('table_value'),
          ],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How long do syncs take?',
          description:
            'Median and 95th percentile of the duration of syncs. A rise of both is a slow source or a busy engine; of the 95th alone, one table: see p95 above.',
          width: 12,
          unit: 'ms',
          query: series(`
SELECT ${interval} AS time, quantile(0.5)(DurationMs) AS p50, quantile(0.95)(DurationMs) AS p95
FROM otel_logs
WHERE ${where} AND DurationMs IS NOT NULL
GROUP BY time
ORDER BY time`),
        }),
        ranking({
          title: 'Why did syncs fail?',
          description:
            'Failed syncs by their error, digits left out so that equal errors count as one. The first bar is what to mend first.',
          width: 12,
          unit: 'short',
          noValue: 'none failed',
          query: rows(`
SELECT replaceRegexpAll(substringUTF8(Message, 1, 90), '\\\\d+', 'N') AS error, count() AS failures
FROM otel_logs
WHERE ${where} AND ${hasFailed}
GROUP BY error
ORDER BY failures DESC
LIMIT 12`),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        table({
          title: 'Which syncs failed last?',
          description:
            'The latest 100 failed syncs of the view sync_history, newest first. Click the error for the event and what belongs to the same tick of the scheduler.',
          width: 24,
          unit: 'none',
          query: rows(`
SELECT Timestamp AS time, Resource AS table, Message AS error, DurationMs AS duration, EventId AS id
FROM otel_logs
WHERE ${where} AND ${hasFailed}
ORDER BY Timestamp DESC
LIMIT 100`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('table', { 'custom.width': 200 }),
            column('error', { links: [toInbox('Open the event', `/admin/activity/${field('id')}`)] }),
            column('duration', { unit: 'ms', 'custom.width': 90 }),
            hidden('id'),
          ],
        }),
      ],
    },
  ],
})
