/** Where do Claude Code sessions get stuck? Findings by type and week, their causes, and the way to each replay. */
import { dashboard } from '../model/dashboard.ts'
import type { Variable } from '../model/grafana.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import { column, hidden, higherIsWorse, ranking, stat, table, timeseries } from '../model/panels.ts'
import { inRangeOf, rows, series } from '../model/query.ts'
import { asValue, list } from '../model/variables.ts'

const everything: Variable['current'] = { text: ['All'], value: ['$__all'] }
const person: Variable = {
  ...list(
    'person',
    'User',
    `SELECT ${asValue('user_name')} AS value, toString(user_name) AS text FROM session_files WHERE ${inRangeOf('received_at')} GROUP BY user_name ORDER BY user_name LIMIT 500`,
  ),
  multi: true,
  includeAll: true,
  current: everything,
}
const type: Variable = {
  ...list(
    'type',
    'Type of finding',
    `SELECT ${asValue('type')} AS value, toString(type) AS text FROM session_findings WHERE ${inRangeOf('occurred_at')} GROUP BY type ORDER BY type LIMIT 100`,
  ),
  multi: true,
  includeAll: true,
  current: everything,
}

const byPerson = '$__conditionalAll(user_name IN (${person:singlequote}), $person)'
const findings = `${inRangeOf('occurred_at')} AND ${byPerson} AND $__conditionalAll(type IN (\${type:singlequote}), $type)`
/** A session counts by when it grew last. */
const files = `${inRangeOf('received_at')} AND ${byPerson}`
const weeks = [0, 1, 2, 3, 4, 5, 6, 7]

export const sessions = dashboard({
  uid: 'agnes-sessions',
  title: 'Sessions & findings',
  description: 'Where do sessions get stuck, and why?',
  variables: [person, type],
  from: 'now-7d',
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How many sessions came in?',
          description:
            'Transcripts that arrived or grew in the time range (view sessions), and how many people they are of. None: nobody pushes them, see docs/sessions.md.',
          width: 8,
          unit: 'short',
          query: rows(
            `SELECT count() AS sessions, uniqExact(user_name) AS people FROM current_session_files WHERE ${files}`,
          ),
        }),
        stat({
          title: 'In how many did something go wrong?',
          description:
            'Share of these sessions with a finding that is a warning or an error. Over half is red: the table of causes below says what to mend first.',
          width: 8,
          unit: 'percentunit',
          decimals: 0,
          max: 1,
          noValue: 'no sessions',
          query: rows(`SELECT countIf(warnings > 0) / nullIf(count(), 0) AS share FROM sessions WHERE ${files}`),
          thresholds: higherIsWorse(0.25, 0.5),
        }),
        stat({
          title: 'How many are not processed yet?',
          description:
            'Sessions whose turns and findings are not those of all lines that arrived. They lag by one round of the processors; a number that stays: agnes processors, and Pipeline.',
          width: 8,
          unit: 'short',
          query: rows(`SELECT countIf(NOT is_processed) AS waiting FROM sessions WHERE ${files}`),
          thresholds: higherIsWorse(20, 200),
        }),
      ],
    },
    {
      height: 10,
      panels: [
        table({
          title: 'Which kinds of findings grow, week by week?',
          description:
            'Findings by type and calendar week, of the eight weeks that end with the time range. A row that turns red from left to right is what gets worse; click the type to see only it.',
          width: 24,
          unit: 'short',
          query: rows(`
SELECT toString(type) AS finding,
  ${weeks.map((n) => `countIf(toMonday(occurred_at) = toMonday($__toTime) - ${7 * (weeks.length - 1 - n)}) AS "${weekName(weeks.length - 1 - n)}"`).join(',\n  ')}, ${asValue('type')} AS type_value
FROM session_findings
WHERE tenant = \${tenant:singlequote} AND occurred_at >= toMonday($__toTime) - ${7 * (weeks.length - 1)} AND occurred_at <= $__toTime AND ${byPerson}
GROUP BY type
ORDER BY count() DESC
LIMIT 50`),
          overrides: [
            column('finding', {
              'custom.width': 200,
              links: [toDashboard('Only this type', 'agnes-sessions', { type: field('type_value') })],
            }),
            ...weeks.map((n) =>
              column(weekName(n), {
                'custom.cellOptions': { type: 'color-background', mode: 'basic' },
                color: { mode: 'continuous-GrYlRd' },
                min: 0,
              }),
            ),
            hidden('type_value'),
          ],
        }),
      ],
    },
    {
      height: 10,
      panels: [
        table({
          title: 'What are the top causes?',
          description:
            'Findings of the time range by type, class and tool: how often, in how many sessions, of how many people, with the advice of the rule. Many people at once: mend the cause, not the people.',
          width: 16,
          unit: 'none',
          query: rows(`
SELECT toString(type) AS finding, toString(class) AS class, toString(tool_name) AS tool, count() AS times, uniqExact((user_name, session_file)) AS sessions, uniqExact(user_name) AS people,
  toString(any(advice)) AS advice, any(excerpt) AS example
FROM session_findings
WHERE ${findings}
GROUP BY type, class, tool_name
ORDER BY sessions DESC, times DESC
LIMIT 50`),
          overrides: [
            column('advice', { 'custom.minWidth': 250 }),
            column('example', { 'custom.minWidth': 200, unit: 'string' }),
            ...['times', 'sessions', 'people'].map((name) => column(name, { 'custom.width': 80 })),
          ],
        }),
        timeseries({
          title: 'When did it go wrong?',
          description:
            'Findings per interval by type. A peak on one day is a change of that day: compare with Changes and the deployments marked here.',
          width: 8,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          interval: '1h',
          query: series(`
SELECT $__timeInterval(assumeNotNull(occurred_at)) AS time, toString(type) AS finding, count() AS Value
FROM session_findings
WHERE ${findings}
GROUP BY time, finding
ORDER BY time, finding`),
        }),
      ],
    },
    {
      height: 12,
      panels: [
        table({
          title: 'Which sessions should somebody look at?',
          description:
            'Sessions of the time range with most warnings and errors. Click the session for its replay in the inbox, where each finding stands at its turn.',
          width: 16,
          unit: 'none',
          query: rows(`
SELECT received_at AS time, toString(user_name) AS user, title AS "began with", warnings, findings, arrayStringConcat(arrayDistinct(finding_types), ', ') AS kinds, turns, errors,
  compactions, active_minutes AS minutes, cost_usd_micros / 1000000 AS cost, session_file AS session, version, ${asValue('user_name')} AS person_value
FROM sessions
WHERE ${files} AND findings > 0
ORDER BY warnings DESC, received_at DESC
LIMIT 100`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('user', {
              links: [toDashboard('Only this user', 'agnes-sessions', { person: field('person_value') })],
            }),
            column('began with', {
              'custom.minWidth': 220,
              links: [
                toInbox(
                  'Replay the session',
                  `/admin/sessions/${field('user')}/${field('session')}?version=${field('version')}`,
                ),
              ],
            }),
            column('cost', { unit: 'currencyUSD', decimals: 2 }),
            column('minutes', { unit: 'm' }),
            hidden('session'),
            hidden('version'),
            hidden('person_value'),
          ],
        }),
        ranking({
          title: 'Whose sessions get stuck most?',
          description:
            'Findings that are warnings or errors, by user. Click one for these sessions; offer help before you count.',
          width: 8,
          unit: 'short',
          noValue: 'nobody',
          query: rows(`
SELECT toString(user_name) AS user, count() AS findings, ${asValue('user_name')} AS person_value
FROM session_findings
WHERE ${findings} AND severity IN ('warning', 'error')
GROUP BY user_name
ORDER BY findings DESC
LIMIT 12`),
          links: [toDashboard('Only this user', 'agnes-sessions', { person: field('person_value') })],
          overrides: [hidden('person_value')],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How many people use Claude Code a day and a week?',
          description:
            'Users with a turn on the day, and in the week that ends with it (view active_users, from transcripts). A falling second line is people who stopped.',
          width: 12,
          unit: 'short',
          decimals: 0,
          query: series(`
SELECT toDateTime(day) AS time, daily_users AS "on the day", weekly_users AS "in 7 days"
FROM active_users
WHERE tenant = \${tenant:singlequote} AND $__dateFilter(day)
ORDER BY time`),
        }),
        ranking({
          title: 'Which tools are used most in sessions?',
          description:
            'Calls of tools in transcripts (usage_daily, dimension tool), with telemetry or without. MCP servers stand here with each of their tools.',
          width: 12,
          unit: 'short',
          query: rows(`
SELECT toString(name) AS tool, sum(tool_calls) AS calls
FROM usage_daily
WHERE tenant = \${tenant:singlequote} AND $__dateFilter(day) AND dimension = 'tool' AND ${byPerson}
GROUP BY name
ORDER BY calls DESC
LIMIT 12`),
        }),
      ],
    },
  ],
})

function weekName(weeksAgo: number): string {
  return weeksAgo === 0 ? 'this week' : `−${weeksAgo} w`
}
