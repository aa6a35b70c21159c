-- Every event: one OpenTelemetry log record a row. Columns down to LogAttributes have the names and types of the
-- OpenTelemetry Collector's ClickHouse exporter, so its queries and the exporter itself work; the others are ours and
-- all have a DEFAULT, so that rows of other writers get them too.
-- Texts are compressed by ZSTD; numbers and dictionary codes by LZ4, which costs less at every insert and merge and makes
-- them hardly larger.
-- Cost on a filled database: none, the table exists by then.

-- cluster: sharded by cityHash64(BatchId)
CREATE TABLE IF NOT EXISTS agnes.otel_logs
(
    Timestamp DateTime64(9) COMMENT 'When the event happened, as the sender says; the observed or receive time where it says nothing.' CODEC(Delta(8), ZSTD(1)),
    ObservedTimestamp DateTime64(9) DEFAULT Timestamp COMMENT 'When the sender''s SDK or collector saw the event.' CODEC(Delta(8), ZSTD(1)),
    TraceId String COMMENT 'Lower-case hex, empty when there is none.' CODEC(ZSTD(1)),
    SpanId String COMMENT 'Lower-case hex, empty when there is none.' CODEC(ZSTD(1)),
    TraceFlags UInt8 COMMENT 'W3C trace flags.' CODEC(LZ4),
    SeverityText LowCardinality(String) COMMENT 'INFO, ERROR, … as sent.' CODEC(LZ4),
    SeverityNumber UInt8 COMMENT 'OpenTelemetry severity, 1 to 24; 0 when not given.' CODEC(LZ4),
    ServiceName LowCardinality(String) COMMENT 'Resource attribute service.name.' CODEC(LZ4),
    Body String COMMENT 'Body of the record; JSON when it is structured.' CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) COMMENT 'Schema URL of the resource.' CODEC(LZ4),
    ResourceAttributes Map(LowCardinality(String), String) COMMENT 'Attributes of the sending service; arrays and objects as JSON.' CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) COMMENT 'Schema URL of the instrumentation scope.' CODEC(LZ4),
    ScopeName LowCardinality(String) COMMENT 'Instrumentation scope.' CODEC(LZ4),
    ScopeVersion LowCardinality(String) COMMENT 'Version of the instrumentation scope.' CODEC(LZ4),
    ScopeAttributes Map(LowCardinality(String), String) COMMENT 'Attributes of the instrumentation scope.' CODEC(ZSTD(1)),
    LogAttributes Map(LowCardinality(String), String) COMMENT 'Attributes of the event; arrays and objects as JSON.' CODEC(ZSTD(1)),
    EventName LowCardinality(String) DEFAULT multiIf(
        LogAttributes['event.name'] != '', LogAttributes['event.name'],
        length(Body) <= 128 AND match(Body, '^[A-Za-z][\\w:-]*(\\.[\\w:-]+)+$'), replaceRegexpOne(Body, '^claude_code\\.', ''),
        ''
    ) COMMENT 'Name of the event: the OTLP field, else the attribute event.name, else the body where it is a dotted identifier.' CODEC(LZ4),

    TenantId LowCardinality(String) DEFAULT 'default' COMMENT 'Tenant of the key the event was sent with, never of the payload.' CODEC(LZ4),
    Seq UInt64 DEFAULT generateSnowflakeID() COMMENT 'Order of receipt within one gateway; unique together with BatchId.' CODEC(Delta(8), LZ4),
    EventId String DEFAULT if(LogAttributes['log.record.uid'] != '', LogAttributes['log.record.uid'], toString(Seq)) COMMENT 'Unique id of the event (log.record.uid).' CODEC(ZSTD(1)),
    ReceivedAt DateTime64(9) DEFAULT now64(9) COMMENT 'When the gateway took the event in; retention and partitions go by it.' CODEC(Delta(8), LZ4),
    StoredAt DateTime64(3) DEFAULT now64(3) COMMENT 'When the event was inserted; StoredAt - ReceivedAt is the lag of the pipeline.' CODEC(Delta(8), LZ4),
    BatchId UUID DEFAULT reinterpretAsUUID(MD5(toString(now64(9)))) COMMENT 'One INSERT; the writer asks for it after an uncertain outcome.' CODEC(LZ4),
    RedactionCount UInt16 COMMENT 'Places redacted before the event was written to disk.' CODEC(LZ4),
    Redactions Array(String) COMMENT 'What was redacted: path and rule.' CODEC(LZ4),

    UserId LowCardinality(String) DEFAULT LogAttributes['user.id'] COMMENT 'Attribute user.id: who did it; empty for the system.' CODEC(LZ4),
    SessionId String DEFAULT LogAttributes['session.id'] COMMENT 'Attribute session.id.' CODEC(ZSTD(1)),
    ClientAddress LowCardinality(String) DEFAULT LogAttributes['client.address'] COMMENT 'Attribute client.address: where the request came from.' CODEC(LZ4),
    CorrelationId String DEFAULT LogAttributes['agnes.correlation_id'] COMMENT 'Ties the events of one request together.' CODEC(ZSTD(1)),
    RunId String DEFAULT LogAttributes['agnes.run.id'] COMMENT 'Agent run the event belongs to.' CODEC(ZSTD(1)),
    Action LowCardinality(String) DEFAULT multiIf(
        EventName = 'agnes.audit', LogAttributes['agnes.action'],
        EventName = 'agnes.sync', 'sync.run',
        EventName = 'agnes.session_processor', concat('session_processor.', LogAttributes['agnes.processor.name']),
        EventName = 'agnes.system', concat('system.', LogAttributes['agnes.system.event']),
        startsWith(EventName, 'agnes.'), substring(EventName, 7),
        startsWith(ScopeName, 'com.anthropic.claude_code') AND NOT startsWith(EventName, 'claude_code.'), concat('claude_code.', EventName),
        EventName
    ) COMMENT 'What was done: agnes.action of audit events; others are named after the event: sync.run, session_processor.usage, system.start, llm.generation, claude_code.tool_result.' CODEC(LZ4),
    -- Plain look-ups run for every row; a function with a lambda only for the rows that get to its branch. So what every
    -- audit event needs is looked up plainly, and what only rare events have is searched with a lambda.
    Resource String DEFAULT multiIf(
        EventName = 'agnes.audit', LogAttributes['agnes.resource'],
        arrayFirst((v, k) -> v != '' AND (k IN ('agnes.resource', 'agnes.sync.table_id', 'agnes.session.file', 'agnes.system.component', 'agnes.feedback.id', 'agnes.device.id', 'exception.type', 'gen_ai.request.model', 'gen_ai.tool.name', 'tool_name', 'model')
            OR (k = 'gen_ai.agent.name' AND startsWith(EventName, 'agnes.agent_run.'))), mapValues(LogAttributes), mapKeys(LogAttributes))
    ) COMMENT 'What it was done to: agnes.resource, or the table, session file, component, exception type, model or tool of the event.' CODEC(ZSTD(1)),
    Result LowCardinality(String) DEFAULT multiIf(
        LogAttributes['agnes.result'] != '' OR EventName = 'agnes.audit', LogAttributes['agnes.result'],
        EventName = 'agnes.exception', 'error',
        startsWith(ScopeName, 'com.anthropic.claude_code'), arrayFirst(r -> r != '', arrayMap((k, v) -> multiIf(
            k = 'success', if(v = 'true', 'success', 'error'),
            k = 'decision', if(v = 'accept', 'success', 'denied'),
            k IN ('error', 'error_type', 'status_code'), 'error',
            ''), mapKeys(LogAttributes), mapValues(LogAttributes))),
        arrayFirst((v, k) -> k IN ('agnes.sync.status', 'agnes.run.status'), mapValues(LogAttributes), mapKeys(LogAttributes))
    ) COMMENT 'Result as the application wrote it, the status of a sync or run, or the same words for Claude Code; empty when there is none. Classes: result_class in the views.' CODEC(LZ4),
    DurationMs Nullable(UInt64) DEFAULT accurateCastOrNull(round(toFloat64OrNull(if(startsWith(ScopeName, 'com.anthropic.claude_code'), LogAttributes['duration_ms'], LogAttributes['agnes.duration_ms']))), 'UInt64') COMMENT 'How long it took; NULL when nobody measured it.' CODEC(LZ4),
    ClientKind LowCardinality(String) DEFAULT multiIf(
        LogAttributes['agnes.client_kind'] != '', LogAttributes['agnes.client_kind'],
        startsWith(Action, 'run_') OR Action = 'marketplace.sync_all', 'scheduler',
        UserId = '', 'system',
        'other'
    ) COMMENT 'cli, scheduler, web, agent, external or system; where the event does not say (agnes.client_kind), derived by the one rule for it.' CODEC(LZ4),
    Params String DEFAULT LogAttributes['agnes.params'] COMMENT 'Parameters of the action, JSON text.' CODEC(ZSTD(1)),
    ParamsBefore String DEFAULT LogAttributes['agnes.params_before'] COMMENT 'What a change replaced, JSON text; empty when there is nothing.' CODEC(ZSTD(1)),
    Message String DEFAULT multiIf(
        EventName = 'agnes.audit', '',
        EventName = 'agnes.system', trim(concat(LogAttributes['agnes.system.message'], ' ', arrayStringConcat(arrayFilter(pair -> pair != '', arrayMap(
            (k, v) -> if(startsWith(k, 'agnes.pipeline.') OR k = 'agnes.system.warnings', concat(splitByChar('.', k)[-1], '=', v), ''),
            mapKeys(LogAttributes), mapValues(LogAttributes))), ' '))),
        arrayFirst((v, k) -> k IN ('agnes.sync.error', 'exception.message', 'agnes.processor.error', 'agnes.feedback.message', 'agnes.finding.type', 'error') AND v != '', mapValues(LogAttributes), mapKeys(LogAttributes))
    ) COMMENT 'What went wrong or was said: error of a sync or processor, message of an exception or report, message and figures (name=value) of a system event.' CODEC(ZSTD(1)),

    -- Read-side rules. They are not stored, so a better rule applies to old rows too.
    ResultClass LowCardinality(String) ALIAS multiIf(
        Result IN ('success', 'succeeded', 'ok'), 'success',
        startsWith(Result, 'error') OR Result = 'failed', 'error',
        Result IN ('denied', 'blocked', 'invalid_password', 'deactivated'), 'denied',
        Result = '', 'none',
        'other'
    ) COMMENT 'success, error, denied, none or other.',
    Summary String ALIAS concat(
        if(Action = '', EventName, Action),
        if(Resource = '', '', concat(' ', Resource)),
        if(Result = '', '', concat(' → ', Result)),
        if(DurationMs IS NULL, '', concat(' in ', toString(DurationMs), ' ms')),
        if(Message = '', '', concat(': ', replaceRegexpAll(substringUTF8(Message, 1, 200), '\\s+', ' ')))
    ) COMMENT 'One line for people.',

    INDEX by_stored_at StoredAt TYPE minmax,
    INDEX by_correlation CorrelationId TYPE bloom_filter(0.01)
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ReceivedAt)
ORDER BY (TenantId, Timestamp, Seq)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
    -- An insert is one file then, not ninety: a tenth less work, and one fsync.
    min_bytes_for_wide_part = 134217728
COMMENT 'Every event, one OpenTelemetry log record a row.';
