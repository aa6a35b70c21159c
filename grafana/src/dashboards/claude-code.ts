/** What does Claude Code's own telemetry say: sessions, decisions, failing tools, cost, compactions. */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard } from '../model/links.ts'
import { column, hidden, higherIsWorse, ranking, stat, table, timeseries } from '../model/panels.ts'
import { byUser, inRange, interval, rows, series } from '../model/query.ts'
import { asValue, user } from '../model/variables.ts'

/** Its events are told by their action, whatever release sent them and whether it named them in full. */
const of = (...events: readonly string[]): string =>
  `${inRange} AND Action IN (${events.map((event) => `'claude_code.${event}'`).join(', ')}) AND ${byUser}`
/** Their sources stand among the attributes, which are read for the latest of them alone. */
const refusals = `${of('tool_decision')} AND Result = 'denied'`
const any = `${inRange} AND startsWith(Action, 'claude_code.') AND ${byUser}`

export const claudeCode = dashboard({
  uid: 'agnes-claude-code',
  title: 'Claude Code',
  description: 'What does Claude Code do, what does it cost, and where is it stopped?',
  variables: [user],
  from: 'now-7d',
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How much is it used?',
          description:
            "Different sessions and installations with an event of Claude Code's telemetry, and prompts. Nothing: its environment variables are not set (README, Send events).",
          width: 10,
          unit: 'short',
          query: rows(
            `SELECT uniqIf(SessionId, SessionId != '') AS sessions, uniqIf(UserId, UserId != '') AS installations, countIf(Action = 'claude_code.user_prompt') AS prompts FROM otel_logs WHERE ${any}`,
          ),
        }),
        stat({
          title: 'What did it cost?',
          description:
            "Sum of the cost that Claude Code's api_request events report, at list prices. LLM usage & cost has it by model, with what other senders report.",
          width: 7,
          unit: 'currencyUSD',
          decimals: 2,
          query: rows(
            `SELECT sum(cost_usd_micros) / 1000000 AS cost FROM llm_generations WHERE tenant = \${tenant:singlequote} AND $__timeFilter_ms(timestamp) AND source = 'claude_code' AND $__conditionalAll(user_id IN (\${user:singlequote}), $user)`,
          ),
          links: [toDashboard('By model and user', 'agnes-llm')],
        }),
        stat({
          title: 'How many tool calls failed?',
          description:
            'Share of tool results that are failures; calls that were rejected have no result and do not count. Over 15 % something in the set-up is broken: see which tools.',
          width: 7,
          unit: 'percentunit',
          decimals: 1,
          max: 1,
          noValue: 'no calls',
          query: rows(
            `SELECT countIf(ResultClass = 'error') / nullIf(count(), 0) AS failed FROM otel_logs WHERE ${of('tool_result')}`,
          ),
          thresholds: higherIsWorse(0.08, 0.15),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How was it decided on tools?',
          description:
            'Tool decisions per interval: accepted or rejected, by rules, hooks or a person. A rise of denied: a rule that is too strict, see the tools below.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${interval} AS time, if(ResultClass = 'denied', 'rejected', 'accepted') AS decision, count() AS Value
FROM otel_logs
WHERE ${of('tool_decision')}
GROUP BY time, decision
ORDER BY time, decision`),
          overrides: [
            column('accepted', { color: { mode: 'fixed', fixedColor: 'green' } }),
            column('rejected', { color: { mode: 'fixed', fixedColor: 'orange' } }),
          ],
        }),
        timeseries({
          title: 'What does it do when?',
          description:
            'Events of Claude Code per interval by name, the ten most frequent: prompts, requests, tools, compactions.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${interval} AS time, substring(toString(Action), 13) AS event, count() AS Value
FROM otel_logs
WHERE ${any} AND Action IN (SELECT Action FROM otel_logs WHERE ${any} GROUP BY Action ORDER BY count() DESC LIMIT 10)
GROUP BY time, event
ORDER BY time, event`),
        }),
      ],
    },
    {
      height: 10,
      panels: [
        table({
          title: 'Which tools fail, are refused, or are slow?',
          description:
            'Tools by calls: results, failures, rejections and duration. A tool that fails more than one in five times costs turns; one that is rejected often needs a rule.',
          width: 14,
          unit: 'none',
          query: rows(`
SELECT if(Resource = '', 'not said', Resource) AS tool, countIf(Action = 'claude_code.tool_result') AS results, countIf(Action = 'claude_code.tool_result' AND ResultClass = 'error') AS failed,
  failed / nullIf(results, 0) AS "share failed", countIf(Action = 'claude_code.tool_decision' AND ResultClass = 'denied') AS rejected,
  if(countIf(DurationMs IS NOT NULL) = 0, NULL, quantile(0.95)(DurationMs)) AS p95
FROM otel_logs
WHERE ${of('tool_result', 'tool_decision')}
GROUP BY tool
ORDER BY results DESC
LIMIT 100`),
          overrides: [
            column('share failed', {
              unit: 'percentunit',
              decimals: 0,
              'custom.cellOptions': { type: 'color-text' },
              thresholds: { mode: 'absolute', steps: higherIsWorse(0.1, 0.2) },
            }),
            column('p95', { unit: 'ms' }),
          ],
        }),
        ranking({
          title: 'Who or what refuses tools?',
          description:
            'The latest 300 rejected tool calls by who decided: config and hook are rules (permission denied), user_reject and user_abort are people. Many by config: allow the tool, or tell people why not.',
          width: 10,
          unit: 'short',
          noValue: 'nothing was refused',
          query: rows(`
SELECT concat(Resource, ': ', LogAttributes['source']) AS refusal, count() AS times
FROM otel_logs
WHERE ${refusals} AND Timestamp >= (
  SELECT min(at) FROM (SELECT Timestamp AS at FROM otel_logs WHERE ${refusals} ORDER BY at DESC LIMIT 300)
)
GROUP BY refusal
ORDER BY times DESC
LIMIT 15`),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'When did the model not answer?',
          description:
            'Terminal errors of the API per interval, by message (retries are not reported one by one). Overloaded: the provider; 401 and 403: keys; 400: prompts too long.',
          width: 8,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          noValue: 'it always did',
          query: series(`
SELECT ${interval} AS time, if(Message = '', 'not said', substringUTF8(Message, 1, 60)) AS error, count() AS Value
FROM otel_logs
WHERE ${of('api_error')} AND (Message IN (SELECT Message FROM otel_logs WHERE ${of('api_error')} GROUP BY Message ORDER BY count() DESC LIMIT 8))
GROUP BY time, error
ORDER BY time, error`),
        }),
        timeseries({
          title: 'When did contexts run full?',
          description:
            'Compactions per interval. Each one forgets: many mean tasks that are too large for one session, or tools that answer too much.',
          width: 8,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          interval: '1h',
          query: series(`
SELECT ${interval} AS time, count() AS compactions
FROM otel_logs
WHERE ${of('compaction')}
GROUP BY time
ORDER BY time`),
        }),
        timeseries({
          title: 'How long do requests and tools take?',
          description:
            '95th percentile of the duration of requests to the model and of tools. Requests rise: the provider or long contexts; tools rise: this machine or its network.',
          width: 8,
          unit: 'ms',
          query: series(`
SELECT ${interval} AS time, if(Action = 'claude_code.api_request', 'requests', 'tools') AS what, quantile(0.95)(DurationMs) AS Value
FROM otel_logs
WHERE ${of('api_request', 'tool_result')} AND DurationMs IS NOT NULL
GROUP BY time, what
ORDER BY time, what`),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        table({
          title: 'Which installations are busy, and which are stuck?',
          description:
            'Installations (Claude Code sends a random id, or the user where an identity provider gives one) by sessions, failures and rejections. Click one to see only it.',
          width: 24,
          unit: 'none',
          query: rows(`
SELECT toString(UserId) AS installation, uniqIf(SessionId, SessionId != '') AS sessions, countIf(Action = 'claude_code.user_prompt') AS prompts, countIf(Action = 'claude_code.tool_result') AS "tool calls",
  countIf(Action = 'claude_code.tool_result' AND ResultClass = 'error') AS failed, countIf(Action = 'claude_code.tool_decision' AND ResultClass = 'denied') AS rejected,
  countIf(Action = 'claude_code.compaction') AS compactions, countIf(Action = 'claude_code.api_error') AS "api errors", max(Timestamp) AS last, ${asValue('UserId')} AS user_value
FROM otel_logs
WHERE ${any}
GROUP BY UserId
ORDER BY prompts DESC
LIMIT 200`),
          overrides: [
            column('installation', {
              links: [toDashboard('Only this one', 'agnes-claude-code', { user: field('user_value') })],
            }),
            column('last', { unit: 'dateTimeFromNow' }),
            hidden('user_value'),
          ],
        }),
      ],
    },
  ],
})
