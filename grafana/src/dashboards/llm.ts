/** What do language models cost, who spends it, and does the cache help? The view llm_generations holds the rules. */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard } from '../model/links.ts'
import { column, hidden, higherIsWorse, lowerIsWorse, ranking, stat, table, timeseries } from '../model/panels.ts'
import { inRangeOf, rows, series } from '../model/query.ts'
import { asValue, user } from '../model/variables.ts'

const where = `${inRangeOf('timestamp')} AND $__conditionalAll(user_id IN (\${user:singlequote}), $user)`
const time = '$__timeInterval(timestamp)'

export const llm = dashboard({
  uid: 'agnes-llm',
  title: 'LLM usage & cost',
  description: 'What do language models cost, who spends it, and does the cache help?',
  variables: [user],
  from: 'now-7d',
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'What did it cost, and what will a month?',
          description:
            'Sum of the costs that calls report, and the same rate kept up for 30 days. Claude Code and agnes.llm.generation; calls that give no cost are counted beside it, not estimated.',
          width: 12,
          unit: 'currencyUSD',
          decimals: 2,
          query: rows(`
SELECT sum(cost_usd_micros) / 1000000 AS "in this time", "in this time" * 2592000 / greatest(1, dateDiff('second', $__fromTime, $__toTime)) AS "30 days at this rate"
FROM llm_generations
WHERE ${where}`),
        }),
        stat({
          title: 'How much of what was read came from the cache?',
          description:
            'Tokens read from the prompt cache as a share of all that were read. Long sessions reach 90 %; under half, prompts change at their beginning or the cache expires between calls.',
          width: 6,
          unit: 'percentunit',
          max: 1,
          decimals: 0,
          noValue: 'no calls',
          query: rows(
            `SELECT sum(cache_read_tokens) / nullIf(sum(cache_read_tokens) + sum(cache_write_tokens) + sum(input_tokens), 0) AS cached FROM llm_generations WHERE ${where}`,
          ),
          thresholds: lowerIsWorse(0.3, 0.5),
        }),
        stat({
          title: 'How many calls gave no cost?',
          description:
            'Share of calls without a cost: the sums on this page miss them. Red: a sender does not report agnes.cost_usd_micros; the table of models says which.',
          width: 6,
          unit: 'percentunit',
          max: 1,
          decimals: 0,
          noValue: 'no calls',
          query: rows(
            `SELECT countIf(cost_usd_micros IS NULL) / nullIf(count(), 0) AS unpriced FROM llm_generations WHERE ${where}`,
          ),
          thresholds: higherIsWorse(0.01, 0.2),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'What kinds of tokens were used?',
          description:
            'Tokens per interval: read anew, read from the cache, written to the cache, written as an answer. Cached ones cost about a tenth of those read anew.',
          width: 12,
          unit: 'short',
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${time} AS time, sum(input_tokens) AS "read anew", sum(cache_read_tokens) AS "read from the cache", sum(cache_write_tokens) AS "written to the cache", sum(output_tokens) AS "answered"
FROM llm_generations
WHERE ${where}
GROUP BY time
ORDER BY time`),
        }),
        timeseries({
          title: 'What does each model cost?',
          description:
            'Cost per interval by model. A model that appears or grows overnight is a changed default: see Changes.',
          width: 12,
          unit: 'currencyUSD',
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${time} AS time, model, sum(cost_usd_micros) / 1000000 AS Value
FROM llm_generations
WHERE ${where}
GROUP BY time, model
HAVING Value > 0
ORDER BY time, model`),
        }),
      ],
    },
    {
      height: 10,
      panels: [
        ranking({
          title: 'Who spends most?',
          description:
            'Cost by user. Claude Code sends a random id of the installation, Agnes the user. Click one to see only that user.',
          width: 10,
          unit: 'currencyUSD',
          decimals: 2,
          query: rows(`
SELECT if(user_id = '', 'nobody named', toString(user_id)) AS user, sum(cost_usd_micros) / 1000000 AS cost, ${asValue('user_id')} AS user_value
FROM llm_generations
WHERE ${where}
GROUP BY user_id
HAVING cost > 0
ORDER BY cost DESC
LIMIT 12`),
          links: [toDashboard('Only this user', 'agnes-llm', { user: field('user_value') })],
          overrides: [hidden('user_value')],
        }),
        table({
          title: 'How do models compare?',
          description:
            'Calls, tokens, cost and duration by model and sender. Compare cost a call with what it is used for: a small model may do.',
          width: 14,
          unit: 'none',
          query: rows(`
SELECT if(model = '', 'not said', model) AS model, toString(source) AS source, count() AS calls, sum(input_tokens + cache_read_tokens + cache_write_tokens) AS read, sum(output_tokens) AS answered,
  sum(cost_usd_micros) / 1000000 AS cost, cost / calls AS "cost a call", countIf(cost_usd_micros IS NULL) AS unpriced, quantile(0.95)(duration_ms) AS p95, countIf(startsWith(result, 'error')) AS failed
FROM llm_generations
WHERE ${where}
GROUP BY model, source
ORDER BY cost DESC NULLS LAST
LIMIT 100`),
          overrides: [
            ...['read', 'answered'].map((name) => column(name, { unit: 'short' })),
            column('cost', { unit: 'currencyUSD', decimals: 2 }),
            column('cost a call', { unit: 'currencyUSD', decimals: 4 }),
            column('p95', { unit: 'ms' }),
          ],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How long do calls take?',
          description:
            'Median and 95th percentile of the duration of calls. Both rise at once: the provider is slow, or prompts grew.',
          width: 12,
          unit: 'ms',
          query: series(`
SELECT ${time} AS time, quantile(0.5)(duration_ms) AS p50, quantile(0.95)(duration_ms) AS p95
FROM llm_generations
WHERE ${where} AND duration_ms IS NOT NULL
GROUP BY time
ORDER BY time`),
        }),
        timeseries({
          title: 'How many calls, and how many failed?',
          description:
            'Calls per interval that were answered or failed. Failures are errors of the provider or refused requests; those of Claude Code stand on its own page.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${time} AS time, if(startsWith(result, 'error') OR result = 'failed', 'failed', 'answered') AS outcome, count() AS Value
FROM llm_generations
WHERE ${where}
GROUP BY time, outcome
ORDER BY time, outcome`),
          overrides: [
            column('answered', { color: { mode: 'fixed', fixedColor: 'green' } }),
            column('failed', { color: { mode: 'fixed', fixedColor: 'red' } }),
          ],
        }),
      ],
    },
  ],
})
