/** What do people report, who answers, and what are the causes they have in common? */
import { dashboard } from '../model/dashboard.ts'
import type { Variable } from '../model/grafana.ts'
import { field, toInbox } from '../model/links.ts'
import { column, hidden, higherIsWorse, ranking, stat, table, timeseries } from '../model/panels.ts'
import { inRangeOf, rows, series } from '../model/query.ts'

const status: Variable = {
  name: 'status',
  label: 'Status',
  type: 'custom',
  hide: 0,
  query: 'open,triaged,resolved,wontfix,purged',
  multi: true,
  includeAll: true,
  current: { text: ['All'], value: ['$__all'] },
  options: ['open', 'triaged', 'resolved', 'wontfix', 'purged'].map((value) => ({
    text: value,
    value,
    selected: false,
  })),
}
const where = `${inRangeOf('created_at')} AND $__conditionalAll(status IN (\${status:singlequote}), $status)`
const ofTenant = 'tenant = ${tenant:singlequote}'
const waiting = "status IN ('open', 'triaged')"

export const feedback = dashboard({
  uid: 'agnes-feedback',
  title: 'Feedback',
  description: 'What do people report, and does anybody answer?',
  variables: [status],
  from: 'now-30d',
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How many reports came in?',
          description:
            'Reports that arrived in the time range, and how many people sent them (view current_feedback_reports).',
          width: 6,
          unit: 'short',
          query: rows(
            `SELECT count() AS reports, uniqExact(reporter_user) AS people FROM current_feedback_reports WHERE ${where}`,
          ),
        }),
        stat({
          title: "How many are open and nobody's?",
          description:
            'Open reports without an assignee, whenever they came. The alert fires once one of them is older than a day: take it, or give it to somebody.',
          width: 6,
          unit: 'short',
          query: rows(
            `SELECT countIf(status = 'open' AND assignee = '') AS reports FROM current_feedback_reports WHERE ${ofTenant} AND created_at <= $__toTime`,
          ),
          thresholds: higherIsWorse(1, 10),
        }),
        stat({
          title: 'How long does the oldest wait?',
          description:
            'Time since the oldest report that is open or triaged arrived. Over a week is red: people who are not answered stop reporting.',
          width: 6,
          unit: 's',
          noValue: 'none waits',
          query: rows(
            `SELECT dateDiff('second', min(created_at), $__toTime) AS oldest FROM current_feedback_reports WHERE ${ofTenant} AND created_at <= $__toTime AND ${waiting} HAVING count() > 0`,
          ),
          thresholds: higherIsWorse(86_400, 604_800),
        }),
        stat({
          title: 'How long until a report is resolved?',
          description:
            'Median time from arrival to resolved or wontfix, of the reports that arrived in the time range and are done.',
          width: 6,
          unit: 's',
          noValue: 'none was',
          query: rows(
            `SELECT quantile(0.5)(dateDiff('second', created_at, assumeNotNull(resolved_at))) AS median FROM current_feedback_reports WHERE ${where} AND status IN ('resolved', 'wontfix') AND resolved_at IS NOT NULL HAVING count() > 0`,
          ),
          thresholds: higherIsWorse(259_200, 1_209_600),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'When did reports come, and what became of them?',
          description:
            'Reports per interval by their status as it is now. A day with many of one cause is a release that broke something: see causes.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          interval: '1d',
          query: series(`
SELECT $__timeInterval(created_at) AS time, toString(status) AS state, count() AS Value
FROM current_feedback_reports
WHERE ${where}
GROUP BY time, state
ORDER BY time, state`),
        }),
        ranking({
          title: 'Which cause do most reports share?',
          description:
            'Reports by the tool and error that failed last before them, people counted once each. Mend the first bar and most reports are answered.',
          width: 12,
          unit: 'short',
          noValue: 'no report has a cause',
          query: rows(`
SELECT concat(if(any(cause_tool) = '', '', concat(toString(any(cause_tool)), ': ')), substringUTF8(any(cause_text), 1, 80)) AS cause, uniqExact(reporter_user) AS people
FROM current_feedback_reports
WHERE ${where} AND cause_key != ''
GROUP BY cause_key
ORDER BY people DESC, count() DESC
LIMIT 12`),
        }),
      ],
    },
    {
      height: 12,
      panels: [
        table({
          title: 'Which reports wait?',
          description:
            'Open and triaged reports, oldest first, whenever they came. Click the message to read it in the inbox with its session, and to answer.',
          width: 24,
          unit: 'none',
          noValue: 'none',
          query: rows(`
SELECT dateDiff('second', created_at, $__toTime) AS age, reporter_user AS user, substringUTF8(message, 1, 200) AS message, toString(status) AS state, assignee,
  arrayStringConcat(arrayMap(tag -> toString(tag), tags), ', ') AS labels, substringUTF8(cause_text, 1, 100) AS cause, id
FROM current_feedback_reports
WHERE ${ofTenant} AND created_at <= $__toTime AND ${waiting}
ORDER BY created_at
LIMIT 200`),
          overrides: [
            column('age', {
              unit: 's',
              'custom.width': 110,
              'custom.cellOptions': { type: 'color-background', mode: 'basic' },
              thresholds: { mode: 'absolute', steps: higherIsWorse(86_400, 604_800) },
            }),
            column('user', { 'custom.width': 120 }),
            column('message', {
              'custom.minWidth': 300,
              links: [toInbox('Open the report', `/admin/feedback/${field('id')}`)],
            }),
            column('state', { 'custom.width': 90 }),
            hidden('id'),
          ],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        table({
          title: 'What was answered last?',
          description: 'The latest 50 reports that were resolved or declined, with what was done and by whom.',
          width: 24,
          unit: 'none',
          noValue: 'nothing yet',
          query: rows(`
SELECT resolved_at AS time, reporter_user AS user, substringUTF8(message, 1, 120) AS message, toString(status) AS state, resolution, resolved_by AS by, id
FROM current_feedback_reports
WHERE ${where} AND status IN ('resolved', 'wontfix')
ORDER BY resolved_at DESC
LIMIT 50`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('message', {
              'custom.minWidth': 250,
              links: [toInbox('Open the report', `/admin/feedback/${field('id')}`)],
            }),
            hidden('id'),
          ],
        }),
      ],
    },
  ],
})
