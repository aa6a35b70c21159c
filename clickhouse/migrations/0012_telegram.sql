-- The Telegram bot: which chats belong to which admins, codes to link one, and what was delivered.
-- Each change is a new row; the row with the highest version is the thing as it is now. The inbox is the only writer.
-- Cost on a filled database: none, the tables are new and small, and the views hold no rows.

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.telegram_links
(
    chat_id Int64 COMMENT 'Private chat with the bot.',
    version UInt64 COMMENT 'Grows with each change.',
    tenant LowCardinality(String) COMMENT 'Tenant of the key it was linked with.',
    user_id String COMMENT 'Whom the chat acts as, as it stands in audit events.',
    key_id String COMMENT 'Key it was linked with.',
    key_mark String COMMENT 'Hash of the hash of the secret of then: the link ends when that secret opens nothing any more.',
    name String COMMENT 'Name of the Telegram account.',
    linked_at DateTime64(3, 'UTC') COMMENT 'When it was linked.',
    muted_until Nullable(DateTime64(3, 'UTC')) COMMENT 'No notifications before; NULL = not muted.',
    ended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the link ended; NULL = it is in force.',
    ended_why LowCardinality(String) COMMENT 'unlink, page, key, blocked; empty while it is in force.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When this row was written.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY chat_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Chats of admins with the Telegram bot, one row a change.';

CREATE OR REPLACE VIEW agnes.current_telegram_links
(
    chat_id Int64 COMMENT 'Private chat with the bot.',
    version UInt64 COMMENT 'Grows with each change.',
    tenant LowCardinality(String) COMMENT 'Tenant of the key it was linked with.',
    user_id String COMMENT 'Whom the chat acts as.',
    key_id String COMMENT 'Key it was linked with.',
    key_mark String COMMENT 'Hash of the hash of the secret of then.',
    name String COMMENT 'Name of the Telegram account.',
    linked_at DateTime64(3, 'UTC') COMMENT 'When it was linked.',
    muted_until Nullable(DateTime64(3, 'UTC')) COMMENT 'No notifications before; NULL = not muted.',
    ended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the link ended; NULL = it is in force.',
    ended_why LowCardinality(String) COMMENT 'Why it ended.'
)
AS SELECT chat_id, version, tenant, user_id, key_id, key_mark, name, linked_at, muted_until, ended_at, ended_why
FROM agnes.telegram_links FINAL
COMMENT 'Chats of admins as they are now, one row a chat.';

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.telegram_link_codes
(
    code_hash String COMMENT 'SHA-256 of the code, hex. The code itself is stored nowhere.',
    version UInt64 COMMENT 'Grows with each change.',
    tenant LowCardinality(String) COMMENT 'Tenant of the key it was made with.',
    user_id String COMMENT 'Whom a chat acts as that is linked with it.',
    key_id String COMMENT 'Key it was made with.',
    key_mark String COMMENT 'Hash of the hash of that key\'s secret.',
    created_at DateTime64(3, 'UTC') COMMENT 'When it was made.',
    expires_at DateTime64(3, 'UTC') COMMENT 'From then on it links nothing.',
    used_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it linked a chat; NULL = it did not.',
    used_by Nullable(Int64) COMMENT 'That chat.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY code_hash
TTL toDateTime(expires_at) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Codes that link a chat once, one row a change.';

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.telegram_deliveries
(
    id UUID COMMENT 'One notification to one chat.',
    version UInt64 COMMENT 'Grows with each change.',
    tenant LowCardinality(String) COMMENT 'Tenant it is about.',
    chat_id Int64 COMMENT 'Chat it goes to.',
    user_id String COMMENT 'Admin the chat is linked to.',
    kind LowCardinality(String) COMMENT 'feedback, alert or health.',
    incident String COMMENT 'What it is about: equal for equal causes. While one waits, the next of the same is counted in it.',
    state LowCardinality(String) COMMENT 'waiting: as soon as may be; digest: with the next digest; sending: handed to Telegram, answer unknown; sent; failed: Telegram refuses it for good; dropped: nobody to send it to any more.',
    content String COMMENT 'The notification as JSON, secrets taken out.' CODEC(ZSTD(3)),
    occurrences UInt32 COMMENT 'How many notifications of this incident it stands for.',
    first_at DateTime64(3, 'UTC') COMMENT 'When the first of them happened.',
    last_at DateTime64(3, 'UTC') COMMENT 'When the last of them happened.',
    attempts UInt32 COMMENT 'How often it was handed to Telegram.',
    uncertain_attempts UInt32 COMMENT 'Those of them that got no answer: the message may have arrived each time.',
    error String COMMENT 'Why the last attempt failed; empty when it did not.',
    message Nullable(UUID) COMMENT 'The message it went in: equal for deliveries that went together.',
    telegram_message_id Nullable(Int64) COMMENT 'Telegram\'s number of that message within the chat.',
    cut Bool COMMENT 'Whether the message shows less than there was to say.',
    sent_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When Telegram took it.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When this row was written.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
TTL toDateTime(changed_at) + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What the Telegram bot delivers to admins, one row a change. Read the view current_telegram_deliveries.';

CREATE OR REPLACE VIEW agnes.current_telegram_deliveries
(
    id UUID COMMENT 'One notification to one chat.',
    version UInt64 COMMENT 'Grows with each change.',
    tenant LowCardinality(String) COMMENT 'Tenant it is about.',
    chat_id Int64 COMMENT 'Chat it goes to.',
    user_id String COMMENT 'Admin the chat is linked to.',
    kind LowCardinality(String) COMMENT 'feedback, alert or health.',
    incident String COMMENT 'What it is about.',
    state LowCardinality(String) COMMENT 'waiting, digest, sending, sent, failed or dropped.',
    content String COMMENT 'The notification as JSON.',
    occurrences UInt32 COMMENT 'How many notifications of this incident it stands for.',
    first_at DateTime64(3, 'UTC') COMMENT 'When the first of them happened.',
    last_at DateTime64(3, 'UTC') COMMENT 'When the last of them happened.',
    attempts UInt32 COMMENT 'How often it was handed to Telegram.',
    uncertain_attempts UInt32 COMMENT 'Those of them that got no answer.',
    error String COMMENT 'Why the last attempt failed.',
    message Nullable(UUID) COMMENT 'The message it went in.',
    telegram_message_id Nullable(Int64) COMMENT 'Telegram\'s number of that message within the chat.',
    cut Bool COMMENT 'Whether the message shows less than there was to say.',
    sent_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When Telegram took it.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it changed last.'
)
AS SELECT
    id, version, tenant, chat_id, user_id, kind, incident, state, content, occurrences, first_at, last_at, attempts,
    uncertain_attempts, error, message, telegram_message_id, cut, sent_at, changed_at
FROM agnes.telegram_deliveries FINAL
COMMENT 'What the Telegram bot delivers to admins as it is now, one row a notification and chat.';
