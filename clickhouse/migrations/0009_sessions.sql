-- Transcripts of sessions as they were uploaded, secrets taken out.
--
-- A line is told by what the file holds up to it (`hash`), and names the line before it (`parent`). So two uploads that
-- differ can't overwrite each other, whoever stores them at the same time, and one that is sent again stores nothing new.
-- Files that begin alike share their first lines. `session_files` has a row for each content a file was seen with.
--
-- All lines of a session lie in the partition of the day it was first seen: reading one session opens the parts of one
-- day, and old sessions are removed by dropping a day.
-- Cost on a filled database: none, the tables are new, and the view holds no rows.

-- cluster: sharded by cityHash64(tenant, user_name, session_file)
CREATE TABLE IF NOT EXISTS agnes.session_lines
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the file was uploaded with.',
    user_name LowCardinality(String) COMMENT 'Whose session it is, as the upload or the directory says.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    line_no UInt32 COMMENT 'Place of the line in the file, from 1.',
    hash FixedString(16) COMMENT 'Of this and all lines before it as they were sent, keyed: equal hash, equal content up to here.',
    parent FixedString(16) COMMENT 'The hash of the line before; zeros for the first one.',
    line String COMMENT 'The line without its line break, secrets taken out.' CODEC(ZSTD(3)),
    redactions Array(String) COMMENT 'What was redacted: place, rule and HMAC.' CODEC(ZSTD(1)),
    redaction_rules LowCardinality(String) COMMENT 'Hash of the rules that held, hex; off when redaction was.',
    first_received_at DateTime64(3, 'UTC') COMMENT 'When the session was first seen, the same for all its lines; partitions go by it.' CODEC(Delta(8), LZ4),
    received_at DateTime64(3, 'UTC') COMMENT 'When this line came in.' CODEC(Delta(8), LZ4)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(first_received_at)
ORDER BY (tenant, user_name, session_file, line_no, hash)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1,
    -- A line has two kilobytes: a session should not cost the ten megabytes that stand between two marks by default.
    index_granularity_bytes = 2097152
COMMENT 'Lines of uploaded transcripts. A line may stand here twice until parts are merged; the versions of a file share the lines they have in common.';

-- cluster: sharded by cityHash64(tenant, user_name, session_file)
CREATE TABLE IF NOT EXISTS agnes.session_files
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the file was uploaded with.',
    user_name LowCardinality(String) COMMENT 'Whose session it is, as the upload or the directory says.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'main for the content that came first and all it grew into; content that differs is a version of its own, named after the first line that differs.',
    lines UInt32 COMMENT 'How many lines this version has.',
    bytes UInt64 COMMENT 'Its size as it was sent, with a line break after each line.',
    file_hash String COMMENT 'Keyed hash of all its lines, hex: equal hash, equal content.',
    parent_lines UInt32 COMMENT 'How many lines it shares with the version it branched off; 0 when it shares none.',
    parent_hash String COMMENT 'Hash of these shared lines, hex; empty when there are none.',
    first_received_at DateTime64(3, 'UTC') COMMENT 'When the session was first seen.',
    received_at DateTime64(3, 'UTC') COMMENT 'When it grew last.',
    redactions UInt32 COMMENT 'Places redacted in all its lines.',
    source LowCardinality(String) COMMENT 'Where it grew from last: upload or directory.'
)
-- A version only grows: the row with most lines is how it is now, whatever the order in which rows come in.
ENGINE = ReplacingMergeTree(lines)
ORDER BY (tenant, user_name, session_file, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Uploaded transcripts, one row a growth of a version; current_session_files has one row a version.';

CREATE OR REPLACE VIEW agnes.current_session_files
(
    tenant LowCardinality(String) COMMENT 'Tenant of the key the file was uploaded with.',
    user_name LowCardinality(String) COMMENT 'Whose session it is.',
    session_file String COMMENT 'Name of the file without .jsonl.',
    version String COMMENT 'main, or the name of a content that differs from it.',
    lines UInt32 COMMENT 'How many lines this version has.',
    bytes UInt64 COMMENT 'Its size as it was sent, with a line break after each line.',
    file_hash String COMMENT 'Keyed hash of all its lines, hex: equal hash, equal content.',
    parent_lines UInt32 COMMENT 'How many lines it shares with the version it branched off.',
    parent_hash String COMMENT 'Hash of these shared lines, hex.',
    first_received_at DateTime64(3, 'UTC') COMMENT 'When the session was first seen.',
    received_at DateTime64(3, 'UTC') COMMENT 'When it grew last.',
    redactions UInt32 COMMENT 'Places redacted in all its lines.',
    source LowCardinality(String) COMMENT 'Where it grew from last: upload or directory.'
)
AS SELECT
    tenant, user_name, session_file, version, lines, bytes, file_hash, parent_lines, parent_hash, first_received_at,
    received_at, redactions, source
FROM agnes.session_files FINAL
-- Two uploads at the same instant that both go on from here: each became a version of its own, and holds all of this one.
WHERE (tenant, user_name, session_file, lines, file_hash) NOT IN (
    SELECT tenant, user_name, session_file, parent_lines, parent_hash FROM agnes.session_files WHERE parent_lines > 0
)
COMMENT 'Uploaded transcripts, one row a version.';
