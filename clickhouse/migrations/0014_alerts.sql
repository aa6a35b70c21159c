-- Alerts of the built-in evaluator, and what mutes them. Each change is a new row; the row with the highest rank or version
-- is the thing as it is now. States are written by the process that runs the processors, silences by "agnes alerts".
-- Cost on a filled database: none, the tables are new and small, and the views hold no rows.

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.alert_states
(
    fingerprint String COMMENT 'One alert: hash of its rule and its labels.',
    rank UInt128 COMMENT 'The highest holds: lease, then order of writing.',
    rule LowCardinality(String) COMMENT 'Uid of the rule.',
    labels Map(LowCardinality(String), String) COMMENT 'What tells it from others of the rule: tenant, table, agent, …',
    tenant LowCardinality(String) COMMENT 'Tenant it is about; empty = the whole installation.',
    title String COMMENT 'Title of the rule.',
    severity LowCardinality(String) COMMENT 'critical or warning.',
    summary String COMMENT 'What is wrong, in one sentence, with the value of then.',
    first_step String COMMENT 'What to do first.',
    runbook LowCardinality(String) COMMENT 'docs/runbooks/<runbook>.md',
    state LowCardinality(String) COMMENT 'pending: the condition holds, not yet for long enough; firing; resolved: it fired and is over; ok: it was pending and never fired.',
    value Nullable(Float64) COMMENT 'Value at the last change; NULL = the query had no row where one must come.',
    active_since DateTime64(3, 'UTC') COMMENT 'Since when the condition holds or held.',
    fired_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it fired; NULL = it did not.',
    well_since Nullable(DateTime64(3, 'UTC')) COMMENT 'Since when the condition no longer holds while it still fires, against flapping.',
    resolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was over.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When this row was written.'
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY fingerprint
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Alerts of the built-in evaluator, one row a change. Read the view current_alerts.';

CREATE OR REPLACE VIEW agnes.current_alerts
(
    fingerprint String COMMENT 'One alert: hash of its rule and its labels.',
    rule LowCardinality(String) COMMENT 'Uid of the rule.',
    labels Map(LowCardinality(String), String) COMMENT 'What tells it from others of the rule.',
    tenant LowCardinality(String) COMMENT 'Tenant it is about; empty = the whole installation.',
    title String COMMENT 'Title of the rule.',
    severity LowCardinality(String) COMMENT 'critical or warning.',
    summary String COMMENT 'What is wrong, in one sentence, with the value of then.',
    first_step String COMMENT 'What to do first.',
    runbook LowCardinality(String) COMMENT 'docs/runbooks/<runbook>.md',
    state LowCardinality(String) COMMENT 'pending, firing or resolved.',
    value Nullable(Float64) COMMENT 'Value at the last change; NULL = the query had no row where one must come.',
    active_since DateTime64(3, 'UTC') COMMENT 'Since when the condition holds or held.',
    fired_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it fired; NULL = it did not.',
    well_since Nullable(DateTime64(3, 'UTC')) COMMENT 'Since when the condition no longer holds while it still fires.',
    resolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was over.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it changed last.'
)
AS SELECT
    fingerprint, rule, labels, tenant, title, severity, summary, first_step, runbook, state, value, active_since, fired_at,
    well_since, resolved_at, changed_at
FROM agnes.alert_states FINAL
WHERE state != 'ok'
COMMENT 'Alerts of the built-in evaluator as they are now: those that are pending or firing, and what is over.';

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.alert_silences
(
    id String COMMENT 'One silence.',
    version UInt64 COMMENT 'Grows with each change.',
    rule LowCardinality(String) COMMENT 'Uid of the rule it mutes.',
    labels Map(LowCardinality(String), String) COMMENT 'Only alerts with these labels; empty = all of the rule.',
    starts_at DateTime64(3, 'UTC') COMMENT 'From then on.',
    ends_at DateTime64(3, 'UTC') COMMENT 'Until then.',
    created_by String COMMENT 'Who made it.',
    comment String COMMENT 'Why.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When this row was written.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What mutes alerts, one row a change. Read the view current_alert_silences.';

CREATE OR REPLACE VIEW agnes.current_alert_silences
(
    id String COMMENT 'One silence.',
    version UInt64 COMMENT 'Grows with each change.',
    rule LowCardinality(String) COMMENT 'Uid of the rule it mutes.',
    labels Map(LowCardinality(String), String) COMMENT 'Only alerts with these labels; empty = all of the rule.',
    starts_at DateTime64(3, 'UTC') COMMENT 'From then on.',
    ends_at DateTime64(3, 'UTC') COMMENT 'Until then.',
    created_by String COMMENT 'Who made it.',
    comment String COMMENT 'Why.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it changed last.'
)
AS SELECT id, version, rule, labels, starts_at, ends_at, created_by, comment, changed_at
FROM agnes.alert_silences FINAL
COMMENT 'What mutes alerts as it is now, one row a silence; one whose end has passed mutes nothing.';
