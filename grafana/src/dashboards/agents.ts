/** Do agents work? How many runs, how many succeed, how long they take, and which broke lately. */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import {
  column,
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

const runs = `${inRange} AND EventName = 'agnes.agent_run.finish'`
const agents = {
  ...list(
    'agent',
    'Agent',
    `SELECT ${asValue('Resource')} AS value, Resource AS text FROM otel_logs WHERE ${runs} AND Resource != '' GROUP BY Resource ORDER BY Resource LIMIT 500`,
  ),
  multi: true,
  includeAll: true,
  current: { text: ['All'], value: ['$__all'] },
}
const byAgent = '$__conditionalAll(Resource IN (${agent:singlequote}), $agent)'
const where = `${runs} AND ${byAgent} AND ${byEnvironment}`
const name = "if(Resource = '', 'not said', Resource)"

export const agentRuns = dashboard({
  uid: 'agnes-agents',
  title: 'Agent runs',
  description: 'Do agents work: how many runs, how many succeed, and how long do they take?',
  variables: [agents, environment],
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'How many runs ended?',
          description:
            'Events agnes.agent_run.finish. None at all: the scheduler of agents, or its way to the gateway, is broken.',
          width: 6,
          unit: 'short',
          query: rows(`SELECT count() AS runs FROM otel_logs WHERE ${where}`),
        }),
        stat({
          title: 'How many succeeded?',
          description:
            'Share of ended runs whose result is success; cancelled ones count as neither. Under 80 % is red: the table of agents says which one it is.',
          width: 6,
          unit: 'percentunit',
          decimals: 0,
          max: 1,
          noValue: 'no runs',
          query: rows(
            `SELECT countIf(ResultClass = 'success') / nullIf(countIf(ResultClass IN ('success', 'error', 'denied')), 0) AS succeeded FROM otel_logs WHERE ${where}`,
          ),
          thresholds: lowerIsWorse(0.8, 0.95),
        }),
        stat({
          title: 'How many failed within one hour?',
          description:
            'Most failed runs of one agent within one hour of the clock. The alert fires over 10: open the failed runs below, they mostly share one error.',
          width: 6,
          unit: 'short',
          query: rows(
            `SELECT max(failed) AS failed FROM (SELECT countIf(ResultClass = 'error') AS failed FROM otel_logs WHERE ${where} GROUP BY Resource, toStartOfHour(Timestamp))`,
          ),
          thresholds: higherIsWorse(4, 11),
        }),
        stat({
          title: 'How many began and did not end?',
          description:
            'Runs that began in the time range and have no end until now. Some may still go on; a number that grows are runs that hang or die without a word.',
          width: 6,
          unit: 'short',
          query:
            rows(`SELECT uniqExactIf(RunId, EventName = 'agnes.agent_run.start') - uniqExactIf(RunId, EventName = 'agnes.agent_run.finish' AND RunId IN (
  SELECT RunId FROM otel_logs WHERE ${inRange} AND EventName = 'agnes.agent_run.start' AND ${byAgent} AND ${byEnvironment}
)) AS open
FROM otel_logs
WHERE ${inRange} AND EventName IN ('agnes.agent_run.start', 'agnes.agent_run.finish') AND ${byAgent} AND ${byEnvironment}`),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How many runs an hour, by agent?',
          description:
            'Ended runs per interval by agent (gen_ai.agent.name), the twelve busiest. A gap in one line is an agent that was not started.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          interval: '1h',
          query: series(`
SELECT ${interval} AS time, ${name} AS agent, count() AS Value
FROM otel_logs
WHERE ${where} AND Resource IN (SELECT Resource FROM otel_logs WHERE ${where} GROUP BY Resource ORDER BY count() DESC LIMIT 12)
GROUP BY time, agent
ORDER BY time, agent`),
        }),
        timeseries({
          title: 'When did runs fail?',
          description:
            'Failed runs per hour by agent. A spike of one agent is its own fault, of all of them the model provider or the data below.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          interval: '1h',
          query: series(`
SELECT ${interval} AS time, ${name} AS agent, countIf(ResultClass = 'error') AS Value
FROM otel_logs
WHERE ${where} AND Resource IN (SELECT Resource FROM otel_logs WHERE ${where} GROUP BY Resource ORDER BY countIf(ResultClass = 'error') DESC LIMIT 12)
GROUP BY time, agent
ORDER BY time, agent`),
          thresholds: [
            { color: 'transparent', value: null },
            { color: 'red', value: 10 },
          ],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How long do runs take?',
          description:
            'Median, 95th and 99th percentile of the duration of ended runs, as their finish says (agnes.duration_ms).',
          width: 12,
          unit: 'ms',
          query: series(`
SELECT time, levels[1] AS p50, levels[2] AS p95, levels[3] AS p99
FROM (SELECT ${interval} AS time, quantiles(0.5, 0.95, 0.99)(DurationMs) AS levels FROM otel_logs WHERE ${where} AND DurationMs IS NOT NULL GROUP BY time)
ORDER BY time`),
        }),
        table({
          title: 'Which agent is slow or fails?',
          description:
            'Every agent: runs, share that succeeded, percentiles of duration, and when it failed last. Click one to see only it.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT ${name} AS agent, count() AS runs, countIf(ResultClass = 'success') / nullIf(countIf(ResultClass IN ('success', 'error', 'denied')), 0) AS succeeded,
  quantile(0.5)(DurationMs) AS p50, quantile(0.95)(DurationMs) AS p95, quantile(0.99)(DurationMs) AS p99,
  if(countIf(ResultClass = 'error') = 0, NULL, maxIf(Timestamp, ResultClass = 'error')) AS "last failure", ${asValue('Resource')} AS agent_value
FROM otel_logs
WHERE ${where}
GROUP BY Resource
ORDER BY runs DESC
LIMIT 200`),
          overrides: [
            column('agent', {
              links: [toDashboard('Only this agent', 'agnes-agents', { agent: field('agent_value') })],
            }),
            column('succeeded', {
              unit: 'percentunit',
              decimals: 0,
              'custom.cellOptions': { type: 'color-text' },
              thresholds: { mode: 'absolute', steps: lowerIsWorse(0.8, 0.95) },
            }),
            ...['p50', 'p95', 'p99'].map((each) => column(each, { unit: 'ms', 'custom.width': 80 })),
            column('last failure', { unit: 'dateTimeFromNow', noValue: 'never' }),
            hidden('agent_value'),
          ],
        }),
      ],
    },
    {
      height: 10,
      panels: [
        table({
          title: 'Which runs failed last?',
          description:
            'The latest 100 runs that failed or were denied. Click the run for all its events on the timeline page of the inbox.',
          width: 16,
          unit: 'none',
          query: rows(`
SELECT Timestamp AS time, ${name} AS agent, toString(UserId) AS user, RunId AS run, toString(ResultClass) AS result, DurationMs AS duration, EventId AS id
FROM otel_logs
WHERE ${where} AND ResultClass IN ('error', 'denied')
ORDER BY Timestamp DESC
LIMIT 100`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('run', { links: [toInbox('Open the event', `/admin/activity/${field('id')}`)] }),
            column('duration', { unit: 'ms', 'custom.width': 90 }),
            resultColumn('result'),
            hidden('id'),
          ],
        }),
        ranking({
          title: 'What do agents do that fails?',
          description:
            'Errors and denials with a run id or of clients that are agents, by action: tools, model calls, queries. The first bar is what to mend for the agents.',
          width: 8,
          unit: 'short',
          noValue: 'nothing failed',
          query: rows(`
SELECT toString(Action) AS action, count() AS failures
FROM otel_logs
WHERE ${inRange} AND EventName != '' AND ClientKind = 'agent' AND ResultClass IN ('error', 'denied') AND ${byEnvironment}
GROUP BY Action
ORDER BY failures DESC
LIMIT 12`),
          links: [toDashboard('Show the events', 'agnes-timeline', { action: field('action') })],
        }),
      ],
    },
  ],
})
