-- The views every surface reads: `events` (all rows, with the read-side rules) and `timeline` (what a person cares about).
-- Cost on a filled database: none, views hold no rows. They only rename and derive, so that filters on tenant, timestamp,
-- action and the other plain columns reach the table's primary key and indexes.

CREATE OR REPLACE VIEW agnes.events
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    timestamp DateTime64(9) COMMENT 'When it happened.',
    seq UInt64 COMMENT 'Order of receipt; unique together with batch_id.',
    batch_id UUID COMMENT 'The INSERT it came with.',
    received_at DateTime64(9) COMMENT 'When the gateway took it in.',
    stored_at DateTime64(3) COMMENT 'When it was inserted.',
    event_name LowCardinality(String) COMMENT 'Name of the event; empty for plain log lines.',
    service_name LowCardinality(String) COMMENT 'Who sent it.',
    user_id LowCardinality(String) COMMENT 'Who did it; empty for the system.',
    action LowCardinality(String) COMMENT 'What was done.',
    resource String COMMENT 'What it was done to.',
    result LowCardinality(String) COMMENT 'Result as written; empty when there is none.',
    result_class LowCardinality(String) COMMENT 'success, error, denied, none or other.',
    duration_ms Nullable(UInt64) COMMENT 'How long it took; NULL when nobody measured it.',
    client_kind LowCardinality(String) COMMENT 'cli, scheduler, web, agent, external, system or other; derived where the event does not say.',
    client_address LowCardinality(String) COMMENT 'Where the request came from.',
    correlation_id String COMMENT 'Ties the events of one request together.',
    session_id String COMMENT 'Session of an analyst or agent.',
    run_id String COMMENT 'Agent run.',
    summary String COMMENT 'One line for people.',
    message String COMMENT 'What went wrong or was said.',
    params String COMMENT 'Parameters, JSON text; empty when there are none.',
    params_before String COMMENT 'What a change replaced, JSON text; empty when there is nothing.',
    body String COMMENT 'Body of the record.',
    severity LowCardinality(String) COMMENT 'INFO, ERROR, … as sent.',
    redaction_count UInt16 COMMENT 'Places redacted before the event was written.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    Timestamp AS timestamp,
    Seq AS seq,
    BatchId AS batch_id,
    ReceivedAt AS received_at,
    StoredAt AS stored_at,
    EventName AS event_name,
    ServiceName AS service_name,
    UserId AS user_id,
    Action AS action,
    Resource AS resource,
    Result AS result,
    ResultClass AS result_class,
    DurationMs AS duration_ms,
    ClientKind AS client_kind,
    ClientAddress AS client_address,
    CorrelationId AS correlation_id,
    SessionId AS session_id,
    RunId AS run_id,
    Summary AS summary,
    Message AS message,
    Params AS params,
    ParamsBefore AS params_before,
    Body AS body,
    SeverityText AS severity,
    RedactionCount AS redaction_count
FROM agnes.otel_logs
COMMENT 'Every event under plain names, with the read-side rules applied.';

CREATE OR REPLACE VIEW agnes.timeline
AS SELECT *
FROM agnes.events
WHERE event_name != '' AND action != 'system.heartbeat'
COMMENT 'One row an event a person cares about: named events without the heartbeats. Columns as in events.';
