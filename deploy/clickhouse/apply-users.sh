#!/bin/sh
# Runs users.sql on the server of compose.yaml, at every start: it may run again. Passwords stay out of arguments.
set -eu
. /run/secrets/clickhouse_hashes
CLICKHOUSE_PASSWORD=$(cat /run/secrets/clickhouse_admin_password)
export CLICKHOUSE_PASSWORD CLICKHOUSE_USER=agnes_admin
exec clickhouse-client --host clickhouse --multiquery \
  --param_owner="$owner" --param_gateway="$gateway" --param_processors="$processors" \
  --param_inbox="$inbox" --param_grafana="$grafana" < /users.sql
