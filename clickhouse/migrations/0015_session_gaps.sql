-- What never arrived, computed once instead of whenever somebody looks: comparing 5,000 sessions takes seconds, planning the
-- question alone a third of one. A job of the processors computes the sessions anew that something came in for.
--
-- Cost on a filled database: none at once. The index is made for new parts; in those of before, looking for a session reads
-- two columns until a merge rewrites them. `session_gaps` is empty until the processors have run.

ALTER TABLE agnes.otel_logs ADD INDEX IF NOT EXISTS by_session SessionId TYPE bloom_filter(0.01);

-- All gaps of a session are one row, so that they are replaced at once; a session without any has a row too.
-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.session_gap_rows
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key telemetry and session were sent with; empty in the row that says how far the job has come.',
    session_id String COMMENT 'session.id of telemetry, sessionId of transcripts.',
    rank UInt128 COMMENT 'The highest holds: lease, then round.',
    checked_until DateTime64(3, 'UTC') COMMENT 'What was stored before then has been looked at.',
    gaps Nested
    (
        kind LowCardinality(String),
        first_missing Nullable(UInt64),
        last_missing Nullable(UInt64),
        missing UInt64,
        key String,
        detail String,
        after DateTime64(3, 'UTC'),
        until DateTime64(3, 'UTC')
    ) COMMENT 'One element a gap; the view session_gaps has what they mean.'
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY (tenant, session_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What never arrived of each session. Read the view session_gaps.';

-- The rules, as 0010 had them, for some sessions or, with an empty list, for all:
--   SELECT * FROM agnes.session_gaps_of(sessions = ['0f8d2c1e-5b7a-4c55-9a57-3f1f7b0f1f11']) WHERE tenant = 'default'
CREATE OR REPLACE VIEW agnes.session_gaps_of
AS
WITH telemetry AS
(
    SELECT
        TenantId AS tenant, SessionId AS session_id, toDateTime64(Timestamp, 3, 'UTC') AS at,
        replaceOne(EventName, 'claude_code.', '') AS event,
        toUInt64OrNull(LogAttributes['event.sequence']) AS sequence,
        LogAttributes['tool_use_id'] AS tool_use_id, LogAttributes['tool_name'] AS tool_name,
        LogAttributes['success'] AS success, LogAttributes['decision'] AS decision,
        LogAttributes['request_id'] AS request_id, LogAttributes['message.uuid'] AS message_uuid
    FROM agnes.otel_logs
    WHERE startsWith(ScopeName, 'com.anthropic.claude_code') AND SessionId != ''
        AND (empty({sessions:Array(String)}) OR SessionId IN {sessions:Array(String)})
)
SELECT tenant, session_id, kind, first_missing, last_missing, missing, key, detail, after, until
FROM
(
    -- A count that falls is a session that was resumed and counts anew. One that falls a little within seconds are events
    -- whose clock was set back in between.
    SELECT
        tenant, session_id, if(first_of_count, 'late_start', 'sequence') AS kind,
        toNullable(if(first_of_count, toUInt64(0), previous + 1)) AS first_missing, toNullable(toUInt64(sequence - 1)) AS last_missing,
        toUInt64(assumeNotNull(last_missing - first_missing + 1)) AS missing, '' AS key, '' AS detail,
        if(first_of_count, at, previous_at) AS after, at AS until
    FROM
    (
        SELECT
            tenant, session_id, restarts, sequence, at,
            row_number() OVER counted = 1 AS first_of_count,
            lagInFrame(sequence) OVER counted AS previous,
            lagInFrame(at) OVER counted AS previous_at
        FROM
        (
            SELECT tenant, session_id, restarts, sequence, min(at) AS at
            FROM
            (
                SELECT tenant, session_id, at, sequence, sum(restarted) OVER (PARTITION BY tenant, session_id ORDER BY at, sequence ROWS UNBOUNDED PRECEDING) AS restarts
                FROM
                (
                    SELECT
                        tenant, session_id, at, assumeNotNull(telemetry.sequence) AS sequence,
                        lagInFrame(assumeNotNull(telemetry.sequence), 1, 0) OVER in_time AS before,
                        lagInFrame(at, 1, at) OVER in_time AS before_at,
                        sequence < before AND NOT (before - sequence <= 20 AND at - before_at < 5) AS restarted
                    FROM telemetry
                    WHERE telemetry.sequence IS NOT NULL
                    WINDOW in_time AS (PARTITION BY tenant, session_id ORDER BY at, telemetry.sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
                )
            )
            GROUP BY tenant, session_id, restarts, sequence
        )
        WINDOW counted AS (PARTITION BY tenant, session_id, restarts ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    WHERE if(first_of_count, sequence > 0, sequence > previous + 1)

    UNION ALL

    -- What both should have. A session counts once both have something of it, from the first event of telemetry on and,
    -- for what only telemetry has, up to the end of what has arrived of the transcript.
    SELECT
        tenant, session_id,
        multiIf(
            what = 'tool' AND in_transcript AND in_telemetry, 'outcome',
            what = 'tool' AND in_transcript, 'tool_result',
            what = 'tool', 'tool_use',
            what) AS kind,
        NULL AS first_missing, NULL AS last_missing, toUInt64(1) AS missing, key,
        trim(concat(tool, multiIf(kind = 'outcome', if(failed_in_transcript, ': failed in the transcript, not in telemetry', ': failed in telemetry, not in the transcript'), ''))) AS detail,
        at AS after, at AS until
    FROM
    (
        SELECT
            tenant, session_id, what, key, min(at) AS at, max(tool_name) AS tool,
            countIf(source = 'transcript' AND settled) > 0 AS in_transcript,
            countIf(source = 'transcript') > 0 AS mentioned_in_transcript,
            countIf(source = 'telemetry') > 0 AS in_telemetry,
            countIf(source = 'telemetry' AND settled) > 0 AS settled_in_telemetry,
            max(rejected) AS is_rejected,
            countIf(source = 'transcript' AND settled AND failed) > 0 AS failed_in_transcript,
            countIf(source = 'telemetry' AND settled AND failed) > 0 AS failed_in_telemetry,
            min(first_event) AS first_event, max(transcript_end) AS transcript_end, max(telemetry_whats) AS telemetry_has
        FROM
        (
            SELECT
                *,
                minIf(at, source = 'telemetry') OVER (PARTITION BY tenant, session_id) AS first_event,
                maxIf(at, source = 'transcript') OVER (PARTITION BY tenant, session_id) AS transcript_end,
                countIf(source = 'telemetry' AND key != '') OVER (PARTITION BY tenant, session_id, what) AS telemetry_whats,
                countIf(source = 'telemetry') OVER (PARTITION BY tenant, session_id) AS telemetry_events,
                countIf(source = 'transcript') OVER (PARTITION BY tenant, session_id) AS transcript_turns
            FROM
            (
                SELECT
                    'telemetry' AS source, tenant, session_id, at, fact.1 AS what, fact.2 AS key, tool_name,
                    event = 'tool_result' AS settled, success = 'false' AS failed, decision = 'reject' AS rejected
                FROM telemetry
                ARRAY JOIN [('tool', tool_use_id), ('request', if(event = 'api_request', request_id, '')), ('message', message_uuid)] AS fact
                UNION ALL
                SELECT
                    'transcript' AS source, tenant, session_id, assumeNotNull(occurred_at) AS at, fact.1 AS what, fact.2 AS key, tool_name,
                    kind = 'tool_result' OR fact.1 != 'tool' AS settled, is_error AS failed,
                    error_class IN ('user_rejected', 'plan_rejected', 'interrupted', 'cancelled', 'denied_by_rule', 'denied_by_hook',
                        'denied_by_classifier', 'not_granted') AS rejected
                FROM agnes.session_turns
                ARRAY JOIN [('tool', tool_use_id), ('request', if(kind = 'api_error', '', request_id)), ('message', if(kind IN ('prompt', 'text'), uuid, ''))] AS fact
                WHERE occurred_at IS NOT NULL AND session_id != ''
                    AND (empty({sessions:Array(String)}) OR session_id IN {sessions:Array(String)})
                    -- Turns lie by file: of which ones, the summaries say.
                    AND (empty({sessions:Array(String)}) OR (tenant, user_name, session_file, version) IN (
                        SELECT tenant, user_name, session_file, version FROM agnes.session_summaries WHERE hasAny(session_ids, {sessions:Array(String)})
                    ))
            )
        )
        WHERE telemetry_events > 0 AND transcript_turns > 0 AND key != ''
        GROUP BY tenant, session_id, what, key
    )
    WHERE multiIf(
        what = 'tool', multiIf(
            in_transcript AND settled_in_telemetry, failed_in_transcript != failed_in_telemetry AND NOT is_rejected,
            in_transcript, NOT is_rejected AND at >= first_event AND telemetry_has > 0,
            in_telemetry, NOT mentioned_in_transcript AND at <= transcript_end,
            false),
        what = 'request', in_transcript AND NOT in_telemetry AND at >= first_event AND telemetry_has > 0,
        what = 'message', in_telemetry AND NOT in_transcript AND at <= transcript_end,
        false)
)
COMMENT 'The gaps of some sessions as of now: session_gaps_of(sessions = [...]), of all with an empty list, which takes seconds.';

CREATE OR REPLACE VIEW agnes.session_gaps
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key telemetry and session were sent with.',
    session_id String COMMENT 'session.id of telemetry, sessionId of transcripts.',
    kind LowCardinality(String) COMMENT 'sequence: events of telemetry that never arrived. late_start: telemetry begins in the middle of a count. tool_result, request: in the transcript, not in telemetry. tool_use, message: in telemetry, not in the transcript. outcome: they disagree on whether a call failed.',
    first_missing Nullable(UInt64) COMMENT 'First event.sequence that is missing (sequence and late_start only).',
    last_missing Nullable(UInt64) COMMENT 'Last one.',
    missing UInt64 COMMENT 'How many are missing.',
    key String COMMENT 'tool_use_id, request_id or message.uuid the two disagree on.',
    detail String COMMENT 'Name of the tool, and what each side says.',
    after DateTime64(3, 'UTC') COMMENT 'Time of the last event before the gap, or of what they disagree on.',
    until DateTime64(3, 'UTC') COMMENT 'Time of the first event after the gap, likewise.'
)
AS SELECT
    tenant, session_id, g.kind AS kind, g.first_missing AS first_missing, g.last_missing AS last_missing, g.missing AS missing,
    g.key AS key, g.detail AS detail, g.after AS after, g.until AS until
FROM agnes.session_gap_rows FINAL
ARRAY JOIN gaps AS g
WHERE session_id != ''
COMMENT 'Events of Claude Code that never arrived, by event.sequence; and where telemetry and transcript disagree. Computed by the processors every two minutes.';
