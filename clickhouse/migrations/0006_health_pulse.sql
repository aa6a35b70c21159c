-- The health pulse: is this instance well at the instant `now`? One row a field; every threshold lives here and nowhere else.
--   SELECT * FROM agnes.health_pulse(now = '2026-11-21 12:00:00', tenant = 'default')
-- Cost on a filled database: none, views hold no rows. A pulse reads one day of one tenant, promoted columns only, once.

CREATE OR REPLACE VIEW agnes.health_pulse
AS WITH
    {now:DateTime64(9, 'UTC')} AS clock,
    -- A tick is an audit event of the scheduler; people are who is neither the scheduler, an agent nor the system.
    (
        SELECT count() FROM (
            SELECT 1 FROM agnes.otel_logs
            WHERE TenantId = {tenant:String} AND Timestamp < clock - INTERVAL 2 HOUR AND EventName = 'agnes.audit' AND ClientKind = 'scheduler'
            LIMIT 1)
    ) > 0 AS ticked_before
SELECT
    field.1 AS name,
    field.2 AS value,
    field.3 AS color,
    field.4 AS explanation,
    field.5 AS filter,
    multiIf(has(fields.3, 'red'), 'red', has(fields.3, 'yellow'), 'yellow', 'green') AS status,
    if(status = 'green',
        concat('All nominal: ', toString(users), if(users = 1, ' active user', ' active users'), ', last sync ', sync_ago),
        concat('Degraded: ', arrayStringConcat(arrayMap(f -> f.4, arrayFilter(f -> f.3 != 'green', fields)), '; '))) AS sentence
FROM
(
    SELECT
        users,
        agos[2] AS sync_ago,
        -- (name, value, colour, explanation, timeline filter)
        [
            ('scheduler',
                if(last_tick > never, agos[1], if(ticked_before, 'over 2 h ago', 'never')),
                multiIf(last_tick >= clock - INTERVAL 30 MINUTE, 'green', last_tick > never OR NOT ticked_before, 'yellow', 'red'),
                multiIf(last_tick > never, concat('last scheduler tick ', agos[1]), ticked_before, 'no scheduler tick in the last 2 h', 'no scheduler tick yet'),
                if(scheduler_user = '', concat('{"actionPrefix":"run_","since":"', day_ago, '"}'), concat('{"userId":', toJSONString(scheduler_user), ',"since":"', day_ago, '"}'))),
            ('sync_24h',
                concat(toString(syncs_ok), ' ok, ', toString(syncs_failed), ' failed'),
                multiIf(syncs_ok + syncs_failed = 0, 'yellow', syncs_failed = 0, 'green', syncs_ok >= 0.95 * (syncs_ok + syncs_failed), 'yellow', 'red'),
                multiIf(syncs_ok + syncs_failed = 0, 'no sync in 24 h', syncs_failed = 0, concat('no failed sync in 24 h, last sync ', agos[2]), concat(toString(syncs_failed), ' of ', toString(syncs_ok + syncs_failed), ' syncs failed in 24 h')),
                concat('{"actionIn":["sync.run"],"since":"', day_ago, '"}')),
            ('active_users_today',
                toString(users),
                'green',
                concat(toString(users), if(users = 1, ' person', ' people'), ' active since midnight UTC'),
                concat('{"since":"', formatDateTime(toStartOfDay(clock, 'UTC'), '%Y-%m-%dT%H:%i:%SZ', 'UTC'), '"}')),
            ('memory_pipeline',
                if(last_verification > never, agos[3], 'none in 24 h'),
                if(last_verification >= clock - INTERVAL 1 HOUR, 'green', 'yellow'),
                if(last_verification > never, concat('verification processor ran ', agos[3]), 'verification processor did not run in 24 h'),
                concat('{"actionIn":["session_processor.verification","run_session_processor:verification"],"since":"', day_ago, '"}')),
            ('diagnose_warnings',
                if(last_diagnose > never, toString(warnings), 'unknown'),
                if(warnings = 0, 'green', 'yellow'),
                if(last_diagnose > never, concat(toString(warnings), if(warnings = 1, ' warning', ' warnings'), ' by the diagnose run ', agos[4]), 'no diagnose run in 24 h'),
                concat('{"actionIn":["system.diagnose"],"since":"', day_ago, '"}')),
            ('pipeline',
                multiIf(notEmpty(alive), concat('lag ', toString(round(lag_ms)), ' ms, backlog ', toString(backlog), ', rejected ', toString(rejected)), last_heartbeat > never, concat('silent, last heartbeat ', agos[5]), 'no heartbeat in 24 h'),
                multiIf(
                    last_heartbeat = never, 'yellow',
                    empty(alive) OR oldest_seconds > 300, 'red',
                    oldest_seconds > 30 OR lag_ms > 5000 OR rejected > 0, 'yellow',
                    'green'),
                multiIf(
                    last_heartbeat = never, 'no heartbeat of an ingest gateway in 24 h',
                    empty(alive), concat('last heartbeat of the ingest gateway ', agos[5]),
                    oldest_seconds > 30, concat('oldest unstored record waits ', toString(round(oldest_seconds)), ' s'),
                    lag_ms > 5000, concat('records take ', toString(round(lag_ms / 1000, 1)), ' s to become queryable'),
                    rejected > 0, concat(toString(rejected), if(rejected = 1, ' record', ' records'), ' rejected in the last hour'),
                    'records are stored as they come'),
                concat('{"actionIn":["system.heartbeat"],"includeHeartbeats":true,"since":"', formatDateTime(clock - INTERVAL 1 HOUR, '%Y-%m-%dT%H:%i:%SZ', 'UTC'), '"}'))
        ] AS fields
    FROM
    (
        SELECT
            *,
            toDateTime64(0, 9, 'UTC') AS never,
            formatDateTime(clock - INTERVAL 24 HOUR, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS day_ago,
            arrayMap(at -> multiIf(
                dateDiff('second', at, clock) < 90, concat(toString(greatest(dateDiff('second', at, clock), 0)), ' s ago'),
                dateDiff('second', at, clock) < 5400, concat(toString(intDiv(dateDiff('second', at, clock) + 30, 60)), ' min ago'),
                concat(toString(intDiv(dateDiff('second', at, clock) + 1800, 3600)), ' h ago')),
                [last_tick, last_sync, last_verification, last_diagnose, last_heartbeat]) AS agos,
            toUInt32OrZero(extract(diagnose_message, '(?:^| )warnings=(\\d+)')) AS warnings,
            -- (gateway, at, rejected since start, oldest waiting record, lag, backlog), in the order of gateway and time
            arraySort(arrayMap(h -> (
                extract(h.2, '(?:^| )instance=(\\S+)'),
                h.1,
                toInt64OrZero(extract(h.2, '(?:^| )rejected=(\\d+)')),
                toFloat64OrZero(extract(h.2, '(?:^| )oldest_seconds=([\\d.]+)')),
                toFloat64OrZero(extract(h.2, '(?:^| )lag_p99_ms=([\\d.]+)')),
                toInt64OrZero(extract(h.2, '(?:^| )backlog_records=(\\d+)'))), heartbeats)) AS beats,
            arrayFilter((beat, i) -> beat.2 >= clock - INTERVAL 2 MINUTE AND (i = length(beats) OR beats[i + 1].1 != beat.1), beats, arrayEnumerate(beats)) AS alive,
            arraySum(arrayMap((beat, i) -> multiIf(
                i = 1 OR beats[i - 1].1 != beat.1, toInt64(0),
                beat.3 >= beats[i - 1].3, beat.3 - beats[i - 1].3,
                -- The gateway was started again: it counts from zero.
                beat.3), beats, arrayEnumerate(beats))) AS rejected,
            arrayMax(arrayPushBack(alive.4, 0.)) AS oldest_seconds,
            arrayMax(arrayPushBack(alive.5, 0.)) AS lag_ms,
            arraySum(alive.6) AS backlog
        FROM
        (
            SELECT
                max(tick) AS last_tick,
                argMax(UserId, tick) AS scheduler_user,
                -- The scheduler's user also leaves rows without a client kind: those alone do not make a person.
                countIf(UserId != '' AND (person_rows > 0 OR (other_rows > 0 AND tick = toDateTime64(0, 9)))) AS users,
                sum(ok) AS syncs_ok,
                sum(failed) AS syncs_failed,
                max(sync) AS last_sync,
                max(verification) AS last_verification,
                max(diagnose) AS last_diagnose,
                argMax(diagnosed, diagnose) AS diagnose_message,
                max(heartbeat) AS last_heartbeat,
                groupArrayArray(beats_of_user) AS heartbeats
            FROM
            (
                SELECT
                    UserId,
                    maxIf(Timestamp, EventName = 'agnes.audit' AND ClientKind = 'scheduler') AS tick,
                    countIf(EventName = 'agnes.audit' AND ClientKind NOT IN ('scheduler', 'system', 'agent', 'other') AND Timestamp >= toStartOfDay(clock, 'UTC')) AS person_rows,
                    countIf(EventName = 'agnes.audit' AND ClientKind = 'other' AND Timestamp >= toStartOfDay(clock, 'UTC')) AS other_rows,
                    countIf(EventName = 'agnes.sync' AND Result IN ('ok', 'success')) AS ok,
                    countIf(EventName = 'agnes.sync' AND Result NOT IN ('ok', 'success', 'skipped')) AS failed,
                    maxIf(Timestamp, EventName = 'agnes.sync') AS sync,
                    maxIf(Timestamp, Action IN ('session_processor.verification', 'run_session_processor:verification')) AS verification,
                    maxIf(Timestamp, Action = 'system.diagnose') AS diagnose,
                    argMaxIf(Message, Timestamp, Action = 'system.diagnose') AS diagnosed,
                    maxIf(Timestamp, Action = 'system.heartbeat') AS heartbeat,
                    groupArrayIf((Timestamp, Message), Action = 'system.heartbeat' AND Timestamp >= clock - INTERVAL 1 HOUR) AS beats_of_user
                FROM agnes.otel_logs
                WHERE TenantId = {tenant:String}
                    AND Timestamp >= clock - INTERVAL 24 HOUR
                    AND Timestamp <= clock
                    AND (EventName IN ('agnes.sync', 'agnes.session_processor', 'agnes.system')
                        -- Most rows are ticks: only the youngest of them are looked at.
                        OR (EventName = 'agnes.audit' AND (Timestamp >= clock - INTERVAL 2 HOUR OR ClientKind != 'scheduler' OR Action = 'run_session_processor:verification')))
                GROUP BY UserId
            )
        )
    )
)
ARRAY JOIN fields AS field;
