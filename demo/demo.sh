#!/usr/bin/env bash
# `make demo`: a day in the life of a small authentik, backed up, changed, backed up again, restored, compared and verified.
#
# It starts a PostgreSQL and a Redis of its own on private sockets, touches no other server, and stops them at the end. The results stay in
# target/demo. It needs the Debian packages postgresql and redis-server, and installs them if they are missing and it has the rights.
set -euo pipefail
cd "$(dirname "$0")/.."

bold='' plain=''; [ ! -t 1 ] || { bold=$'\033[1m' plain=$'\033[0m'; }
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# Commands are shown on the terminal even while the output of the command is captured.
exec 3>&1
run() { printf '  $ %s\n' "${*/#"$esker"/esker}" >&3; "$@"; }
size() { numfmt --to=iec-i --suffix=B "$1"; }
# The number of a field in a line of JSON.
number() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" <<<"$2"; }

say "Building esker (a few minutes the first time)"
# Without link-time optimisation: a demo is built once and needs a third of the time. cargo shows its own progress.
cargo build --profile quick --locked
esker=$PWD/target/quick/esker
.ci/packages postgresql redis-server

# ---------------------------------------------------------------------------------------------- a service to back up

here=$PWD/target/demo
rm -rf "$here"
mkdir -p "$here/service"
# Sockets need short paths, and PostgreSQL does not run as root: its folder belongs to the user it runs as.
servers=$(mktemp -d /tmp/esker-demo.XXXXXX)
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid postgres --regid postgres --init-groups)
    chown postgres "$servers"
fi

pids=()
finish() {
    local status=$?
    # SIGINT stops both at once and cleanly.
    [ ${#pids[@]} -eq 0 ] || kill -INT "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$servers"
    [ "$status" = 0 ] || echo "The demo failed (exit status $status); what it made is in $here" >&2
}
trap finish EXIT
trap 'exit 130' INT TERM

await() { # await COMMAND...: until it succeeds, at most 30 s
    for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    echo "a server did not start: $*" >&2
    cat "$servers"/*.log >&2
    return 1
}

say "Starting a PostgreSQL and a Redis for this demo only"
(cd "$servers" && "${as[@]}" "$bin/initdb" -D pg -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null)
(cd "$servers" && exec "${as[@]}" "$bin/postgres" -D pg -k "$servers" -c listen_addresses= -c fsync=off >"$here/postgres.log" 2>&1) &
pids+=($!)
start_redis() { # start_redis FOLDER: one that loads dump.rdb if there is one
    mkdir -p "$1"
    redis-server --port 0 --unixsocket "$1/redis.sock" --dir "$1" --save "" --appendonly no --enable-debug-command yes \
        --repl-diskless-sync-delay 0 >"$1/redis.log" &
    pids+=($!)
    await redis-cli -s "$1/redis.sock" ping
}
start_redis "$servers/redis"
export PGHOST=$servers PGUSER=postgres
sql() { "$bin/psql" -XAtq -v ON_ERROR_STOP=1 "$@"; }
redis() { redis-cli -s "$servers/redis/redis.sock" "$@" >/dev/null; }
await sql -d postgres -c 'SELECT 1'

say "Making a small authentik: tables, sessions, media, certificates, templates, blueprints"
sql -d postgres -c "CREATE ROLE authentik LOGIN" -c "CREATE DATABASE authentik OWNER authentik"
sql -U authentik -d authentik <<'SQL'
CREATE TABLE authentik_version_history (id serial PRIMARY KEY, timestamp timestamptz, version text, build text);
INSERT INTO authentik_version_history (timestamp, version, build) VALUES (now(), '2024.12.3', '');
CREATE TABLE authentik_core_group (id int PRIMARY KEY, name text UNIQUE, attributes jsonb);
INSERT INTO authentik_core_group SELECT n, 'group-' || n, '{"team": true}' FROM generate_series(1, 40) n;
CREATE TABLE authentik_core_user (id int PRIMARY KEY, uuid uuid, username text UNIQUE, email text, password text, last_login timestamptz, attributes jsonb);
INSERT INTO authentik_core_user SELECT n, md5('u' || n)::uuid, 'user' || n, 'user' || n || '@example.org',
    'pbkdf2_sha256$720000$' || encode(sha256(('pw' || n)::bytea), 'base64'), now() - n * interval '1 minute',
    jsonb_build_object('settings', jsonb_build_object('locale', CASE WHEN n % 3 = 0 THEN 'de' ELSE 'en' END))
    FROM generate_series(1, 5000) n;
CREATE TABLE authentik_core_user_groups (user_id int REFERENCES authentik_core_user, group_id int REFERENCES authentik_core_group, PRIMARY KEY (user_id, group_id));
INSERT INTO authentik_core_user_groups SELECT n, 1 + n % 40 FROM generate_series(1, 5000) n;
CREATE TABLE authentik_events_event (event_uuid uuid PRIMARY KEY, created timestamptz, action text, client_ip inet, "user" jsonb, context jsonb);
INSERT INTO authentik_events_event SELECT md5('e' || n)::uuid, now() - n * interval '37 seconds',
    (ARRAY['login', 'login_failed', 'authorize_application', 'model_updated'])[1 + n % 4], ('10.' || n % 200 || '.' || n % 250 || '.7')::inet,
    jsonb_build_object('pk', n % 5000, 'username', 'user' || n % 5000),
    jsonb_build_object('http_request', jsonb_build_object('path', '/api/v3/flows/executor/' || n, 'request_id', md5(n::text)))
    FROM generate_series(1, 30000) n;
CREATE TABLE authentik_core_session (session_key text PRIMARY KEY, expires timestamptz, session_data bytea);
INSERT INTO authentik_core_session SELECT md5('s' || n), now() + interval '1 day', sha256(n::text::bytea) || sha256((n + 1)::text::bytea) FROM generate_series(1, 2000) n;
SQL
redis eval "for n = 1, 3000 do redis.call('SETEX', ':1:authentik:session:' .. n, 86400, string.rep('data' .. n, 20)) end" 0
(
    cd "$here/service"
    mkdir -p media/public/application-icons certs custom-templates blueprints
    for n in $(seq 12); do head -c $((40000 * n)) /dev/urandom >"media/public/application-icons/app-$n.png"; done
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=auth.example.org -keyout certs/privkey.pem -out certs/fullchain.pem 2>/dev/null ||
        printf 'no openssl here\n' >certs/README
    printf '<p>Hello {{ user.name }}, set your password: {{ url }}</p>\n' >custom-templates/password_reset.html
    for n in $(seq 20); do printf 'version: 1\nmetadata:\n  name: flow-%s\nentries:\n  - model: authentik_flows.flow\n    identifiers: {slug: flow-%s}\n' "$n" "$n" >"blueprints/flow-$n.yaml"; done
    ln -s flow-1.yaml blueprints/default.yaml
    cat >.env <<ENV
AUTHENTIK_SECRET_KEY=demo-$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
AUTHENTIK_POSTGRESQL__HOST=$servers
AUTHENTIK_POSTGRESQL__USER=authentik
AUTHENTIK_POSTGRESQL__NAME=authentik
AUTHENTIK_REDIS__HOST=$servers/redis/redis.sock
ENV
)

# ------------------------------------------------------------------------------------------------------- esker itself

export ESKER_REPOSITORY=$here/repository ESKER_PASSWORD_FILE=$here/password ESKER_CACHE_DIR=$here/cache
unset ESKER_CONFIG ESKER_PROFILE ESKER_KEY_FILE ESKER_PASSWORD ESKER_PASSWORD_COMMAND
(umask 077 && printf 'a demo needs no secret\n' >"$ESKER_PASSWORD_FILE")
snapshot() { run "$esker" snapshot --preset authentik --preset-dir "$here/service" --json --quiet | tail -1; }
cost() { # cost SUMMARY
    printf '  read %s, stored %s in %.2f s\n' "$(size "$(number total_bytes_processed "$1")")" "$(size "$(number data_added_packed "$1")")" "$(number total_duration "$1")"
}

say "1. A repository; the recovery key is printed once"
run "$esker" init

say "2. The first snapshot: PostgreSQL, Redis and the folders in one, all or nothing"
first=$(snapshot)
cost "$first"

say "3. A day passes: logins, events, sessions, one new picture"
sql -U authentik -d authentik <<'SQL'
UPDATE authentik_core_user SET last_login = now() WHERE id % 50 = 0;
INSERT INTO authentik_events_event SELECT md5('day2' || n)::uuid, now(), 'login', '10.0.0.1', jsonb_build_object('pk', n, 'username', 'user' || n), '{}' FROM generate_series(1, 300) n;
DELETE FROM authentik_core_session WHERE session_key < '08';
SQL
redis eval "for n = 3001, 3100 do redis.call('SETEX', ':1:authentik:session:' .. n, 86400, string.rep('data' .. n, 20)) end" 0
head -c 90000 /dev/urandom >"$here/service/media/public/application-icons/new.png"

say "4. The second snapshot costs what changed"
second=$(snapshot)
cost "$second"
run "$esker" snapshots
run "$esker" diff latest~1 latest

say "5. Restore everything into a new folder, the database into a new database, Redis into a new server"
run "$esker" restore latest --target "$here/restored"
sql -d postgres -c "CREATE DATABASE restored OWNER authentik"
printf '  $ esker dump latest:postgresql/authentik.dump | pg_restore --single-transaction --exit-on-error --dbname restored\n'
"$esker" dump latest:postgresql/authentik.dump | "$bin/pg_restore" --single-transaction --exit-on-error --dbname restored
mkdir -p "$servers/redis-restored"
cp "$here/restored/redis/dump.rdb" "$servers/redis-restored/"
start_redis "$servers/redis-restored"

say "6. Is it the same?"
for folder in media certs custom-templates blueprints; do
    diff -r --no-dereference "$here/service/$folder" "$here/restored/$folder"
done
diff "$here/service/.env" "$here/restored/config/.env"
echo "  folders: no difference"
text() { "$bin/pg_dump" -d "$1" | grep -v -e '^\\restrict' -e '^\\unrestrict'; }
diff <(text authentik) <(text restored)
echo "  database: dumps equal ($(sql -d restored -c 'SELECT count(*) FROM authentik_events_event') events)"
digest() { redis-cli -s "$1/redis.sock" debug digest; }
[ "$(digest "$servers/redis")" = "$(digest "$servers/redis-restored")" ]
echo "  Redis: digests equal ($(redis-cli -s "$servers/redis-restored/redis.sock" dbsize) keys)"

say "7. Read every stored byte back and recompute every id"
run "$esker" verify --read-data

say "Done. To look around:"
cat <<EOT
  export ESKER_REPOSITORY=$here/repository ESKER_PASSWORD_FILE=$here/password
  $esker ls -l latest:media
  service   $here/service
  restored  $here/restored
  first snapshot $(size "$(number data_added_packed "$first")"), a day later $(size "$(number data_added_packed "$second")"), the repository $(du -sh "$here/repository" | cut -f1)
EOT
