#!/usr/bin/env bash
# Runs the test that catches each planted bug (the table in tests/README.md), without the bug and with it: first it must pass, then fail.
# With names as arguments only these bugs.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
build() { $cargo test --quiet --locked --features planted-bugs "$@" --no-run --message-format=json 2>/dev/null; }
rows=$(sed -n 's/^| `\([a-z0-9-]*\)` | .* | `\([a-z_]*\) \([a-z_]*\)` |$/\1 \2 \3/p' tests/README.md)
[ -n "$rows" ] || { echo "no table in tests/README.md"; exit 1; }

# Every bug in the sources has a row, and every row a bug.
planted=$(grep -rhoE 'planted::is\("[a-z0-9-]+"\)' src | sed 's/.*"\(.*\)".*/\1/' | sort -u)
listed=$(cut -d' ' -f1 <<<"$rows" | sort -u)
[ "$planted" = "$listed" ] || { echo "the table and the sources differ:"; diff <(echo "$planted") <(echo "$listed"); exit 1; }

targets=$(cut -d' ' -f2 <<<"$rows" | sort -u)
arguments=(); for target in $targets; do
    if [ "$target" = esker ]; then arguments+=(--lib); else arguments+=(--test "$target"); fi
done
declare -A binary
while IFS=$'\t' read -r name path; do binary[$name]=$path; done < <(build "${arguments[@]}" |
    python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable") and made["profile"]["test"]:
        print(made["target"]["name"], made["executable"], sep="\t")')

failed=0 caught=0
while read -r bug target test; do
    [ $# -eq 0 ] || [[ " $* " == *" $bug "* ]] || continue
    program=${binary[$target]:?no test binary $target}
    full=$("$program" --list 2>/dev/null | sed -n "s/: test\$//p" | grep -E "(^|::)$test\$" || true)
    if [ -z "$full" ]; then echo "$bug: there is no test $test in $target"; failed=1; continue; fi
    if ! "$program" --exact $full >/dev/null 2>&1; then echo "$bug: $test fails without any bug"; failed=1; continue; fi
    if ESKER_PLANTED=$bug "$program" --exact $full >/dev/null 2>&1; then
        echo "$bug: NOT CAUGHT by $test"; failed=1
    else
        echo "$bug: caught by $test"; caught=$((caught + 1))
    fi
done <<<"$rows"
echo "$caught planted bugs caught"
exit $failed
