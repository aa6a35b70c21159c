-- The health pulse: is this instance well at the instant `now`? One row a field; every threshold lives here and nowhere else.
--   SELECT * FROM agnes.health_pulse(now = '2026-11-21 12:00:00', tenant = 'default')
-- Cost on a filled database: none, views hold no rows. A pulse reads one day of one tenant, promoted columns only, and
-- where nothing ticks up to 30 days of two columns more, to tell a scheduler that fell silent from none.
-- Planning a query of this length costs more than running it, so expressions are few, and the words are the reader's.

CREATE OR REPLACE VIEW agnes.health_pulse
AS WITH
    {now:DateTime64(9, 'UTC')} AS clock
SELECT
    name,
    multiIf(is_red, 'red', is_yellow, 'yellow', 'green') AS color,
    -- Seconds or a count, as `explanation` says. As one day is read, an age of more than 86400 means "not in 24 h".
    value,
    -- The figures behind it, where there are several.
    detail,
    explanation,
    -- A timeline filter as JSON; it goes back this many seconds from `now`.
    filter,
    filter_seconds
FROM
(
    SELECT
        age('second', maxIf(Timestamp, EventName = 'agnes.audit' AND ClientKind = 'scheduler'), clock) AS tick_age,
        groupUniqArrayIf(UserId, EventName = 'agnes.audit' AND ClientKind = 'scheduler') AS schedulers,
        -- The scheduler's user also leaves rows without a client kind: those alone do not make a person.
        length(arrayDistinct(arrayConcat(
            groupUniqArrayIf(UserId, EventName = 'agnes.audit' AND ClientKind NOT IN ('scheduler', 'system', 'agent', 'other') AND UserId != '' AND Timestamp >= toStartOfDay(clock)),
            arrayFilter(user -> NOT has(schedulers, user), groupUniqArrayIf(UserId, EventName = 'agnes.audit' AND ClientKind = 'other' AND Timestamp >= toStartOfDay(clock)))))) AS users,
        countIf(EventName = 'agnes.sync' AND Result IN ('ok', 'success')) AS ok,
        countIf(EventName = 'agnes.sync' AND Result NOT IN ('ok', 'success', 'skipped')) AS failed,
        age('second', maxIf(Timestamp, EventName = 'agnes.sync' AND Result IN ('ok', 'success')), clock) AS sync_age,
        age('second', maxIf(Timestamp, Action IN ('session_processor.verification', 'run_session_processor:verification')), clock) AS verification_age,
        argMaxIf(Message, Timestamp, Action = 'system.diagnose') AS diagnosed,
        toUInt32OrZero(extract(diagnosed, 'warnings=(\\d+)')) AS warnings,
        age('second', maxIf(Timestamp, Action = 'system.heartbeat'), clock) AS beat_age,
        -- Of every gateway; the worst counts.
        groupArrayIf(Message, Action = 'system.heartbeat' AND Timestamp >= clock - INTERVAL 2 MINUTE) AS beats,
        arrayMax(beat -> toFloat64OrZero(extract(beat, 'oldest_seconds=([\\d.]+)')), beats) AS oldest_seconds,
        arrayMax(beat -> toFloat64OrZero(extract(beat, 'lag_p99_ms=([\\d.]+)')), beats) AS lag_ms,
        arrayMax(beat -> toFloat64OrZero(extract(beat, 'rejected_last_hour=(\\d+)')), beats) AS rejected
    FROM agnes.otel_logs
    WHERE TenantId = {tenant:String} AND Timestamp >= clock - INTERVAL 1 DAY AND Timestamp <= clock
)
ARRAY JOIN
    ['scheduler', 'sync_24h', 'active_users_today', 'memory_pipeline', 'diagnose_warnings', 'pipeline'] AS name,
    [tick_age > 7200 AND {tenant:String} IN (
            SELECT TenantId FROM agnes.otel_logs
            WHERE TenantId = {tenant:String} AND Timestamp >= clock - INTERVAL 30 DAY AND Timestamp <= clock AND EventName = 'agnes.audit' AND ClientKind = 'scheduler'
            LIMIT 1),
        failed * 19 > ok, false, false, false, beat_age BETWEEN 121 AND 86400 OR oldest_seconds > 300] AS is_red,
    [tick_age > 1800, ok + failed = 0 OR failed > 0, false, verification_age > 3600, warnings > 0,
        beat_age > 120 OR oldest_seconds > 30 OR lag_ms > 5000 OR rejected > 0] AS is_yellow,
    [tick_age, sync_age, toInt64(users), verification_age, toInt64(warnings), beat_age] AS value,
    ['', concat(toString(ok), ' ok, ', toString(failed), ' failed'), '', '', if(diagnosed = '', 'not run', ''),
        concat('lag ', toString(lag_ms), ' ms, oldest waits ', toString(oldest_seconds), ' s, ', toString(rejected), ' rejected')] AS detail,
    [
        'Seconds since the last scheduler tick: yellow over 30 min or when there was none in 30 days, red over 2 h.',
        'Seconds since a sync was ok, and syncs in 24 h without skipped ones: yellow when there was none or one failed, red when less than 95 % were ok.',
        'People with an audit event since midnight UTC; the scheduler, agents and the system do not count. Never red.',
        'Seconds since the verification processor ran: yellow over 1 h.',
        'Warnings of the last diagnose run in 24 h: yellow when there is one, green when diagnose was not run.',
        'Seconds since the last heartbeat of an ingest gateway: red over 2 min, or when a record waits for over 5 min; yellow when a record waits for over 30 s, takes over 5 s to become queryable or was rejected in the last hour, or without a gateway.'
    ] AS explanation,
    [
        if(empty(schedulers), '{"actionPrefix":"run_"}', concat('{"userId":', toJSONString(schedulers[1]), '}')),
        '{"actionIn":["sync.run"]}',
        '{}',
        '{"actionIn":["session_processor.verification","run_session_processor:verification"]}',
        '{"actionIn":["system.diagnose"]}',
        '{"actionIn":["system.heartbeat"]}'
    ] AS filter,
    [86400, 86400, age('second', toStartOfDay(clock), clock), 86400, 86400, 3600] AS filter_seconds;
