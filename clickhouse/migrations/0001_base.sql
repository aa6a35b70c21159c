-- The database and the record of what was applied to it.
-- Cost on a filled database: none, both exist by then.
CREATE DATABASE IF NOT EXISTS agnes;

-- cluster: everywhere
CREATE TABLE IF NOT EXISTS agnes.schema_migrations
(
    version String COMMENT 'Number of the migration file, e.g. 0001.',
    name String COMMENT 'Name of the migration file without its number.',
    checksum String COMMENT 'sha256 of the file as applied, hex; a file with another text is refused.',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was applied.'
)
ENGINE = MergeTree
ORDER BY version
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Migrations applied to this database, one row a file.';
