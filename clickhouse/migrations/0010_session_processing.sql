-- What processors make of transcripts: turns, sessions, findings, usage; and how far each of them has come.
--
-- Whatever a reader sees hangs on one row a session file (or a user's day), so it is all old or all new, also when a
-- process is killed between two inserts. Which row holds is decided by `rank`, which is made of what the result was
-- computed from: more lines of the session before fewer, then a newer processor, then more telemetry, then the younger
-- lease. So a process that was paused for an hour and then writes what it knew does not undo what came after it.
-- Cost on a filled database: none, the tables are new and the views hold no rows.

-- Rows of a session file are written once and never change: turn 17 is the same in every longer prefix. A crash may leave
-- rows that no summary counts yet, or write some twice with the same content; the view `session_turns` shows neither.
-- One partition has whole sessions: retention drops days.
-- cluster: sharded by cityHash64(tenant, user_name, session_file)
CREATE TABLE IF NOT EXISTS agnes.session_turn_rows
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.' CODEC(LZ4),
    user_name LowCardinality(String) COMMENT 'Whose session: directory or part of the URL it was sent to.' CODEC(LZ4),
    session_file String COMMENT 'Name of the file without .jsonl.' CODEC(ZSTD(1)),
    version String COMMENT 'Which content, where several came under one name.' CODEC(ZSTD(1)),
    parser_version UInt16 COMMENT 'Version of the processor that read the lines.' CODEC(LZ4),
    turn_index UInt32 COMMENT 'Counts the turns of the file from 0.' CODEC(Delta(4), LZ4),
    line UInt32 COMMENT 'Line of the file, from 1.' CODEC(Delta(4), LZ4),
    block UInt16 COMMENT 'Content block within the line, from 0.' CODEC(LZ4),
    record_type LowCardinality(String) COMMENT 'Type of the record, with its subtype.' CODEC(LZ4),
    uuid String COMMENT 'uuid of the record; empty when it has none.' CODEC(ZSTD(1)),
    parent_uuid String COMMENT 'uuid of the record it follows.' CODEC(ZSTD(1)),
    session_id LowCardinality(String) COMMENT 'sessionId as the line says; can differ from the name of the file.' CODEC(LZ4),
    occurred_at Nullable(DateTime64(3, 'UTC')) COMMENT 'timestamp of the record; NULL when it has none.' CODEC(Delta(8), LZ4),
    role LowCardinality(String) COMMENT 'user, assistant, system or other (bookkeeping of the client).' CODEC(LZ4),
    kind LowCardinality(String) COMMENT 'prompt, text, thinking, tool_use, tool_result, interrupt, api_error, …' CODEC(LZ4),
    tool_name LowCardinality(String) COMMENT 'Tool of a call or its result.' CODEC(LZ4),
    tool_use_id String COMMENT 'Joins call, result and telemetry.' CODEC(ZSTD(1)),
    is_error Bool COMMENT 'The result is marked as an error, or the API failed.' CODEC(LZ4),
    error_class LowCardinality(String) COMMENT 'Why it failed; empty when it did not.' CODEC(LZ4),
    model LowCardinality(String) COMMENT 'Model that answered.' CODEC(LZ4),
    message_id String COMMENT 'Id of the API message; several lines may share one.' CODEC(ZSTD(1)),
    request_id String COMMENT 'Id of the API request; joins telemetry.' CODEC(ZSTD(1)),
    stop_reason LowCardinality(String) COMMENT 'Why the model stopped.' CODEC(LZ4),
    input_tokens UInt64 COMMENT 'As the line says: of the message so far, not of the line. Sum the last line of a message_id only.' CODEC(LZ4),
    output_tokens UInt64 COMMENT 'Likewise.' CODEC(LZ4),
    cache_read_tokens UInt64 COMMENT 'Likewise.' CODEC(LZ4),
    cache_creation_tokens UInt64 COMMENT 'Likewise.' CODEC(LZ4),
    cost_usd_micros Nullable(UInt64) COMMENT 'Cost in millionths of a US dollar, where the line gives one.' CODEC(LZ4),
    text String COMMENT 'What was said, cut to a preview.' CODEC(ZSTD(1)),
    text_bytes UInt64 COMMENT 'Bytes of the whole text.' CODEC(LZ4),
    target String COMMENT 'What a tool call is about: file, command, URL, pattern.' CODEC(ZSTD(1)),
    is_sidechain Bool COMMENT 'Said by or to a sub-agent.' CODEC(LZ4),
    is_meta Bool COMMENT 'Put in by the client, not by a person.' CODEC(LZ4),
    agent_id LowCardinality(String) COMMENT 'Sub-agent; empty for the main one.' CODEC(LZ4),
    skill LowCardinality(String) COMMENT 'Skill that was used.' CODEC(LZ4),
    mcp_server LowCardinality(String) COMMENT 'MCP server of the tool.' CODEC(LZ4),
    cwd_hash LowCardinality(String) COMMENT 'Tells working directories of a tenant apart without naming them.' CODEC(LZ4),
    git_branch LowCardinality(String) COMMENT 'Branch at the time.' CODEC(LZ4),
    client_version LowCardinality(String) COMMENT 'Version of Claude Code.' CODEC(LZ4),
    permission_mode LowCardinality(String) COMMENT 'default, acceptEdits, plan, bypassPermissions, …' CODEC(LZ4),
    compaction_trigger LowCardinality(String) COMMENT 'auto, manual or micro, where the context was compacted.' CODEC(LZ4),
    compaction_pre_tokens Nullable(UInt64) COMMENT 'Tokens of the context before it was compacted.' CODEC(LZ4),
    first_received_at DateTime64(3, 'UTC') COMMENT 'When the first lines of the file came; partitions go by it.' CODEC(LZ4),

    INDEX by_time occurred_at TYPE minmax
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(first_received_at)
ORDER BY (tenant, user_name, session_file, version, parser_version, turn_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728
COMMENT 'Turns as they were written. Read the view session_turns, which shows each once and no unfinished ones.';

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.session_summaries
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.',
    user_name LowCardinality(String) COMMENT 'Whose session.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'Which content, where several came under one name.',
    rank UInt128 COMMENT 'The highest holds: lines, then version of the processor, then lease.',
    parser_version UInt16 COMMENT 'Version of the processor that read the lines.',
    file_hash String COMMENT 'Hash of the lines that were read.',
    lines UInt32 COMMENT 'Lines that were read.',
    turn_rows UInt32 COMMENT 'Turns of the file; rows of session_turn_rows beyond it do not count yet.',
    bad_lines UInt32 COMMENT 'Lines that are no JSON object.',
    unknown_records UInt32 COMMENT 'Records and blocks of a type the processor does not know.',
    session_id String COMMENT 'sessionId of the last line that has one.',
    session_ids Array(String) COMMENT 'Every sessionId in the file, in order.',
    started_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Earliest time in the file; NULL when there is none.',
    ended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Latest time in the file.',
    turns UInt32 COMMENT 'Turns of user and assistant.',
    prompts UInt32 COMMENT 'What a person typed.',
    messages UInt32 COMMENT 'API messages, by message_id.',
    tool_calls UInt32 COMMENT 'Calls of tools.',
    errors UInt32 COMMENT 'Tool results that are marked as errors, and API errors.',
    compactions UInt32 COMMENT 'How often the context was compacted.',
    input_tokens UInt64 COMMENT 'Of the last line of each message_id.',
    output_tokens UInt64 COMMENT 'Of the last line of each message_id.',
    cache_read_tokens UInt64 COMMENT 'Of the last line of each message_id.',
    cache_creation_tokens UInt64 COMMENT 'Of the last line of each message_id.',
    cost_usd_micros Nullable(UInt64) COMMENT 'Sum of the costs the lines give, in millionths of a US dollar; NULL when none gives any.',
    active_minutes UInt32 COMMENT 'Minutes of the clock (UTC) with at least one turn of user or assistant.',
    models Array(String) COMMENT 'Models that answered.',
    tools Array(String) COMMENT 'Tools that were called.',
    skills Array(String) COMMENT 'Skills that were used.',
    mcp_servers Array(String) COMMENT 'MCP servers that were called.',
    git_branch String COMMENT 'Last branch.',
    cwd_hash String COMMENT 'Last working directory, told apart from others of the tenant without naming it.',
    client_version String COMMENT 'Last version of Claude Code.',
    title String COMMENT 'Beginning of the first prompt.',
    first_received_at DateTime64(3, 'UTC') COMMENT 'When the first lines of the file came.',
    processed_at DateTime64(3, 'UTC') COMMENT 'When this was computed.'
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY (tenant, user_name, session_file, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What the processor transcripts made of each session file. Read the view sessions.';

-- The findings of a session file are one row: a rescan replaces all of them at once.
-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.session_scans
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.',
    user_name LowCardinality(String) COMMENT 'Whose session.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'Which content, where several came under one name.',
    rank UInt128 COMMENT 'The highest holds: lines, then version of the processor, then telemetry, then lease.',
    processor_version UInt16 COMMENT 'Version of the rules.',
    file_hash String COMMENT 'Hash of the lines that were scanned.',
    lines UInt32 COMMENT 'Lines that were scanned.',
    decisions UInt32 COMMENT 'Telemetry events about decisions on tools that were known.',
    session_ids Array(String) COMMENT 'Every sessionId in the file.',
    scan_id UUID COMMENT 'This scan.',
    scanned_at DateTime64(3, 'UTC') COMMENT 'When it was scanned.',
    findings Nested
    (
        finding_id String,
        type LowCardinality(String),
        class LowCardinality(String),
        severity LowCardinality(String),
        session_id String,
        turn_index UInt32,
        line UInt32,
        uuid String,
        tool_use_id String,
        tool_name LowCardinality(String),
        occurred_at Nullable(DateTime64(3, 'UTC')),
        excerpt String,
        rule LowCardinality(String),
        rule_version UInt16,
        advice LowCardinality(String)
    ) COMMENT 'One element a finding; the view session_findings has what they mean.'
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY (tenant, user_name, session_file, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What the processor failure_scan found in each session file. Read the view session_findings.';

-- A day of a user is one row, computed anew from all of the user's sessions whenever one of them changes.
-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.session_usage
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the sessions were sent with.',
    user_name LowCardinality(String) COMMENT 'Whose sessions.',
    day Date COMMENT 'UTC.',
    rank UInt128 COMMENT 'The highest holds: lines of the sessions it was computed from, then versions of processors, then lease.',
    processor_version UInt16 COMMENT 'Version of the processor.',
    computed_at DateTime64(3, 'UTC') COMMENT 'When it was computed.',
    slices Nested
    (
        dimension LowCardinality(String),
        name LowCardinality(String),
        sessions UInt32,
        turns UInt32,
        prompts UInt32,
        messages UInt32,
        tool_calls UInt32,
        input_tokens UInt64,
        output_tokens UInt64,
        cache_read_tokens UInt64,
        cache_creation_tokens UInt64,
        errors UInt32,
        active_minutes UInt16
    ) COMMENT 'One element a slice; the view usage_daily has what they mean.'
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY (tenant, day, user_name)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What the processor usage counted. Read the view usage_daily.';

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.session_processor_state
(
    processor LowCardinality(String) COMMENT 'Name of the processor.',
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.',
    user_name LowCardinality(String) COMMENT 'Whose session.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'Which content, where several came under one name.',
    rank UInt128 COMMENT 'The highest holds: lines, then version of the processor, then telemetry, then lease.',
    file_hash String COMMENT 'Hash of the lines it processed.',
    lines UInt32 COMMENT 'Lines it processed.',
    processor_version UInt16 COMMENT 'Version of the processor.',
    items UInt64 COMMENT 'What it extracted: turns, findings, days.',
    duration_ms UInt64 COMMENT 'How long it took.',
    fence UInt64 COMMENT 'Number of the lease it was done under; 0 by hand.',
    processed_at DateTime64(3, 'UTC') COMMENT 'When it was done.'
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY (processor, tenant, user_name, session_file, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'How far each processor has come with each session file.';

-- An attempt is written down before it begins, so one that takes the process with it counts as well.
-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.session_processor_failures
(
    processor LowCardinality(String) COMMENT 'Name of the processor.',
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.',
    user_name LowCardinality(String) COMMENT 'Whose session.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'Which content, where several came under one name.',
    rank UInt128 COMMENT 'The highest holds: lines, then version of the processor, then attempts.',
    file_hash String COMMENT 'Hash of the lines it was tried with; with others it begins anew.',
    processor_version UInt16 COMMENT 'Version of the processor; with another one it begins anew.',
    attempts UInt16 COMMENT 'How often it was tried.',
    error String COMMENT 'Why the last attempt failed; empty while it is under way, or when the process ended with it.',
    attempted_at DateTime64(3, 'UTC') COMMENT 'When the last attempt began or failed.',
    next_attempt_at DateTime64(3, 'UTC') COMMENT 'Not before then.',
    parked Bool COMMENT 'Not tried again until the session grows, the processor changes or somebody asks for it.'
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY (processor, tenant, user_name, session_file, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Attempts that have not succeeded.';

-- A lease is taken by inserting the next number, with the number as deduplication token: of two who try, one row stays.
-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.processor_leases
(
    name LowCardinality(String) COMMENT 'What is leased.',
    fence UInt64 COMMENT 'Grows by one with each new holder; the highest holds.',
    beat UInt64 COMMENT 'Grows with each renewal. A lease whose beat stands still has ended.',
    holder String COMMENT 'Process that holds it.',
    released Bool COMMENT 'Its holder gave it back.',
    renewed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'For people; nothing is decided by it.'
)
ENGINE = ReplacingMergeTree(beat)
ORDER BY (name, fence)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Which process runs the processors.';

CREATE OR REPLACE VIEW agnes.session_turns
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.',
    user_name LowCardinality(String) COMMENT 'Whose session: directory or part of the URL it was sent to.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'Which content, where several came under one name.',
    turn_index UInt32 COMMENT 'Counts the turns of the file from 0.',
    line UInt32 COMMENT 'Line of the file, from 1.',
    block UInt16 COMMENT 'Content block within the line, from 0.',
    record_type LowCardinality(String) COMMENT 'Type of the record, with its subtype.',
    uuid String COMMENT 'uuid of the record; empty when it has none.',
    parent_uuid String COMMENT 'uuid of the record it follows.',
    session_id LowCardinality(String) COMMENT 'sessionId as the line says; can differ from the name of the file.',
    occurred_at Nullable(DateTime64(3, 'UTC')) COMMENT 'timestamp of the record; NULL when it has none.',
    role LowCardinality(String) COMMENT 'user, assistant, system or other (bookkeeping of the client).',
    kind LowCardinality(String) COMMENT 'prompt, text, thinking, tool_use, tool_result, interrupt, api_error, …',
    tool_name LowCardinality(String) COMMENT 'Tool of a call or its result.',
    tool_use_id String COMMENT 'Joins call, result and telemetry.',
    is_error Bool COMMENT 'The result is marked as an error, or the API failed.',
    error_class LowCardinality(String) COMMENT 'Why it failed; empty when it did not.',
    model LowCardinality(String) COMMENT 'Model that answered.',
    message_id String COMMENT 'Id of the API message; several lines may share one.',
    request_id String COMMENT 'Id of the API request; joins telemetry.',
    stop_reason LowCardinality(String) COMMENT 'Why the model stopped.',
    input_tokens UInt64 COMMENT 'As the line says: of the message so far, not of the line. Sum the last line of a message_id only.',
    output_tokens UInt64 COMMENT 'Likewise.',
    cache_read_tokens UInt64 COMMENT 'Likewise.',
    cache_creation_tokens UInt64 COMMENT 'Likewise.',
    cost_usd_micros Nullable(UInt64) COMMENT 'Cost in millionths of a US dollar, where the line gives one.',
    text String COMMENT 'What was said, cut to a preview.',
    text_bytes UInt64 COMMENT 'Bytes of the whole text.',
    target String COMMENT 'What a tool call is about: file, command, URL, pattern.',
    is_sidechain Bool COMMENT 'Said by or to a sub-agent.',
    is_meta Bool COMMENT 'Put in by the client, not by a person.',
    agent_id LowCardinality(String) COMMENT 'Sub-agent; empty for the main one.',
    skill LowCardinality(String) COMMENT 'Skill that was used.',
    mcp_server LowCardinality(String) COMMENT 'MCP server of the tool.',
    cwd_hash LowCardinality(String) COMMENT 'Tells working directories of a tenant apart without naming them.',
    git_branch LowCardinality(String) COMMENT 'Branch at the time.',
    client_version LowCardinality(String) COMMENT 'Version of Claude Code.',
    permission_mode LowCardinality(String) COMMENT 'default, acceptEdits, plan, bypassPermissions, …',
    compaction_trigger LowCardinality(String) COMMENT 'auto, manual or micro, where the context was compacted.',
    compaction_pre_tokens Nullable(UInt64) COMMENT 'Tokens of the context before it was compacted.'
)
AS SELECT
    t.tenant AS tenant, t.user_name AS user_name, t.session_file AS session_file, t.version AS version, t.turn_index AS turn_index,
    t.line AS line, t.block AS block, t.record_type AS record_type, t.uuid AS uuid, t.parent_uuid AS parent_uuid,
    t.session_id AS session_id, t.occurred_at AS occurred_at, t.role AS role, t.kind AS kind, t.tool_name AS tool_name,
    t.tool_use_id AS tool_use_id, t.is_error AS is_error, t.error_class AS error_class, t.model AS model,
    t.message_id AS message_id, t.request_id AS request_id, t.stop_reason AS stop_reason, t.input_tokens AS input_tokens,
    t.output_tokens AS output_tokens, t.cache_read_tokens AS cache_read_tokens,
    t.cache_creation_tokens AS cache_creation_tokens, t.cost_usd_micros AS cost_usd_micros, t.text AS text,
    t.text_bytes AS text_bytes, t.target AS target, t.is_sidechain AS is_sidechain, t.is_meta AS is_meta,
    t.agent_id AS agent_id, t.skill AS skill, t.mcp_server AS mcp_server, t.cwd_hash AS cwd_hash, t.git_branch AS git_branch,
    t.client_version AS client_version, t.permission_mode AS permission_mode, t.compaction_trigger AS compaction_trigger,
    t.compaction_pre_tokens AS compaction_pre_tokens
FROM agnes.session_turn_rows AS t FINAL
INNER JOIN
(
    SELECT tenant, user_name, session_file, version, parser_version, turn_rows FROM agnes.session_summaries FINAL
) AS s USING (tenant, user_name, session_file, version, parser_version)
WHERE t.turn_index < s.turn_rows
COMMENT 'Transcripts: one content block of one record a row.';

CREATE OR REPLACE VIEW agnes.session_findings
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.',
    user_name LowCardinality(String) COMMENT 'Whose session.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'Which content, where several came under one name.',
    session_id String COMMENT 'sessionId at that turn.',
    finding_id String COMMENT 'The same however often the session is sent.',
    type LowCardinality(String) COMMENT 'tool_error, permission_denied, user_rejection, loop, abrupt_end, api_error, context_pressure or repeated_correction.',
    class LowCardinality(String) COMMENT 'A finer word within the type.',
    severity LowCardinality(String) COMMENT 'info, warning or error.',
    turn_index UInt32 COMMENT 'Turn it was found at.',
    line UInt32 COMMENT 'Line of the file, from 1.',
    uuid String COMMENT 'uuid of the record.',
    tool_use_id String COMMENT 'Call it is about; empty when it is about none.',
    tool_name LowCardinality(String) COMMENT 'Tool of that call.',
    occurred_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it happened; NULL when the record has no time.',
    excerpt String COMMENT 'What the turn says, at most 300 characters.',
    rule LowCardinality(String) COMMENT 'Rule that found it.',
    rule_version UInt16 COMMENT 'Its version.',
    advice LowCardinality(String) COMMENT 'What to do about it.',
    file_hash String COMMENT 'Hash of the lines that were scanned.',
    scan_id UUID COMMENT 'Scan it comes from.',
    scanned_at DateTime64(3, 'UTC') COMMENT 'When that was.'
)
AS SELECT
    tenant, user_name, session_file, version, f.session_id AS session_id, f.finding_id AS finding_id, f.type AS type,
    f.class AS class, f.severity AS severity, f.turn_index AS turn_index, f.line AS line, f.uuid AS uuid,
    f.tool_use_id AS tool_use_id, f.tool_name AS tool_name, f.occurred_at AS occurred_at, f.excerpt AS excerpt,
    f.rule AS rule, f.rule_version AS rule_version, f.advice AS advice, file_hash, scan_id, scanned_at
FROM agnes.session_scans FINAL
ARRAY JOIN findings AS f
COMMENT 'Places in sessions where the assistant got stuck, one row a finding, of the latest scan of each file.';

CREATE OR REPLACE VIEW agnes.current_session_findings
(
    tenant LowCardinality(String) COMMENT 'As in session_findings; so are the others.',
    user_name LowCardinality(String) COMMENT '',
    session_file String COMMENT '',
    version String COMMENT '',
    session_id String COMMENT '',
    finding_id String COMMENT '',
    type LowCardinality(String) COMMENT '',
    class LowCardinality(String) COMMENT '',
    severity LowCardinality(String) COMMENT '',
    turn_index UInt32 COMMENT '',
    line UInt32 COMMENT '',
    uuid String COMMENT '',
    tool_use_id String COMMENT '',
    tool_name LowCardinality(String) COMMENT '',
    occurred_at Nullable(DateTime64(3, 'UTC')) COMMENT '',
    excerpt String COMMENT '',
    rule LowCardinality(String) COMMENT '',
    rule_version UInt16 COMMENT '',
    advice LowCardinality(String) COMMENT '',
    file_hash String COMMENT '',
    scan_id UUID COMMENT '',
    scanned_at DateTime64(3, 'UTC') COMMENT ''
)
AS SELECT
    tenant, user_name, session_file, version, session_id, finding_id, type, class, severity, turn_index, line, uuid,
    tool_use_id, tool_name, occurred_at, excerpt, rule, rule_version, advice, file_hash, scan_id, scanned_at
FROM agnes.session_findings
COMMENT 'The same as session_findings, which only shows current ones.';

CREATE OR REPLACE VIEW agnes.usage_daily
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the sessions were sent with.',
    day Date COMMENT 'Day in UTC.',
    user_name LowCardinality(String) COMMENT 'Whose sessions.',
    dimension LowCardinality(String) COMMENT 'total, model, tool, skill or mcp_server. Filter by one: each counts everything again.',
    name LowCardinality(String) COMMENT 'Which model, tool, skill or MCP server; empty for total.',
    sessions UInt32 COMMENT 'Session files with a turn on that day.',
    turns UInt32 COMMENT 'Turns of user and assistant, each once however many files it was copied into.',
    prompts UInt32 COMMENT 'What a person typed (total only).',
    messages UInt32 COMMENT 'API messages, by message_id; of a tool, skill or server: those that call it.',
    tool_calls UInt32 COMMENT 'Calls of tools.',
    input_tokens UInt64 COMMENT 'Tokens read, of those messages. A message that calls two tools counts for both.',
    output_tokens UInt64 COMMENT 'Tokens written.',
    cache_read_tokens UInt64 COMMENT 'Tokens read from the prompt cache.',
    cache_creation_tokens UInt64 COMMENT 'Tokens written to the prompt cache.',
    errors UInt32 COMMENT 'Tool results that are marked as errors, and API errors (total and model).',
    active_minutes UInt16 COMMENT 'Minutes of the clock (UTC) with at least one turn of user or assistant.'
)
AS SELECT
    tenant, day, user_name, s.dimension AS dimension, s.name AS name, s.sessions AS sessions, s.turns AS turns,
    s.prompts AS prompts, s.messages AS messages, s.tool_calls AS tool_calls, s.input_tokens AS input_tokens,
    s.output_tokens AS output_tokens, s.cache_read_tokens AS cache_read_tokens,
    s.cache_creation_tokens AS cache_creation_tokens, s.errors AS errors, s.active_minutes AS active_minutes
FROM agnes.session_usage FINAL
ARRAY JOIN slices AS s
COMMENT 'Claude Code per user and day: in all, and by model, tool, skill and MCP server.';

CREATE OR REPLACE VIEW agnes.active_users
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the sessions were sent with.',
    day Date COMMENT 'Day in UTC. Days without anybody have no row.',
    daily_users UInt64 COMMENT 'Users with a turn on that day.',
    weekly_users UInt64 COMMENT 'Users with a turn on that day or the six before it.'
)
AS SELECT
    tenant,
    day,
    length(today) AS daily_users,
    length(arrayDistinct(arrayFlatten(groupArray(today) OVER (PARTITION BY tenant ORDER BY toInt32(toUInt16(day)) RANGE BETWEEN 6 PRECEDING AND CURRENT ROW)))) AS weekly_users
FROM
(
    SELECT tenant, day, groupUniqArray(toString(user_name)) AS today
    FROM agnes.usage_daily
    WHERE dimension = 'total' AND turns > 0
    GROUP BY tenant, day
)
COMMENT 'How many people used Claude Code: on a day, and in the week that ends with it.';

-- All files that arrived, also those that no processor has seen yet: late uploads must not look lost.
CREATE OR REPLACE VIEW agnes.sessions
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the session was sent with.',
    user_name LowCardinality(String) COMMENT 'Whose session: directory or part of the URL it was sent to.',
    session_file String COMMENT 'Name of the file without .jsonl. Joins go by it.',
    version String COMMENT 'Which content, where several came under one name.',
    session_id String COMMENT 'sessionId of the last line that has one; resumed and forked sessions have another than the file.',
    session_ids Array(String) COMMENT 'Every sessionId in the file, in order.',
    first_received_at DateTime64(3, 'UTC') COMMENT 'When the first lines of the file came.',
    received_at DateTime64(3, 'UTC') COMMENT 'When it grew last.',
    started_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Earliest time in the file; NULL when there is none, or it was not processed yet.',
    ended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Latest time in the file.',
    duration_seconds Nullable(Float64) COMMENT 'From the first to the last turn, seconds.',
    active_minutes UInt32 COMMENT 'Minutes of the clock (UTC) with at least one turn of user or assistant.',
    turns UInt32 COMMENT 'Turns of user and assistant.',
    prompts UInt32 COMMENT 'What a person typed.',
    messages UInt32 COMMENT 'API messages, by message_id.',
    tool_calls UInt32 COMMENT 'Calls of tools.',
    errors UInt32 COMMENT 'Tool results that are marked as errors, and API errors.',
    compactions UInt32 COMMENT 'How often the context was compacted.',
    input_tokens UInt64 COMMENT 'Of the last line of each message_id, so that nothing is counted twice.',
    output_tokens UInt64 COMMENT 'Likewise.',
    cache_read_tokens UInt64 COMMENT 'Likewise.',
    cache_creation_tokens UInt64 COMMENT 'Likewise.',
    cost_usd_micros Nullable(UInt64) COMMENT 'Sum of the costs the lines give, in millionths of a US dollar; NULL when none gives any.',
    models Array(String) COMMENT 'Models that answered.',
    tools Array(String) COMMENT 'Tools that were called.',
    skills Array(String) COMMENT 'Skills that were used.',
    mcp_servers Array(String) COMMENT 'MCP servers that were called.',
    git_branch String COMMENT 'Last branch.',
    cwd_hash String COMMENT 'Last working directory, told apart from others of the tenant without naming it.',
    client_version String COMMENT 'Last version of Claude Code.',
    title String COMMENT 'Beginning of the first prompt.',
    findings UInt32 COMMENT 'Findings of the latest scan.',
    warnings UInt32 COMMENT 'Of them with severity warning or error.',
    finding_types Array(LowCardinality(String)) COMMENT 'Types of the findings, one element a finding.',
    lines UInt32 COMMENT 'Lines that arrived.',
    bytes UInt64 COMMENT 'Bytes that arrived.',
    bad_lines UInt32 COMMENT 'Lines that are no JSON object.',
    unknown_records UInt32 COMMENT 'Records and blocks of a type the processor does not know.',
    file_hash String COMMENT 'Hash of the lines that arrived.',
    is_processed Bool COMMENT 'Turns and findings are those of all lines that arrived.'
)
AS SELECT
    f.tenant AS tenant, f.user_name AS user_name, f.session_file AS session_file, f.version AS version,
    s.session_id AS session_id, s.session_ids AS session_ids, f.first_received_at AS first_received_at,
    f.received_at AS received_at, s.started_at AS started_at, s.ended_at AS ended_at,
    dateDiff('millisecond', s.started_at, s.ended_at) / 1000 AS duration_seconds, s.active_minutes AS active_minutes,
    s.turns AS turns, s.prompts AS prompts, s.messages AS messages, s.tool_calls AS tool_calls, s.errors AS errors,
    s.compactions AS compactions, s.input_tokens AS input_tokens, s.output_tokens AS output_tokens,
    s.cache_read_tokens AS cache_read_tokens, s.cache_creation_tokens AS cache_creation_tokens,
    s.cost_usd_micros AS cost_usd_micros, s.models AS models, s.tools AS tools, s.skills AS skills,
    s.mcp_servers AS mcp_servers, s.git_branch AS git_branch, s.cwd_hash AS cwd_hash, s.client_version AS client_version,
    s.title AS title, toUInt32(length(c.types)) AS findings, toUInt32(countEqual(c.severities, 'warning') + countEqual(c.severities, 'error')) AS warnings,
    c.types AS finding_types, f.lines AS lines, f.bytes AS bytes, s.bad_lines AS bad_lines,
    s.unknown_records AS unknown_records, f.file_hash AS file_hash,
    f.file_hash = s.file_hash AND f.file_hash = c.file_hash AS is_processed
FROM
(
    SELECT tenant, user_name, session_file, version, lines, bytes, file_hash, first_received_at, received_at
    FROM agnes.session_files FINAL
) AS f
LEFT JOIN
(
    SELECT * FROM agnes.session_summaries FINAL
) AS s ON s.tenant = f.tenant AND s.user_name = f.user_name AND s.session_file = f.session_file AND s.version = f.version
LEFT JOIN
(
    SELECT tenant, user_name, session_file, version, file_hash, findings.type AS types, findings.severity AS severities
    FROM agnes.session_scans FINAL
) AS c ON c.tenant = f.tenant AND c.user_name = f.user_name AND c.session_file = f.session_file AND c.version = f.version
COMMENT 'Claude Code sessions, one row a file and version.';

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
                    error_class IN ('user_rejected', 'permission_denied', 'sibling_cancelled') AS rejected
                FROM agnes.session_turns
                ARRAY JOIN [('tool', tool_use_id), ('request', if(kind = 'api_error', '', request_id)), ('message', if(kind IN ('prompt', 'text'), uuid, ''))] AS fact
                WHERE occurred_at IS NOT NULL AND session_id != ''
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
COMMENT 'Events of Claude Code that never arrived, by event.sequence; and where telemetry and transcript disagree.';
