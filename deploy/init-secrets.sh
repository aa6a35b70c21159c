#!/bin/sh
# Makes the secrets of compose.yaml, once: files in ./secrets, readable by the containers' users only.
# Run it as root in this directory: sudo ./init-secrets.sh
set -eu
cd "$(dirname "$0")"
umask 077

if [ -e secrets ]; then
  echo "secrets/ is there already; nothing was changed. To begin anew: move it away" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "run this as root: the files get the users the containers run as" >&2
  exit 1
fi

agnes=10001 clickhouse=101 grafana=472
secret() { openssl rand -hex 32; }
sha256() { printf %s "$1" | openssl dgst -sha256 -r | cut -d' ' -f1; }
# keep <name> <user> <text>
keep() {
  printf '%s\n' "$3" > "secrets/$1"
  chown "$2" "secrets/$1"
  chmod 0400 "secrets/$1"
}

mkdir secrets
admin=$(secret) owner=$(secret) gateway=$(secret) processors=$(secret) inbox=$(secret) reader=$(secret) internal=$(secret)

# ClickHouse: its administrator by hash, the others' hashes for users.sql.
keep clickhouse_admin.xml $clickhouse "<clickhouse><users><default remove=\"remove\"/><agnes_admin><password_sha256_hex>$(sha256 "$admin")</password_sha256_hex><access_management>1</access_management><networks><ip>::/0</ip></networks></agnes_admin></users></clickhouse>"
keep clickhouse_admin_password $clickhouse "$admin"
keep clickhouse_hashes $clickhouse "owner=$(sha256 "$owner")
gateway=$(sha256 "$gateway")
processors=$(sha256 "$processors")
inbox=$(sha256 "$inbox")
grafana=$(sha256 "$reader")"

# Ours: one URL a service, each with a user of its own.
url() { echo "http://$1:$2@clickhouse:8123/agnes"; }
keep clickhouse_url_owner $agnes "$(url agnes_owner "$owner")"
keep clickhouse_url_gateway $agnes "$(url agnes_gateway "$gateway")"
keep clickhouse_url_processors $agnes "$(url agnes_processors "$processors")"
keep clickhouse_url_inbox $agnes "$(url agnes_inbox "$inbox")"
# What inbox and processors say to the gateway. Keys for your senders: "agnes keys create".
keep agnes_keys $agnes "internal:ingest+read:$internal"
keep agnes_gateway_key $agnes "$internal"

# What redacted values are marked with: the same in gateway and inbox.
openssl rand -out secrets/redaction_key 32
chown $agnes secrets/redaction_key
chmod 0400 secrets/redaction_key

keep grafana_admin_password $grafana "$(openssl rand -base64 24)"
keep grafana_clickhouse_password $grafana "$reader"

# Backups of ClickHouse and of the spool.
install -d -m 0750 -o $clickhouse -g $clickhouse backups backups/clickhouse
install -d -m 0700 -o $agnes -g $agnes backups/agnes
echo "secrets/ and backups/ are there. Grafana's password of admin: secrets/grafana_admin_password"
