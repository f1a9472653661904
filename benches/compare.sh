#!/usr/bin/env bash
# Whole-process comparison: esker, restic, rustic, borg and bupstash on the same data, in one run, on this machine.
#
#   benches/compare.sh [--quick]            what it prints is also in $WORK/compare.json
#
# Two data sets: `service` (a database dump, a Redis dump and four directories, made by shared/dataset/make_day.sh: DATA points to the
# folder that holds day0 and day1) and `small` (100,000 files of 0.3 to 7 KB in 1,000 folders; a day changes 1 % of them).
# For every tool and run: a first snapshot, one of the next day, one with nothing changed, and a restore into an empty folder whose
# files are compared with the originals by hash. Wall time, peak memory of the largest process, bytes in the repository. Medians.
#
# Environment, with defaults:
#   DATA=               made with SCALE=0.05 by MAKE_DAY when absent      MAKE_DAY=/work/shared/dataset/make_day.sh
#   WORK=               a new folder; everything happens in it, and it is left there
#   TOOLS="esker restic rustic borg bupstash"   SETS="service small"   RUNS=3   SMALL_FILES=100000   SMALL_FOLDERS=1000
#   STORE=local         s3: through s3s-fs on loopback, a real server in front of a folder (cargo install s3s-fs --features binary)
#                       moto: through moto_server, which is slow and counts requests. Both: esker, restic and rustic only, with the bytes
#                       that passed loopback meanwhile
#   ESKER=              target/release/esker if it is there, else esker from PATH
# The page cache is warm for everybody. Keys cost nothing in the timed runs of esker (key file) and bupstash (always a key file);
# restic, rustic and borg derive a key from a password each time; what argon2 costs esker is measured apart.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
[ "${1:-}" = --quick ] && { RUNS=${RUNS:-1} SMALL_FILES=${SMALL_FILES:-5000} SMALL_FOLDERS=${SMALL_FOLDERS:-50}; }
RUNS=${RUNS:-3} SETS=${SETS:-service small} STORE=${STORE:-local}
[ "$STORE" = local ] || TOOLS=${TOOLS:-esker restic rustic}
TOOLS=${TOOLS:-esker restic rustic borg bupstash}
SMALL_FILES=${SMALL_FILES:-100000} SMALL_FOLDERS=${SMALL_FOLDERS:-1000}
MAKE_DAY=${MAKE_DAY:-/work/shared/dataset/make_day.sh}
WORK=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/esker-compare.XXXXXX")}
mkdir -p "$WORK"; WORK=$(cd "$WORK" && pwd)
# moto_server where tests installed it (.ci/servers).
PATH=$PATH:${ESKER_TEST_SERVERS:-${XDG_CACHE_HOME:-$HOME/.cache}/esker-test-servers}/venv/bin
ESKER=${ESKER:-$here/target/release/esker}; [ -x "$ESKER" ] || ESKER=$(command -v esker || true)
live=$WORK/live results=$WORK/results.jsonl log=$WORK/log.txt
: >"$results"; : >"$log"
say() { printf '%s\n' "$*" >&2; }

# -- helpers in python: measuring, making and changing files, summing up ----------------------------------
cat >"$WORK/helper.py" <<'PYTHON'
import hashlib, json, os, random, shutil, statistics, sys, time

def files(root):
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path

def size(root):
    return sum(os.stat(path).st_size for path in files(root)), sum(1 for _ in files(root))

def wire():
    # Bytes over loopback so far; nothing else should be talking there.
    return next((int(line.split()[1]) for line in open('/proc/net/dev') if line.strip().startswith('lo:')), 0)

def asked(server_log):
    return sum('HTTP/1.1"' in line for line in open(server_log)) if os.path.exists(server_log) else 0

def measure(out, repository, log, facts, command):
    server_log = os.environ.get('SERVER_LOG', '')
    before, wire_before, asked_before = size(repository)[0], wire(), asked(server_log)
    # The kernel keeps the peak over exec, so a child of python begins with python's: the small `time` stands between, if it is there.
    peak, timer = out + '.peak', '/usr/bin/time'
    if os.path.exists(timer): command = [timer, '-q', '-f', '%M', '-o', peak, *command]
    os.sync()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        to = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0); os.dup2(to, 1); os.dup2(to, 2)
        try: os.execvp(command[0], command)
        except OSError: os._exit(127)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        sys.exit(f'exit code {code}: {" ".join(command)} (see {log})')
    row = dict(fact.split('=', 1) for fact in facts)
    peak_kib = int(open(peak).read()) if os.path.exists(timer) else usage.ru_maxrss
    row |= {'seconds': seconds, 'peak_rss_bytes': peak_kib * 1024, 'cpu_seconds': usage.ru_utime + usage.ru_stime,
            'repository_bytes': (after := size(repository)[0]), 'added_bytes': after - before, 'wire_bytes': wire() - wire_before,
            'requests': asked(server_log) - asked_before}
    with open(out, 'a') as results:
        results.write(json.dumps(row) + '\n')

def hashes(root):
    return sorted((hashlib.sha256(open(path, 'rb').read()).hexdigest(), os.path.basename(path)) for path in files(root))

def same(one, other):
    # Tools put the tree at different depths and name streams differently: the contents decide.
    one, other = ([digest for digest, _ in hashes(root)] for root in (one, other))
    if one != other:
        sys.exit(f'the restored files differ: {len(one)} and {len(other)} files, {len(set(one) ^ set(other))} contents only in one')

def become(target, source):
    """Makes `target` like `source` as an application would: what is unchanged is not touched, what changed is written anew."""
    wanted = {os.path.relpath(path, source) for path in files(source)}
    for path in list(files(target)):
        if os.path.relpath(path, target) not in wanted: os.unlink(path)
    for name in sorted(wanted):
        to, stat = os.path.join(target, name), os.stat(os.path.join(source, name))
        if os.path.exists(to) and (os.stat(to).st_size, os.stat(to).st_mtime_ns) == (stat.st_size, stat.st_mtime_ns): continue
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copyfile(os.path.join(source, name), to + '.new'); shutil.copystat(os.path.join(source, name), to + '.new')
        os.rename(to + '.new', to)

def small(root, count, folders):
    """day0 and day1 of many small files of words; day1 rewrites 0.8 %, adds 0.1 % and removes 0.1 %."""
    rng = random.Random(42)
    letters = 'etaoinshrdlucmfwypvbgk'
    words = [''.join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(4000)]
    def text(): return (' '.join(rng.choices(words, k=rng.randint(48, 1100))) + '\n').encode()[:7000]
    def write(day, n, bytes):
        path = os.path.join(root, day, 'files', f'{n % folders:04}', f'{n:06}.txt')
        with open(path, 'wb') as file: file.write(bytes)
        os.utime(path, ns=(0, (1_800_000_000 + (86_400 if day == 'day1' else 0)) * 10**9))
    for n in range(folders): os.makedirs(os.path.join(root, 'day0', 'files', f'{n:04}'))
    for n in range(count): write('day0', n, text())
    shutil.copytree(os.path.join(root, 'day0'), os.path.join(root, 'day1'))
    changed = rng.sample(range(count), count // 100)
    cut = len(changed) // 10
    for n in changed[cut:2 * cut]: os.unlink(os.path.join(root, 'day1', 'files', f'{n % folders:04}', f'{n:06}.txt'))
    for n in changed[2 * cut:]: write('day1', n, text())
    for n in range(count, count + cut): write('day1', n, text())

def report(results, facts, out):
    rows = [json.loads(line) for line in open(results)]
    facts = dict(fact.split('=', 1) for fact in facts)
    cells = {}
    for row in rows: cells.setdefault((row['set'], row['step'], row['tool']), []).append(row)
    medians = []
    for (of, step, tool), group in cells.items():
        middle = {key: statistics.median(row[key] for row in group) for key, value in group[0].items() if isinstance(value, (int, float))}
        medians.append({'set': of, 'step': step, 'tool': tool, 'runs': len(group), **middle})
    with open(out, 'w') as file: json.dump({'facts': facts, 'medians': medians, 'runs': rows}, file, indent=1)
    remote = facts.get('store', 'local') != 'local'
    remote_head = f" {'wire MiB':>9} {'requests':>9}" if remote else ''
    mib = lambda bytes: f'{bytes / 2**20:.2f}'
    for of in dict.fromkeys(row['set'] for row in medians):
        print(f"\n{of}: {facts.get('data_' + of, '')}")
        print(f"{'step':<9} {'tool':<9} {'wall s':>8} {'cpu s':>8} {'peak MiB':>9} {'repository MiB':>15} {'added MiB':>10}{remote_head}")
        for row in medians:
            if row['set'] == of:
                print(f"{row['step']:<9} {row['tool']:<9} {row['seconds']:8.2f} {row['cpu_seconds']:8.2f} {mib(row['peak_rss_bytes']):>9}"
                      f" {mib(row['repository_bytes']):>15} {mib(row['added_bytes']):>10}"
                      + (f" {mib(row['wire_bytes']):>9} {row['requests']:>9.0f}" if remote else ''))

verb, *args = sys.argv[1:]
if verb == 'measure':
    split = args.index('--')
    measure(*args[:3], args[3:split], args[split + 1:])
elif verb == 'small': small(args[0], int(args[1]), int(args[2]))
elif verb == 'report': report(args[0], args[2:], args[1])
elif verb == 'size': print('{} bytes in {} files'.format(*size(args[0])))
else: {'same': same, 'become': become}[verb](*args)
PYTHON
helper() { python3 "$WORK/helper.py" "$@"; }

# -- data -------------------------------------------------------------------------------------------------
prepare_service() {
  if [ -z "${DATA:-}" ]; then
    DATA=$WORK/made
    if [ ! -x "$MAKE_DAY" ]; then say "SKIPPED set service: DATA is not set and $MAKE_DAY is not there"; return 1; fi
    say "making the service's data (SCALE=${SCALE:-0.05})"; SCALE=${SCALE:-0.05} "$MAKE_DAY" 1 "$DATA" >>"$log" 2>&1
  fi
  for day in day0 day1; do
    mkdir -p "$WORK/service/$day"
    for part in authentik.custom globals.sql dump.rdb media certs custom-templates blueprints; do cp -a "$DATA/$day/$part" "$WORK/service/$day/"; done
  done
}
prepare_small() { say "making $SMALL_FILES small files"; helper small "$WORK/small" "$SMALL_FILES" "$SMALL_FOLDERS"; }

# -- the tools: version, open (make a repository), save (a snapshot of $live) and load (the latest, into $1) ---------
# Each gets $repository and $private (caches, keys) of its own, fresh for every run.
P=correct-horse-battery-staple
KEY=benchkey SECRET=benchsecretbenchsecret

# Sets $address for the tools; a store on loopback begins empty for every run.
start_store() {
  address=$repository
  [ "$STORE" = local ] && return
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  export AWS_ACCESS_KEY_ID=$KEY AWS_SECRET_ACCESS_KEY=$SECRET AWS_REGION=us-east-1 SERVER_LOG=$WORK/run/server.log
  if [ "$STORE" = s3 ]; then
    mkdir -p "$WORK/run/s3/bench"; repository=$WORK/run/s3/bench
    s3s-fs --host 127.0.0.1 --port "$port" --access-key "$KEY" --secret-key "$SECRET" "$WORK/run/s3" >"$SERVER_LOG" 2>&1 &
  else
    "$(dirname "$(command -v moto_server)")/python" "$here/tests/servers/start_moto.py" -H 127.0.0.1 -p "$port" >"$SERVER_LOG" 2>&1 &
  fi
  server=$!; trap 'kill $server' EXIT
  for _ in $(seq 100); do curl -s -o "$WORK/run/answer" "http://127.0.0.1:$port/" && break; sleep 0.1; done
  if [ "$STORE" = moto ]; then curl -s -X PUT "http://127.0.0.1:$port/bench" >>"$log"; fi
  endpoint=http://127.0.0.1:$port
  case $tool in
    esker) address=s3://bench/repository; export ESKER_OPTIONS="-o endpoint=$endpoint" ;;
    restic) address=s3:$endpoint/bench/repository ;;
    rustic)
      address=opendal:s3
      printf '[repository.options]\nroot = "/repository"\nbucket = "bench"\nregion = "us-east-1"\nendpoint = "%s"\naccess_key_id = "%s"\nsecret_access_key = "%s"\n' \
        "$endpoint" "$KEY" "$SECRET" >"$private/rustic.toml"
      export RUSTIC_USE_PROFILE=$private/rustic ;;
  esac
}

esker_there() { [ -n "$ESKER" ] && [ -x "$ESKER" ]; }
esker_version() { "$ESKER" --version; }
esker_run() { env -u ESKER_PASSWORD ESKER_CACHE_DIR="$private/cache" "$@"; }
esker_open() {
  (umask 077; echo "$P" >"$private/password")
  esker_run "$ESKER" init -r "$address" ${ESKER_OPTIONS:-} --parity 0 --password-file "$private/password" &&
    esker_run "$ESKER" key export --owner --output "$private/owner.key" -r "$address" ${ESKER_OPTIONS:-} --password-file "$private/password"
}
esker_save() {
  local sources=() path
  for path in "$live"/*; do
    if [ -d "$path" ]; then sources+=(--dir "$(basename "$path")=$path"); fi
  done
  if [ -f "$live/authentik.custom" ]; then
    sources+=(--command "postgresql=cat $live/authentik.custom" --command "globals=cat $live/globals.sql" --command "redis=cat $live/dump.rdb")
  fi
  command=(env "ESKER_CACHE_DIR=$private/cache" "$ESKER" snapshot --no-progress -r "$address" ${ESKER_OPTIONS:-} --key-file "$private/owner.key" "${sources[@]}")
}
esker_load() { command=(env "ESKER_CACHE_DIR=$private/cache" "$ESKER" restore latest --no-progress --target "$1" -r "$address" ${ESKER_OPTIONS:-} --key-file "$private/owner.key"); }

restic_there() { command -v restic >/dev/null; }
restic_version() { restic version; }
restic_env() { export RESTIC_PASSWORD=$P RESTIC_REPOSITORY=$address RESTIC_CACHE_DIR=$private/cache; }
restic_open() { restic_env; restic -q init; }
restic_save() { restic_env; command=(restic -q --compression auto backup "$live"); }
restic_load() { command=(restic -q restore latest --target "$1"); }

rustic_there() { command -v rustic >/dev/null; }
rustic_version() { rustic --version; }
rustic_env() { export RUSTIC_PASSWORD=$P RUSTIC_REPOSITORY=$address RUSTIC_CACHE_DIR=$private/cache RUSTIC_NO_PROGRESS=true; }
rustic_open() { rustic_env; rustic init; }
rustic_save() { rustic_env; command=(rustic backup "$live"); }
rustic_load() { command=(rustic restore latest "$1"); }

borg_there() { command -v borg >/dev/null; }
borg_version() { borg --version; }
borg_env() { export BORG_PASSPHRASE=$P BORG_BASE_DIR=$private BORG_REPO=$repository; }
borg_open() { borg_env; borg init -e repokey-blake2; }
borg_save() { borg_env; borg_name=snapshot-$RANDOM$RANDOM; command=(borg create -C zstd,3 "::$borg_name" "$live"); }
borg_load() { command=(env -C "$1" borg extract "::$borg_name"); }

bupstash_there() { command -v bupstash >/dev/null; }
bupstash_version() { bupstash version; }
bupstash_env() { export BUPSTASH_REPOSITORY=$repository BUPSTASH_KEY=$private/key XDG_CACHE_HOME=$private/cache; }
bupstash_open() { bupstash_env; rmdir "$repository"; bupstash new-key -o "$private/key" && bupstash init; }
bupstash_save() { bupstash_env; bupstash_name=snapshot-$RANDOM$RANDOM; command=(bupstash put -q --send-log "$private/send-log" "job=$bupstash_name" "$live"); }
bupstash_load() { command=(bupstash restore -q --into "$1" "job=$bupstash_name"); }

# -- the runs -----------------------------------------------------------------------------------------------
measured() { helper measure "$results" "$repository" "$log" "set=$set" "tool=$tool" "run=$run" "step=$1" -- "${command[@]}"; }

one_run() (
  repository=$WORK/run/repository private=$WORK/run/private
  rm -rf "$WORK/run" "$live"; mkdir -p "$repository" "$private"
  cp -a --no-preserve=links "$WORK/$set/day0" "$live"
  start_store
  "${tool}_open" >>"$log" 2>&1
  "${tool}_save"; measured first
  helper become "$live" "$WORK/$set/day1"
  "${tool}_save"; measured day1
  "${tool}_save"; measured repeat
  mkdir "$WORK/run/restored"
  "${tool}_load" "$WORK/run/restored"; measured restore
  helper same "$live" "$WORK/run/restored"
  if [ "$tool" = esker ] && [ "$run" = 1 ] && [ "$STORE" = local ]; then
    # What the password costs: the same small command with the key file and with the password.
    command=(env "ESKER_CACHE_DIR=$private/cache" "$ESKER" snapshots -r "$repository" --key-file "$private/owner.key"); measured key-file
    command=(env "ESKER_CACHE_DIR=$private/cache" "$ESKER" snapshots -r "$repository" --password-file "$private/password"); measured password
  fi
)

facts=("store=$STORE" "cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "cores=$(nproc)" "kernel=$(uname -r)" "load=$(cut -d' ' -f1-3 /proc/loadavg)")
present=()
for tool in $TOOLS; do
  if "${tool}_there"; then present+=("$tool"); facts+=("$tool=$("${tool}_version" 2>&1 | head -1)"); else say "SKIPPED $tool: not found"; fi
done
for set in $SETS; do
  "prepare_$set" || continue
  facts+=("data_$set=day 0: $(helper size "$WORK/$set/day0"), day 1: $(helper size "$WORK/$set/day1")")
  for run in $(seq "$RUNS"); do
    for tool in "${present[@]}"; do
      say "$set, run $run of $RUNS, $tool"
      # Not in a condition: there `set -e` would not hold inside.
      set +e; one_run; code=$?; set -e
      [ "$code" = 0 ] || say "FAILED $tool on $set (see $log)"
    done
  done
  rm -rf "${WORK:?}/$set"
done
rm -rf "$WORK/run" "$live" "$WORK/made"
helper report "$results" "$WORK/compare.json" "${facts[@]}"
say "written: $WORK/compare.json"
