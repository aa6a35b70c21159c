-- What calls of language models read, wrote and cost, as columns of their own. Dashboards sum them over weeks; reading the
-- attributes of every row for that takes ten times as long. The rules are those the view llm_generations had.
-- Cost on a filled database: none at once. Rows of before compute them from their attributes whenever they are read, until
-- a merge rewrites their part. An insert searches attributes only of rows that are such calls: a function with a lambda
-- does not run for the others.

ALTER TABLE agnes.otel_logs ADD COLUMN IF NOT EXISTS LlmModel LowCardinality(String) DEFAULT if(EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request'), arrayFirst((v, k) -> k = if(EventName = 'agnes.llm.generation', 'gen_ai.request.model', 'model'), mapValues(LogAttributes), mapKeys(LogAttributes)), '') COMMENT 'Model that a call of a language model asked for; empty for other events, as the figures below are 0.' CODEC(LZ4);

ALTER TABLE agnes.otel_logs ADD COLUMN IF NOT EXISTS LlmInputTokens UInt64 DEFAULT if(EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request'), toUInt64OrZero(arrayFirst((v, k) -> k = if(EventName = 'agnes.llm.generation', 'gen_ai.usage.input_tokens', 'input_tokens'), mapValues(LogAttributes), mapKeys(LogAttributes))), 0) COMMENT 'Tokens it read, without those from the cache where the sender counts them apart.' CODEC(LZ4);

ALTER TABLE agnes.otel_logs ADD COLUMN IF NOT EXISTS LlmOutputTokens UInt64 DEFAULT if(EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request'), toUInt64OrZero(arrayFirst((v, k) -> k = if(EventName = 'agnes.llm.generation', 'gen_ai.usage.output_tokens', 'output_tokens'), mapValues(LogAttributes), mapKeys(LogAttributes))), 0) COMMENT 'Tokens it wrote.' CODEC(LZ4);

ALTER TABLE agnes.otel_logs ADD COLUMN IF NOT EXISTS LlmCacheReadTokens UInt64 DEFAULT if(EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request'), toUInt64OrZero(arrayFirst((v, k) -> k = if(EventName = 'agnes.llm.generation', 'gen_ai.usage.cache_read.input_tokens', 'cache_read_tokens'), mapValues(LogAttributes), mapKeys(LogAttributes))), 0) COMMENT 'Tokens it read from the prompt cache.' CODEC(LZ4);

ALTER TABLE agnes.otel_logs ADD COLUMN IF NOT EXISTS LlmCacheWriteTokens UInt64 DEFAULT if(EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request'), toUInt64OrZero(arrayFirst((v, k) -> k = if(EventName = 'agnes.llm.generation', 'gen_ai.usage.cache_write.input_tokens', 'cache_creation_tokens'), mapValues(LogAttributes), mapKeys(LogAttributes))), 0) COMMENT 'Tokens it wrote to the prompt cache.' CODEC(LZ4);

ALTER TABLE agnes.otel_logs ADD COLUMN IF NOT EXISTS LlmCostUsdMicros Nullable(UInt64) DEFAULT if(EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request'), multiIf(
        arrayFirst((v, k) -> k = 'agnes.cost_usd_micros', mapValues(LogAttributes), mapKeys(LogAttributes)) != '', toUInt64OrNull(arrayFirst((v, k) -> k = 'agnes.cost_usd_micros', mapValues(LogAttributes), mapKeys(LogAttributes))),
        arrayFirst((v, k) -> k = 'cost_usd_micros', mapValues(LogAttributes), mapKeys(LogAttributes)) != '', toUInt64OrNull(arrayFirst((v, k) -> k = 'cost_usd_micros', mapValues(LogAttributes), mapKeys(LogAttributes))),
        accurateCastOrNull(round(toFloat64OrNull(arrayFirst((v, k) -> k = 'cost_usd', mapValues(LogAttributes), mapKeys(LogAttributes))) * 1000000), 'UInt64')), NULL) COMMENT 'What it cost, in millionths of a US dollar; NULL when the sender does not say.' CODEC(LZ4);

-- The view again, as 0005 has it, on these columns.
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
    model LowCardinality(String) COMMENT 'Model asked for.',
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
    LlmModel AS model,
    LlmInputTokens AS input_tokens,
    LlmOutputTokens AS output_tokens,
    LlmCacheReadTokens AS cache_read_tokens,
    LlmCacheWriteTokens AS cache_write_tokens,
    LlmCostUsdMicros AS cost_usd_micros,
    DurationMs AS duration_ms,
    Result AS result,
    LogAttributes['request_id'] AS request_id
FROM agnes.otel_logs
WHERE EventName IN ('agnes.llm.generation', 'api_request', 'claude_code.api_request')
COMMENT 'Calls of language models: events agnes.llm.generation and Claude Code''s api_request.';
