/** Does every event arrive, and how fast? The gateway's heartbeats, the stored rows themselves, and the processors. */
import { dashboard } from '../model/dashboard.ts'
import { field, toDashboard, toInbox } from '../model/links.ts'
import { column, hidden, higherIsWorse, ranking, resultColumn, stat, table, timeseries } from '../model/panels.ts'
import { beats, eachGateway, figure, inRange, interval, ofGateways, rows, series } from '../model/query.ts'

/**
 * How much a counter grew within each interval. A gateway that starts anew counts from zero: then all it has counted is
 * growth. The first heartbeat of the range is where counting begins.
 */
function growth(names: readonly string[]): string {
  return `
SELECT ${interval} AS time, ${names.map((name) => `sum(if(place = 1, 0, if(${name} >= ${name}_before, ${name} - ${name}_before, ${name}))) AS ${name}_grown`).join(', ')}
FROM (
  SELECT Timestamp, ${names.map((name) => `${figure(name)} AS ${name}, lagInFrame(${figure(name)}) OVER gateway AS ${name}_before`).join(', ')}, row_number() OVER gateway AS place
  FROM otel_logs
  WHERE ${beats}
  WINDOW gateway AS (PARTITION BY ${eachGateway} ORDER BY Timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
GROUP BY time
ORDER BY time`
}

export const pipeline = dashboard({
  uid: 'agnes-pipeline',
  title: 'Pipeline',
  description: 'Does every event arrive, how fast, and is anything piling up?',
  sections: [
    {
      height: 4,
      panels: [
        stat({
          title: 'When was a gateway last heard of?',
          description:
            'Seconds from the latest heartbeat of an ingest gateway to the end of the time range; it sends one every 30 s. Over 2 minutes: the gateway or the way to ClickHouse is down, see the runbook of the alert "Ingest stopped".',
          width: 6,
          unit: 's',
          noValue: 'never',
          query: rows(
            `SELECT if(count() = 0, NULL, dateDiff('second', max(Timestamp), toDateTime64($__toTime, 9))) AS silent FROM otel_logs WHERE ${beats}`,
          ),
          thresholds: higherIsWorse(60, 120),
        }),
        stat({
          title: 'How long has the oldest record waited?',
          description:
            'Age of the oldest record in a spool, by the latest heartbeats; of several gateways the worst (agnes.pipeline.oldest_seconds). Over 30 s the writer cannot keep up or ClickHouse does not answer; nothing is lost while the disk has room.',
          width: 6,
          unit: 's',
          noValue: 'no heartbeat',
          query: rows(ofGateways('max', figure('oldest_seconds'), 'oldest')),
          thresholds: higherIsWorse(30, 300),
        }),
        stat({
          title: 'How many records were rejected in the last hour?',
          description:
            'Records the gateways refused as they were no valid records (agnes.pipeline.rejected_last_hour). Not zero: the log of the gateway and of the sender say which.',
          width: 6,
          unit: 'short',
          noValue: 'no heartbeat',
          query: rows(ofGateways('sum', figure('rejected_last_hour'), 'rejected')),
          thresholds: higherIsWorse(1, 1_000),
        }),
        stat({
          title: 'How many events were stored?',
          description:
            'Rows of otel_logs with a time in the range, everything included. Compare it with the rate below.',
          width: 6,
          unit: 'short',
          query: rows(`SELECT count() AS events FROM otel_logs WHERE ${inRange}`),
        }),
      ],
    },
    {
      height: 9,
      panels: [
        timeseries({
          title: 'How much comes in, and from whom?',
          description:
            'Events per interval by sending service (service.name), the ten largest. A service that stops has lost its way to the gateway, or its exporter its key.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          query: series(`
SELECT ${interval} AS time, if(ServiceName = '', 'not said', toString(ServiceName)) AS service, count() AS Value
FROM otel_logs
WHERE ${inRange} AND ServiceName IN (SELECT ServiceName FROM otel_logs WHERE ${inRange} GROUP BY ServiceName ORDER BY count() DESC LIMIT 10)
GROUP BY time, service
ORDER BY time, service`),
        }),
        timeseries({
          title: 'How long until an event can be asked for?',
          description:
            'From the gateway taking an event in (ReceivedAt) to its row being inserted (StoredAt), median and 99th percentile of one in sixteen events. Over 5 s is yellow in the health pulse.',
          width: 12,
          unit: 'ms',
          thresholds: higherIsWorse(5_000, 30_000),
          query: series(`
SELECT ${interval} AS time, quantile(0.5)(lag) AS p50, quantile(0.99)(lag) AS p99
FROM (
  SELECT Timestamp, greatest(0, toUnixTimestamp64Milli(StoredAt) - toUnixTimestamp64Milli(toDateTime64(ReceivedAt, 3))) AS lag
  FROM otel_logs
  WHERE ${inRange} AND Seq % 16 = 0
)
GROUP BY time
ORDER BY time`),
        }),
      ],
    },
    {
      height: 8,
      panels: [
        timeseries({
          title: 'What waits on disk?',
          description:
            'Records in the spools, highest of each interval (agnes.pipeline.backlog_records). A line that only rises: ClickHouse is slower than what comes in, or away.',
          width: 8,
          unit: 'short',
          query: series(`
SELECT ${interval} AS time, max(${figure('backlog_records')}) AS "waiting records"
FROM otel_logs
WHERE ${beats}
GROUP BY time
ORDER BY time`),
        }),
        timeseries({
          title: 'How much was received, stored, and known already?',
          description:
            "Growth of the gateways' own counters. Received and stored must meet; duplicates are retries of clients that were recognised, many of them mean timeouts on the way.",
          width: 8,
          unit: 'short',
          query: series(growth(['received', 'stored', 'duplicate'])),
          overrides: ['received', 'stored', 'duplicate'].map((name) => column(`${name}_grown`, { displayName: name })),
        }),
        timeseries({
          title: 'How much was rejected?',
          description:
            "Growth of the gateways' counter of rejected records. A sender that began to send something invalid: its log has the reason, and so has the gateway's.",
          width: 8,
          unit: 'short',
          style: 'bars',
          query: series(growth(['rejected'])),
          overrides: [
            column('rejected_grown', { displayName: 'rejected', color: { mode: 'fixed', fixedColor: 'red' } }),
          ],
        }),
      ],
    },
    {
      title: 'Processors of sessions',
      height: 9,
      panels: [
        table({
          title: 'Which processors run, and do they work?',
          description:
            'Runs of session processors by processor (view session_processor_runs). Memory pipeline red in the health pulse: verification is missing or old here.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT substring(toString(Action), 19) AS processor, count() AS runs, countIf(ResultClass = 'error') AS failed, quantile(0.95)(DurationMs) AS p95,
  dateDiff('second', max(Timestamp), toDateTime64($__toTime, 9)) AS since, argMaxIf(Message, Timestamp, ResultClass = 'error') AS error
FROM otel_logs
WHERE ${inRange} AND EventName = 'agnes.session_processor'
GROUP BY Action
ORDER BY failed DESC, processor
LIMIT 100`),
          overrides: [
            column('p95', { unit: 'ms', displayName: 'p95 duration' }),
            column('since', {
              unit: 's',
              displayName: 'last run',
              'custom.cellOptions': { type: 'color-text' },
              thresholds: { mode: 'absolute', steps: higherIsWorse(3_600, 21_600) },
            }),
          ],
        }),
        timeseries({
          title: 'How often do processors run?',
          description:
            'Runs of session processors per interval, by processor. A gap in all of them is the scheduler; in one, that processor is switched off or hangs.',
          width: 12,
          unit: 'short',
          decimals: 0,
          style: 'bars',
          stacked: true,
          interval: '15m',
          query: series(`
SELECT ${interval} AS time, substring(toString(Action), 19) AS processor, count() AS Value
FROM otel_logs
WHERE ${inRange} AND EventName = 'agnes.session_processor' AND Action IN (
  SELECT Action FROM otel_logs WHERE ${inRange} AND EventName = 'agnes.session_processor' GROUP BY Action ORDER BY count() DESC LIMIT 20
)
GROUP BY time, processor
ORDER BY time, processor`),
        }),
      ],
    },
    {
      title: 'Services',
      height: 9,
      panels: [
        table({
          title: 'What happened to our own services?',
          description:
            'Life cycle of engine, gateway and the others (agnes.system, without heartbeats). A crash or restart here explains a gap above; its message says why.',
          width: 12,
          unit: 'none',
          query: rows(`
SELECT Timestamp AS time, Resource AS component, replaceOne(toString(Action), 'system.', '') AS event, Message AS message, toString(ResultClass) AS result, EventId AS id
FROM otel_logs
WHERE ${inRange} AND EventName = 'agnes.system' AND Action != 'system.heartbeat'
ORDER BY Timestamp DESC
LIMIT 100`),
          overrides: [
            column('time', { unit: 'dateTimeAsIsoNoDateIfToday', 'custom.width': 170 }),
            column('event', { links: [toInbox('Open the event', `/admin/activity/${field('id')}`)] }),
            resultColumn('result'),
            hidden('id'),
          ],
        }),
        ranking({
          title: 'How full are the disks?',
          description:
            'Share of each disk of ClickHouse that is used, now (system.disks). Over 90 % is red: give it more room, or drop the oldest days (runbook "Disk is nearly full"); a full disk stops inserts.',
          width: 4,
          unit: 'percentunit',
          decimals: 0,
          min: 0,
          max: 1,
          query: rows(`
SELECT name AS disk, 1 - free_space / total_space AS used
FROM system.disks
WHERE total_space > 0
ORDER BY used DESC
LIMIT 12`),
          thresholds: higherIsWorse(0.8, 0.9),
        }),
        ranking({
          title: 'Which errors did nobody handle?',
          description: 'Events agnes.exception by type and service. Click one for the events; each has its stack.',
          width: 8,
          unit: 'short',
          noValue: 'none',
          query: rows(`
SELECT concat(Resource, ' in ', toString(ServiceName)) AS error, count() AS times
FROM otel_logs
WHERE ${inRange} AND EventName = 'agnes.exception'
GROUP BY error
ORDER BY times DESC
LIMIT 12`),
          links: [toDashboard('Show the events', 'agnes-timeline', { action: 'exception' })],
        }),
      ],
    },
  ],
})
