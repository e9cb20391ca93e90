#!/usr/bin/env bash
# Everything that must hold before a change lands, from a fresh clone or again: tools, formatting, lints, tests,
# the foreign clients, a short run of the main job.
#
#   test.sh          about half an hour on two cores the first time, mostly building
#   test.sh --long   also repeats the crash tests with new seeds, mutates a million hostile inputs, and plays all scenarios
#
# What cannot be had on this machine is skipped by name and counted. The last line is
# `N passed, N failed, N skipped`; the exit status is 1 if something failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
long=no
case ${1:-} in
  '') ;;
  --long) long=yes ;;
  *) sed -n '2,/^set -u/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2 ;;
esac

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
export CARGO_TERM_COLOR=never
logs=$root/target/test-logs
mkdir -p "$logs"
export RINGDAW_TEST_SKIPS=$logs/skips
: >"$RINGDAW_TEST_SKIPS"
passed=0 failed=0 skipped=0 failures=()

# step SECONDS NAME COMMAND...: one thing that passes or fails as a whole; its output only where it fails
step() {
  local seconds=$1 name=$2 begun=$SECONDS
  shift 2
  if timeout --kill-after=10 "$seconds" "$@" >"$logs/$name.log" 2>&1 </dev/null; then
    passed=$((passed + 1))
    echo "ok    $name ($((SECONDS - begun)) s)"
  else
    echo "FAIL  $name (status $?, $((SECONDS - begun)) s): $*"
    tail -n 60 "$logs/$name.log"
    failed=$((failed + 1))
    failures+=("$name")
    return 1
  fi
}

# counted SECONDS NAME COMMAND...: a run of cargo's tests, whose own counts are added
counted() {
  local seconds=$1 name=$2 begun=$SECONDS status=0 good bad left
  shift 2
  timeout --kill-after=10 "$seconds" "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
  read -r good bad left < <(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$logs/$name.log")
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
  if [ "$status" != 0 ]; then
    [ "$bad" != 0 ] || failed=$((failed + 1))
    failures+=("$name")
    echo "FAIL  $name (status $status, $((SECONDS - begun)) s): $*"
    grep -E '^(test .* FAILED|error|---- )|panicked at' "$logs/$name.log" | head -n 60
    tail -n 40 "$logs/$name.log"
  else
    echo "ok    $name: $good tests, $left left out ($((SECONDS - begun)) s)"
  fi
}

# ---- tools ------------------------------------------------------------------------------------

packages=()
command -v kcat >/dev/null || packages+=(kcat)
command -v chromium >/dev/null || packages+=(chromium)
[ -e /usr/share/java/zookeeper.jar ] || packages+=(libzookeeper-java)
if [ ${#packages[@]} != 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${packages[*]}"
    { apt-get update && DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -y --no-install-recommends "${packages[@]}"; } \
      >"$logs/packages.log" 2>&1 </dev/null || echo "not installed: $(tail -n 1 "$logs/packages.log")"
  else
    echo "not root: ${packages[*]} is not installed, and what needs it is skipped"
  fi
fi
# Mostly waiting for the network, while the compiler works.
timeout 1800 scripts/client-tools.sh >"$logs/client-tools.log" 2>&1 </dev/null &
client_tools=$!

# ---- the code ---------------------------------------------------------------------------------

step 120 formatting cargo fmt --check
step 1800 lints cargo clippy --locked --all-targets -- -D warnings
step 2400 release-build cargo build --locked --release
wait "$client_tools" || echo "client tools: $(tail -n 1 "$logs/client-tools.log")"
counted 3000 tests cargo test --locked --no-fail-fast
# The second engine serves where the ring is refused, so what a client can see is shown on it too. The rest of the suites
# runs on it with RINGDAW_TEST_ENGINE=epoll cargo test.
counted 900 tests-on-epoll env RINGDAW_TEST_ENGINE=epoll cargo test --locked --no-fail-fast \
  --test hostile --test crash --test metadata_crash --test hazards
if [ "$long" = yes ]; then
  for round in 1 2 3 4 5; do
    counted 1200 "crash-$round" cargo test --locked --test crash
  done
  RINGDAW_FUZZ_ROUNDS=1000000 counted 3600 hostile cargo test --locked --test protocol hostile
  counted 3600 scenarios-one-broker env RINGDAW_SCENARIO_LONG=1 RINGDAW_SCENARIO_TABLE="$logs/scenarios.txt" \
    cargo test --locked --test scenarios one_broker
  counted 3600 scenarios-cluster env RINGDAW_SCENARIO_TABLE="$logs/scenarios.txt" \
    cargo test --locked --test scenarios -- --ignored a_cluster
  counted 3600 scenarios-java env RINGDAW_SCENARIO_TABLE="$logs/scenarios.txt" \
    cargo test --locked --test scenarios -- --ignored java
fi

# ---- the product ------------------------------------------------------------------------------

binary=$CARGO_TARGET_DIR/release/ringdaw
if [ -x "$binary" ]; then
  # clients NAME FLAGS...: foreign clients against the broker, whose own counts are added
  clients() {
    local name=$1 begun=$SECONDS status=0 counts good bad left
    shift
    timeout --kill-after=10 1500 python3 tests/clients/run.py --broker "$binary" "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
    if counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$logs/$name.log" | tail -n 1) && [ -n "$counts" ]; then
      read -r good _ bad _ left _ <<<"$counts"
      passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
    else
      failed=$((failed + 1))
    fi
    [ "$status" = 0 ] || failures+=("$name")
    sed -n '/^client  */,$p' "$logs/$name.log" | grep -v ' passed, '
    [ -n "$counts" ] || tail -n 30 "$logs/$name.log"
    echo "$([ "$status" = 0 ] && echo ok || echo FAIL)    $name ($((SECONDS - begun)) s)"
  }
  clients clients
  clients clients-on-epoll --engine epoll --only kcat --only confluent-kafka

  # ==== MAIN JOB, SHORT FORM: the one line to change when its flags change =======================
  step 600 main-job "$binary" bench --quick --out "$root/target/bench-short"
  # ===============================================================================================
fi

# ---- the end ----------------------------------------------------------------------------------

# A test that says by name that it cannot run here has been counted as passed by cargo.
while IFS= read -r line; do
  echo "skip  $line"
  passed=$((passed - 1)) skipped=$((skipped + 1))
done <"$RINGDAW_TEST_SKIPS"
[ ${#failures[@]} = 0 ] || echo "failed: ${failures[*]} (logs in $logs)"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ ${#failures[@]} = 0 ]
