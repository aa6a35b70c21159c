-- The three tables of the application this product observes, as views: audit_log, sync_history, session_processor_runs.
-- Cost on a filled database: none, views hold no rows. Each fixes the event's name and only renames and derives.

CREATE OR REPLACE VIEW agnes.audit_log
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    timestamp DateTime64(9) COMMENT 'When it happened.',
    user_id LowCardinality(String) COMMENT 'Who did it; empty for the system.',
    action LowCardinality(String) COMMENT 'What was done, e.g. sync.trigger.',
    resource String COMMENT 'What it was done to, e.g. table:<id>.',
    params String COMMENT 'Parameters, JSON text; empty when there are none.',
    result Nullable(String) COMMENT 'As the application wrote it; NULL when it wrote none.',
    result_class LowCardinality(String) COMMENT 'success, error, denied, none or other.',
    duration_ms Nullable(UInt64) COMMENT 'How long it took; NULL when nobody measured it.',
    params_before String COMMENT 'What a change replaced, JSON text; empty when there is nothing.',
    client_ip LowCardinality(String) COMMENT 'Where the request came from.',
    client_kind LowCardinality(String) COMMENT 'cli, scheduler, web, agent, external, system or other; derived where the event does not say.',
    correlation_id String COMMENT 'Ties the events of one request together.',
    session_id String COMMENT 'Session of an analyst or agent.',
    received_at DateTime64(9) COMMENT 'When the gateway took it in.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    Timestamp AS timestamp,
    UserId AS user_id,
    Action AS action,
    Resource AS resource,
    Params AS params,
    nullIf(toString(Result), '') AS result,
    ResultClass AS result_class,
    DurationMs AS duration_ms,
    ParamsBefore AS params_before,
    ClientAddress AS client_ip,
    ClientKind AS client_kind,
    CorrelationId AS correlation_id,
    SessionId AS session_id,
    ReceivedAt AS received_at
FROM agnes.otel_logs
WHERE EventName = 'agnes.audit'
COMMENT 'Who did what: events agnes.audit.';

CREATE OR REPLACE VIEW agnes.sync_history
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    table_id String COMMENT 'Table that was synchronised.',
    synced_at DateTime64(9) COMMENT 'When it ended.',
    rows Nullable(Int64) COMMENT 'Rows it brought; NULL when the event does not say.',
    duration_ms Nullable(UInt64) COMMENT 'How long it took; NULL when nobody measured it.',
    status LowCardinality(String) COMMENT 'ok, error, skipped, … as written.',
    outcome LowCardinality(String) COMMENT 'ok, skipped or failed; anything that is not ok, success or skipped failed.',
    error String COMMENT 'What went wrong; empty when nothing did.',
    correlation_id String COMMENT 'Ties the events of one request together.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    Resource AS table_id,
    Timestamp AS synced_at,
    toInt64OrNull(LogAttributes['agnes.sync.rows']) AS rows,
    DurationMs AS duration_ms,
    Result AS status,
    multiIf(Result IN ('ok', 'success'), 'ok', Result = 'skipped', 'skipped', 'failed') AS outcome,
    Message AS error,
    CorrelationId AS correlation_id
FROM agnes.otel_logs
WHERE EventName = 'agnes.sync'
COMMENT 'Synchronisations of tables: events agnes.sync.';

CREATE OR REPLACE VIEW agnes.session_processor_runs
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    processor_name String COMMENT 'Processor, e.g. usage or verification.',
    session_file String COMMENT 'File it read; uploads and sessions are joined by file.',
    username LowCardinality(String) COMMENT 'Whose session it was.',
    processed_at DateTime64(9) COMMENT 'When it ended.',
    items_extracted Nullable(Int64) COMMENT 'Items it found; NULL when the event does not say.',
    file_hash String COMMENT 'Hash of the file as read.',
    result LowCardinality(String) COMMENT 'Result as written; empty when there is none.',
    duration_ms Nullable(UInt64) COMMENT 'How long it took; NULL when nobody measured it.',
    error String COMMENT 'What went wrong; empty when nothing did.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    LogAttributes['agnes.processor.name'] AS processor_name,
    Resource AS session_file,
    UserId AS username,
    Timestamp AS processed_at,
    toInt64OrNull(LogAttributes['agnes.processor.items']) AS items_extracted,
    LogAttributes['agnes.processor.file_hash'] AS file_hash,
    Result AS result,
    DurationMs AS duration_ms,
    Message AS error
FROM agnes.otel_logs
WHERE EventName = 'agnes.session_processor'
COMMENT 'Runs of session processors over one file each: events agnes.session_processor.';
