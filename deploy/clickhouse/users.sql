-- Roles, limits and users of a ClickHouse server that Agnes keeps its events in. Safe to run again; it then also takes on
-- new passwords. Run it as a user with ACCESS MANAGEMENT, with the SHA-256 of each password (openssl dgst -sha256):
--   clickhouse-client --param_owner=… --param_gateway=… --param_processors=… --param_inbox=… --param_grafana=… \
--     --multiquery < users.sql
-- On a cluster add ON CLUSTER to each statement. Tenants that read for themselves: "agnes tenants sql <tenant>
-- --full-access agnes_owner --full-access agnes_gateway --full-access agnes_processors --full-access agnes_inbox
-- --full-access agnes_grafana"; its row policies hide every row from users that are not named.
CREATE DATABASE IF NOT EXISTS agnes;

-- What may happen at once and for how long. Our services set what their correctness rests on with each query.
CREATE SETTINGS PROFILE OR REPLACE agnes_service SETTINGS max_memory_usage = 8000000000, max_execution_time = 600;
-- Grafana's plugin sends max_execution_time with every query: a plain readonly = 1 would refuse all of them.
CREATE SETTINGS PROFILE OR REPLACE agnes_readonly SETTINGS
    readonly = 1,
    max_execution_time = 60 MIN 1 MAX 300 CHANGEABLE_IN_READONLY,
    session_timezone = 'UTC' CHANGEABLE_IN_READONLY,
    max_memory_usage = 4000000000,
    max_result_rows = 1000000,
    max_threads = 4,
    result_overflow_mode = 'throw';

CREATE ROLE IF NOT EXISTS agnes_owner_role SETTINGS PROFILE 'agnes_service';
CREATE ROLE IF NOT EXISTS agnes_gateway_role SETTINGS PROFILE 'agnes_service';
CREATE ROLE IF NOT EXISTS agnes_processors_role SETTINGS PROFILE 'agnes_service';
CREATE ROLE IF NOT EXISTS agnes_inbox_role SETTINGS PROFILE 'agnes_service';
CREATE ROLE IF NOT EXISTS agnes_grafana_role SETTINGS PROFILE 'agnes_readonly';
CREATE ROLE IF NOT EXISTS agnes_collector_role SETTINGS PROFILE 'agnes_service';

-- The owner changes the schema, backs up and restores: "agnes migrate", "agnes backup", "agnes restore". No service runs as it.
GRANT ALL ON agnes.* TO agnes_owner_role;
GRANT CREATE DATABASE, DROP DATABASE ON *.* TO agnes_owner_role;
GRANT SELECT ON system.backups TO agnes_owner_role;
GRANT READ, WRITE ON * TO agnes_owner_role;

GRANT SELECT, INSERT ON agnes.* TO agnes_gateway_role;
-- Retention and erasure take rows and partitions away.
GRANT SELECT, INSERT, ALTER DELETE, ALTER UPDATE, OPTIMIZE ON agnes.* TO agnes_processors_role;
GRANT SELECT, INSERT ON agnes.* TO agnes_inbox_role;
GRANT SELECT ON agnes.* TO agnes_grafana_role;
REVOKE SELECT ON agnes.api_keys FROM agnes_grafana_role;
-- For collectors that write past the gateway: into the events, and nothing else.
GRANT INSERT, SELECT(Timestamp) ON agnes.otel_logs TO agnes_collector_role;

-- Disk and size panels.
GRANT SELECT ON system.parts TO agnes_grafana_role, agnes_processors_role, agnes_inbox_role;
GRANT SELECT ON system.disks TO agnes_grafana_role, agnes_processors_role, agnes_inbox_role;

CREATE QUOTA OR REPLACE agnes_grafana_quota KEYED BY user_name
    FOR INTERVAL 1 minute MAX queries = 3000, execution_time = 600
    TO agnes_grafana_role;

CREATE USER OR REPLACE agnes_owner IDENTIFIED WITH sha256_hash BY {owner:String} DEFAULT ROLE agnes_owner_role;
CREATE USER OR REPLACE agnes_gateway IDENTIFIED WITH sha256_hash BY {gateway:String} DEFAULT ROLE agnes_gateway_role;
CREATE USER OR REPLACE agnes_processors IDENTIFIED WITH sha256_hash BY {processors:String} DEFAULT ROLE agnes_processors_role;
CREATE USER OR REPLACE agnes_inbox IDENTIFIED WITH sha256_hash BY {inbox:String} DEFAULT ROLE agnes_inbox_role;
CREATE USER OR REPLACE agnes_grafana IDENTIFIED WITH sha256_hash BY {grafana:String} DEFAULT ROLE agnes_grafana_role;
