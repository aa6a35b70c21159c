-- Calls of language models, exceptions, and events that miss what the catalogue requires of them.
-- Cost on a filled database: none, views hold no rows. They read the attribute map, so ask them with a time range.

CREATE OR REPLACE VIEW agnes.llm_generations
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    timestamp DateTime64(9) COMMENT 'When the call ended.',
    source LowCardinality(String) COMMENT 'agnes, or claude_code for its api_request events.',
    user_id LowCardinality(String) COMMENT 'Who asked; Claude Code sends a random id of the installation.',
    session_id String COMMENT 'Session of an analyst or agent.',
    run_id String COMMENT 'Agent run.',
    provider String COMMENT 'anthropic, openai, …; empty when not given.',
    model String COMMENT 'Model asked for.',
    input_tokens UInt64 COMMENT 'Tokens read, without those from the cache where the sender counts them apart.',
    output_tokens UInt64 COMMENT 'Tokens written.',
    cache_read_tokens UInt64 COMMENT 'Tokens read from the prompt cache.',
    cache_write_tokens UInt64 COMMENT 'Tokens written to the prompt cache.',
    cost_usd_micros Nullable(UInt64) COMMENT 'Cost in millionths of a US dollar; NULL when not given.',
    duration_ms Nullable(UInt64) COMMENT 'How long it took; NULL when nobody measured it.',
    result LowCardinality(String) COMMENT 'Result as written; empty when there is none.',
    request_id String COMMENT 'Id the provider gave the request; empty when not given.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    Timestamp AS timestamp,
    if(EventName = 'agnes.llm.generation', 'agnes', 'claude_code') AS source,
    UserId AS user_id,
    SessionId AS session_id,
    RunId AS run_id,
    if(source = 'agnes', LogAttributes['gen_ai.provider.name'], 'anthropic') AS provider,
    if(source = 'agnes', LogAttributes['gen_ai.request.model'], LogAttributes['model']) AS model,
    toUInt64OrZero(if(source = 'agnes', LogAttributes['gen_ai.usage.input_tokens'], LogAttributes['input_tokens'])) AS input_tokens,
    toUInt64OrZero(if(source = 'agnes', LogAttributes['gen_ai.usage.output_tokens'], LogAttributes['output_tokens'])) AS output_tokens,
    toUInt64OrZero(if(source = 'agnes', LogAttributes['gen_ai.usage.cache_read.input_tokens'], LogAttributes['cache_read_tokens'])) AS cache_read_tokens,
    toUInt64OrZero(if(source = 'agnes', LogAttributes['gen_ai.usage.cache_write.input_tokens'], LogAttributes['cache_creation_tokens'])) AS cache_write_tokens,
    multiIf(
        LogAttributes['agnes.cost_usd_micros'] != '', toUInt64OrNull(LogAttributes['agnes.cost_usd_micros']),
        LogAttributes['cost_usd_micros'] != '', toUInt64OrNull(LogAttributes['cost_usd_micros']),
        -- Older releases of Claude Code send dollars only.
        accurateCastOrNull(round(toFloat64OrNull(LogAttributes['cost_usd']) * 1000000), 'UInt64')) AS cost_usd_micros,
    DurationMs AS duration_ms,
    Result AS result,
    LogAttributes['request_id'] AS request_id
FROM agnes.otel_logs
WHERE EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request')
COMMENT 'Calls of language models: events agnes.llm.generation and Claude Code''s api_request.';

CREATE OR REPLACE VIEW agnes.exceptions
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    timestamp DateTime64(9) COMMENT 'When it happened.',
    service_name LowCardinality(String) COMMENT 'Who sent it.',
    type String COMMENT 'Class of the error.',
    message String COMMENT 'Its message.',
    stacktrace String COMMENT 'Its stack.',
    doing String COMMENT 'Action that was being done; empty when not given.',
    user_id LowCardinality(String) COMMENT 'For whom; empty for the system.',
    correlation_id String COMMENT 'Ties the events of one request together.',
    session_id String COMMENT 'Session of an analyst or agent.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    Timestamp AS timestamp,
    ServiceName AS service_name,
    Resource AS type,
    Message AS message,
    LogAttributes['exception.stacktrace'] AS stacktrace,
    LogAttributes['agnes.action'] AS doing,
    UserId AS user_id,
    CorrelationId AS correlation_id,
    SessionId AS session_id
FROM agnes.otel_logs
WHERE EventName = 'agnes.exception'
COMMENT 'Errors nobody handled: events agnes.exception.';

CREATE OR REPLACE VIEW agnes.event_violations
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the event was sent with.',
    id String COMMENT 'Unique id of the event.',
    timestamp DateTime64(9) COMMENT 'When it happened.',
    event_name LowCardinality(String) COMMENT 'Name of the event.',
    service_name LowCardinality(String) COMMENT 'Who sent it.',
    missing Array(String) COMMENT 'Required attributes that are missing or empty.'
)
AS SELECT
    TenantId AS tenant,
    EventId AS id,
    Timestamp AS timestamp,
    EventName AS event_name,
    ServiceName AS service_name,
    -- The same list as the catalogue's; a test compares them.
    arrayFilter(name -> LogAttributes[name] = '', map(
        'agnes.audit', ['agnes.action'],
        'agnes.sync', ['agnes.sync.table_id', 'agnes.sync.status'],
        'agnes.session_processor', ['agnes.processor.name'],
        'agnes.session.findings', ['agnes.session.file', 'agnes.finding.type', 'agnes.finding.severity'],
        'agnes.feedback', ['agnes.feedback.id'],
        'agnes.agent_run.start', ['agnes.run.id'],
        'agnes.agent_run.finish', ['agnes.run.id', 'agnes.run.status'],
        'agnes.run.step', ['agnes.run.id', 'agnes.run.step.index', 'agnes.run.step.kind'],
        'agnes.llm.generation', ['gen_ai.request.model'],
        'agnes.exception', ['exception.type'],
        'agnes.device', ['agnes.device.id'],
        'agnes.system', ['agnes.system.component', 'agnes.system.event'])[toString(EventName)]) AS missing
FROM agnes.otel_logs
WHERE startsWith(EventName, 'agnes.') AND notEmpty(missing)
COMMENT 'Events stored although they miss what their catalogue entry requires.';
