-- What was redacted before an event was written anywhere, and by which rules.
-- Cost on a filled database: none. The column is not stored for old rows, views hold no rows.

ALTER TABLE agnes.otel_logs ADD COLUMN IF NOT EXISTS RedactionRules LowCardinality(String) COMMENT 'Which redaction rules held: first 16 digits of their SHA-256, off, or empty for rows of other writers and of before.' CODEC(LZ4);

CREATE OR REPLACE VIEW agnes.redactions
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    timestamp DateTime64(9) COMMENT 'When the event happened.',
    received_at DateTime64(9) COMMENT 'When the gateway took it in.',
    service_name LowCardinality(String) COMMENT 'Who sent it.',
    event_name LowCardinality(String) COMMENT 'Name of the event.',
    path String COMMENT 'Where the secret stood, e.g. attributes.agnes.params.',
    rule String COMMENT 'Rule that found it, e.g. password, jwt, card_number.',
    hmac String COMMENT 'Equal for equal secrets of one tenant; - where a whole text was taken out.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    Timestamp AS timestamp,
    ReceivedAt AS received_at,
    ServiceName AS service_name,
    EventName AS event_name,
    -- A path may hold blanks, a rule and an HMAC never do.
    arrayStringConcat(arraySlice(splitByChar(' ', redaction), 1, -2), ' ') AS path,
    splitByChar(' ', redaction)[-2] AS rule,
    splitByChar(' ', redaction)[-1] AS hmac
FROM agnes.otel_logs
ARRAY JOIN Redactions AS redaction
WHERE RedactionCount > 0
COMMENT 'Every secret that was redacted: where it stood, why, and what it can be recognised by.';

-- The health pulse again, as 0006 has it, and yellow where a gateway redacts nothing.
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
        arrayMax(beat -> toFloat64OrZero(extract(beat, 'rejected_last_hour=(\\d+)')), beats) AS rejected,
        arrayExists(beat -> extract(beat, 'redaction_rules=(\\d+)') = '0', beats) AS unredacted
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
        beat_age > 120 OR oldest_seconds > 30 OR lag_ms > 5000 OR rejected > 0 OR unredacted] AS is_yellow,
    [tick_age, sync_age, toInt64(users), verification_age, toInt64(warnings), beat_age] AS value,
    ['', concat(toString(ok), ' ok, ', toString(failed), ' failed'), '', '', if(diagnosed = '', 'not run', ''),
        concat('lag ', toString(lag_ms), ' ms, oldest waits ', toString(oldest_seconds), ' s, ', toString(rejected), ' rejected', if(unredacted, ', redaction off', ''))] AS detail,
    [
        'Seconds since the last scheduler tick: yellow over 30 min or when there was none in 30 days, red over 2 h.',
        'Seconds since a sync was ok, and syncs in 24 h without skipped ones: yellow when there was none or one failed, red when less than 95 % were ok.',
        'People with an audit event since midnight UTC; the scheduler, agents and the system do not count. Never red.',
        'Seconds since the verification processor ran: yellow over 1 h.',
        'Warnings of the last diagnose run in 24 h: yellow when there is one, green when diagnose was not run.',
        'Seconds since the last heartbeat of an ingest gateway: red over 2 min, or when a record waits for over 5 min; yellow when a record waits for over 30 s, takes over 5 s to become queryable or was rejected in the last hour, where redaction is off, or without a gateway.'
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
