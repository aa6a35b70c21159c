/** Who uses Agnes, for what, and do they come back? People only: the scheduler, agents and the system do not count. */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard } from '../model/links.ts'
import { column, hidden, lowerIsWorse, ranking, stat, table, timeseries } from '../model/panels.ts'
import { byEnvironment, inRange, rows, series } from '../model/query.ts'
import { asValue, environment } from '../model/variables.ts'

const where = `${inRange} AND EventName = 'agnes.audit' AND UserId != '' AND ClientKind NOT IN ('scheduler', 'system', 'agent') AND ${byEnvironment}`
/** Of a LowCardinality column it is computed once a value, not once a row. */
const family = "substringIndex(Action, '.', 1)"

export const usage = dashboard({
  uid: 'agnes-usage',
  title: 'Usage',
  description: 'Who uses Agnes, for what, and do they come back?',
  variables: [environment],
  from: 'now-7d',
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How many people used it?',
          description:
            'Different people with an audit event in the time range. The table below says who, and how much.',
          width: 8,
          unit: 'short',
          query: rows(`SELECT uniq(UserId) AS people FROM otel_logs WHERE ${where}`),
        }),
        stat({
          title: 'How many on a usual day?',
          description:
            'Median over the days of the time range of how many different people were active. Compare it with last week by moving the range.',
          width: 8,
          unit: 'short',
          query: rows(
            `SELECT quantileExact(0.5)(people) AS people FROM (SELECT toDate(Timestamp) AS day, uniq(UserId) AS people FROM otel_logs WHERE ${where} GROUP BY day)`,
          ),
        }),
        stat({
          title: 'How sticky is it?',
          description:
            'People on an average day as a share of all in the time range. With a range of a week: 20 % is a tool for once a week, 60 % one for every day.',
          width: 8,
          unit: 'percentunit',
          max: 1,
          noValue: 'nobody',
          query: rows(
            `SELECT avg(people) / nullIf(max(everybody), 0) AS share FROM (SELECT toDate(Timestamp) AS day, uniq(UserId) AS people, (SELECT uniq(UserId) FROM otel_logs WHERE ${where}) AS everybody FROM otel_logs WHERE ${where} GROUP BY day)`,
          ),
          thresholds: lowerIsWorse(0.15, 0.3),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How many people a day, and in the week before it?',
          description:
            'Different people per day (UTC), and within the seven days that end with it as far as the time range goes back. A fall of the second line is people who left.',
          width: 12,
          unit: 'short',
          decimals: 0,
          query: series(`
SELECT toDateTime(day * 86400) AS time, length(today) AS "on the day",
  length(arrayDistinct(arrayFlatten(groupArray(today) OVER (ORDER BY day RANGE BETWEEN 6 PRECEDING AND CURRENT ROW)))) AS "in 7 days"
FROM (SELECT toUInt32(toUnixTimestamp(toStartOfDay(Timestamp))) / 86400 AS day_number, toUInt16(day_number) AS day, groupUniqArray(toString(UserId)) AS today FROM otel_logs WHERE ${where} GROUP BY day_number)
ORDER BY time`),
        }),
        timeseries({
          title: 'What do they do when?',
          description:
            'Events of people by family of action (the part before the first dot), the eight largest. A family that stops is a feature that broke or is not needed.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          interval: '1h',
          query: series(`
SELECT $__timeInterval(Timestamp) AS time, toString(${family}) AS family, count() AS Value
FROM otel_logs
WHERE ${where} AND ${family} IN (SELECT ${family} AS largest FROM otel_logs WHERE ${where} GROUP BY largest ORDER BY count() DESC LIMIT 8)
GROUP BY time, family
ORDER BY time, family`),
        }),
      ],
    },
    {
      height: 10,
      panels: [
        ranking({
          title: 'Which features do most people use?',
          description:
            'Different people by action. Click one for its events. A feature nobody uses stands at the end, or not at all.',
          width: 12,
          unit: 'short',
          query: rows(`
SELECT toString(Action) AS action, uniq(UserId) AS people
FROM otel_logs
WHERE ${where}
GROUP BY Action
ORDER BY people DESC, action
LIMIT 15`),
          links: [toDashboard('Show the events', 'agnes-timeline', { action: field('action') })],
        }),
        table({
          title: 'Who uses it most?',
          description:
            'People by events, with the days they were active and what they do most. Click one for what they did.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT toString(UserId) AS user, count() AS events, uniq(toDate(Timestamp)) AS days, toString(topK(1)(Action)[1]) AS most, max(Timestamp) AS last, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${where}
GROUP BY UserId
ORDER BY events DESC
LIMIT 200`),
          overrides: [
            column('user', { links: [toDashboard('What they did', 'agnes-timeline', { user: field('user_value') })] }),
            column('last', { unit: 'dateTimeFromNow' }),
            hidden('user_value'),
          ],
        }),
      ],
    },
    {
      title: 'Do they come back?',
      height: 9,
      panels: [
        table({
          title: 'How many came back after days?',
          description:
            'People by the day of the time range they were first seen on: how many of them were active again 1, 2, … 6 days later. Rows that fade fast are people who tried it once.',
          width: 24,
          unit: 'percentunit',
          decimals: 0,
          query: rows(`
SELECT toString(first_day) AS "first seen", count() AS people,
  ${[1, 2, 3, 4, 5, 6].map((n) => `if(first_day + ${n} > toDate($__toTime), NULL, countIf(has(days, first_day + ${n})) / count()) AS "+${n} d"`).join(',\n  ')}
FROM (SELECT UserId, groupUniqArray(toDate(Timestamp)) AS days, min(toDate(Timestamp)) AS first_day FROM otel_logs WHERE ${where} GROUP BY UserId)
GROUP BY first_day
ORDER BY first_day DESC
LIMIT 60`),
          overrides: [
            column('people', { unit: 'short' }),
            ...[1, 2, 3, 4, 5, 6].map((n) =>
              column(`+${n} d`, {
                'custom.cellOptions': { type: 'color-background', mode: 'basic' },
                color: { mode: 'continuous-RdYlGr' },
                min: 0,
                max: 1,
              }),
            ),
          ],
        }),
      ],
    },
  ],
})
