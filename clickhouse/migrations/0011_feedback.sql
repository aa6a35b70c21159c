-- Reports of people who are stuck. Each change of a report is a new row; the row with the highest version is the report as
-- it is now. A version is inserted with itself as deduplication token, so of two who change the same version one row stays.
-- Cost on a filled database: none, the table is new, and the view holds no rows.

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.feedback_reports
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the report was sent with.',
    id String COMMENT 'Made of the tenant, the reporter and the key the report was sent under: sent again it is the same report.',
    version UInt32 COMMENT 'From 1, grows by one with each change.',
    change_id UUID COMMENT 'Tells of two changes of one version which of them was stored.',
    created_at DateTime64(3, 'UTC') COMMENT 'When the report arrived.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When this row was written.',
    written_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was written, as the client says: earlier than created_at when it waited.',
    reporter_user String COMMENT 'Who reports, as the client says.',
    reporter_key String COMMENT 'Id of the key it was sent with.',
    message String COMMENT 'What they wrote, secrets taken out.',
    session_excerpt String COMMENT 'The last turns of the session, one JSON object a line, secrets taken out.' CODEC(ZSTD(3)),
    session_file String COMMENT 'Name of the transcript without .jsonl; empty when none came along.',
    session_id String COMMENT 'sessionId within it.',
    environment Map(LowCardinality(String), String) COMMENT 'Versions of agnes, Claude Code and Node, operating system, shell.',
    fingerprint String COMMENT 'SHA-256 of message and last error, hex: equal for equal words.',
    dup_key String COMMENT 'SHA-256 of reporter and bundle, hex: equal when the same report is sent again.',
    cause_key String COMMENT 'Hash of tool, error class and masked error text: equal for equal causes; empty when there is none.',
    cause_tool LowCardinality(String) COMMENT 'Tool that failed last in the excerpt.',
    cause_class LowCardinality(String) COMMENT 'How it failed: shell_exit, harness_validation, permission_denied, …',
    cause_text String COMMENT 'Text of the error with numbers, paths and ids masked.',
    finding_ids Array(String) COMMENT 'Findings of the session that were known when the report came.',
    preview_sha256 String COMMENT 'SHA-256 of what the reporter was shown and agreed to send, hex.',
    preview_bytes UInt32 COMMENT 'Its size.',
    preview_answer LowCardinality(String) COMMENT 'asked: they said yes; yes: they had said so before (--yes).',
    redactions Array(String) COMMENT 'What was redacted here on top of what the client had: place, rule and HMAC.',
    bundle_version UInt16 COMMENT 'Version of the bundle the client sent.',
    status LowCardinality(String) COMMENT 'open, triaged, resolved, wontfix, or purged: only this tombstone is left.',
    assignee String COMMENT 'Who looks after it; empty when nobody does.',
    tags Array(LowCardinality(String)) COMMENT 'In the order they were given.',
    resolution String COMMENT 'What was done about it, or why nothing is.',
    resolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was resolved, declined or purged.',
    resolved_by String COMMENT 'By whom.',
    history Nested
    (
        version UInt32,
        at DateTime64(3, 'UTC'),
        actor String,
        action LowCardinality(String),
        detail String
    ) COMMENT 'Every change, oldest first.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (tenant, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Feedback reports, one row a change. Read the view current_feedback_reports.';

CREATE OR REPLACE VIEW agnes.current_feedback_reports
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the report was sent with.',
    id String COMMENT 'Id of the report.',
    version UInt32 COMMENT 'Grows by one with each change.',
    change_id UUID COMMENT 'Tells of two changes of one version which of them was stored.',
    created_at DateTime64(3, 'UTC') COMMENT 'When the report arrived.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed last.',
    written_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was written, as the client says.',
    reporter_user String COMMENT 'Who reports, as the client says.',
    reporter_key String COMMENT 'Id of the key it was sent with.',
    message String COMMENT 'What they wrote, secrets taken out.',
    session_excerpt String COMMENT 'The last turns of the session, one JSON object a line, secrets taken out.',
    session_file String COMMENT 'Name of the transcript without .jsonl.',
    session_id String COMMENT 'sessionId within it.',
    environment Map(LowCardinality(String), String) COMMENT 'Versions of agnes, Claude Code and Node, operating system, shell.',
    fingerprint String COMMENT 'SHA-256 of message and last error, hex.',
    dup_key String COMMENT 'SHA-256 of reporter and bundle, hex.',
    cause_key String COMMENT 'Equal for equal causes; empty when there is none.',
    cause_tool LowCardinality(String) COMMENT 'Tool that failed last in the excerpt.',
    cause_class LowCardinality(String) COMMENT 'How it failed.',
    cause_text String COMMENT 'Text of the error with numbers, paths and ids masked.',
    finding_ids Array(String) COMMENT 'Findings of the session that were known when the report came.',
    preview_sha256 String COMMENT 'SHA-256 of what the reporter was shown and agreed to send, hex.',
    preview_bytes UInt32 COMMENT 'Its size.',
    preview_answer LowCardinality(String) COMMENT 'asked, or yes (--yes).',
    redactions Array(String) COMMENT 'What was redacted here on top of what the client had.',
    bundle_version UInt16 COMMENT 'Version of the bundle the client sent.',
    status LowCardinality(String) COMMENT 'open, triaged, resolved, wontfix or purged.',
    assignee String COMMENT 'Who looks after it.',
    tags Array(LowCardinality(String)) COMMENT 'In the order they were given.',
    resolution String COMMENT 'What was done about it, or why nothing is.',
    resolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was resolved, declined or purged.',
    resolved_by String COMMENT 'By whom.',
    `history.version` Array(UInt32) COMMENT 'Version each change made.',
    `history.at` Array(DateTime64(3, 'UTC')) COMMENT 'When.',
    `history.actor` Array(String) COMMENT 'By whom.',
    `history.action` Array(LowCardinality(String)) COMMENT 'report, assign, tag, triage, resolve, wontfix, reopen, purge.',
    `history.detail` Array(String) COMMENT 'What it was changed to.'
)
AS SELECT
    tenant, id, version, change_id, created_at, changed_at, written_at, reporter_user, reporter_key, message,
    session_excerpt, session_file, session_id, environment, fingerprint, dup_key, cause_key, cause_tool, cause_class,
    cause_text, finding_ids, preview_sha256, preview_bytes, preview_answer, redactions, bundle_version, status, assignee,
    tags, resolution, resolved_at, resolved_by, history.version, history.at, history.actor, history.action, history.detail
FROM agnes.feedback_reports FINAL
COMMENT 'Feedback reports as they are now, one row a report.';
