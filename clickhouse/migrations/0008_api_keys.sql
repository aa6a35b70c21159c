-- API keys. Each change of a key is a new row; the row with the highest version is the key as it is now.
-- Cost on a filled database: none, the table is new and small, and the view holds no rows.

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.api_keys
(
    id String COMMENT 'Public part of the key: agn_<id>_<secret>.',
    version UInt64 COMMENT 'Grows with each change. A revocation has the highest number there is: no change that runs at the same time undoes it.',
    tenant LowCardinality(String) COMMENT 'Tenant of everything that is sent with the key.',
    project LowCardinality(String) COMMENT 'Project it belongs to; empty when there is none.',
    scopes Array(LowCardinality(String)) COMMENT 'What it allows: ingest, runs, feedback, sessions, read; admin stands for all.',
    note String COMMENT 'What it is for.',
    secret_hash String COMMENT 'SHA-256 of the secret, hex. The secret itself is stored nowhere.',
    secret_end String COMMENT 'Last four characters of the secret, to tell keys apart by.',
    former_secrets Array(Tuple(hash String, valid_until DateTime64(3, 'UTC'))) COMMENT 'Secrets that a rotation replaced, and until when they are still valid.',
    records_per_second UInt64 COMMENT 'Records it may send a second; 0 = no limit of its own.',
    bytes_per_second UInt64 COMMENT 'Decoded bytes it may send a second; 0 = no limit of its own.',
    created_at DateTime64(3, 'UTC') COMMENT 'When it was created.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When this row was written.',
    expires_at Nullable(DateTime64(3, 'UTC')) COMMENT 'From then on it is refused; NULL = never.',
    revoked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was revoked, for good; NULL = it was not.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'API keys, one row a change.';

CREATE OR REPLACE VIEW agnes.current_api_keys
(
    id String COMMENT 'Public part of the key: agn_<id>_<secret>.',
    version UInt64 COMMENT 'Grows with each change.',
    tenant LowCardinality(String) COMMENT 'Tenant of everything that is sent with the key.',
    project LowCardinality(String) COMMENT 'Project it belongs to; empty when there is none.',
    scopes Array(LowCardinality(String)) COMMENT 'What it allows; admin stands for all.',
    note String COMMENT 'What it is for.',
    secret_hash String COMMENT 'SHA-256 of the secret, hex.',
    secret_end String COMMENT 'Last four characters of the secret.',
    former_secrets Array(Tuple(hash String, valid_until DateTime64(3, 'UTC'))) COMMENT 'Secrets that a rotation replaced, and until when they are still valid.',
    records_per_second UInt64 COMMENT 'Records it may send a second; 0 = no limit of its own.',
    bytes_per_second UInt64 COMMENT 'Decoded bytes it may send a second; 0 = no limit of its own.',
    created_at DateTime64(3, 'UTC') COMMENT 'When it was created.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed last.',
    expires_at Nullable(DateTime64(3, 'UTC')) COMMENT 'From then on it is refused; NULL = never.',
    revoked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was revoked; NULL = it was not.'
)
AS SELECT
    id, version, tenant, project, scopes, note, secret_hash, secret_end, former_secrets, records_per_second,
    bytes_per_second, created_at, changed_at, expires_at, revoked_at
FROM agnes.api_keys FINAL
COMMENT 'API keys as they are now, one row a key.';
