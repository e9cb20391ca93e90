#!/usr/bin/env bash
# Puts the foreign clients of tests/clients into target/clients, each by its own package tool. A second call does
# nothing where the lists of versions did not change. What cannot be had is named in target/clients/missing,
# one `NAME: REASON` a line, and is no error: the runner skips those clients by name.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clients=$root/tests/clients
into=${1:-$root/target/clients}
mkdir -p "$into/log"
: >"$into/missing"

missing() { echo "$1: $2" | tee -a "$into/missing" >&2; }
last_line() { tail -n 1 "$into/log/$1.log" | cut -c1-200; }

# once NAME FILE... -- COMMAND: runs COMMAND unless it succeeded before with the same content of FILE...
once() {
  local name=$1 files=() sum
  shift
  while [ "$1" != -- ]; do files+=("$1"); shift; done
  shift
  sum=$(cat "${files[@]}" | sha256sum)
  [ "$(cat "$into/$name.stamp" 2>/dev/null)" != "$sum" ] || return 0
  rm -f "$into/$name.stamp"
  "$@" >"$into/log/$name.log" 2>&1 </dev/null || return 1
  echo "$sum" >"$into/$name.stamp"
}

python_packages() {
  rm -rf "$into/venv" && python3 -m venv "$into/venv" &&
    timeout 600 "$into/venv/bin/pip" install --disable-pip-version-check -q -r "$clients/python/requirements.txt"
}
if ! command -v python3 >/dev/null; then
  missing python "no python3 on PATH"
else
  once python "$clients/python/requirements.txt" -- python_packages || missing python "$(last_line python)"
fi

node_packages() {
  mkdir -p "$into/node" && cp "$clients/node/package.json" "$clients/node/package-lock.json" "$into/node/" &&
    cd "$into/node" && timeout 600 npm ci --no-audit --no-fund
}
if ! command -v npm >/dev/null; then
  missing node "no npm on PATH"
else
  (once node "$clients/node/package.json" "$clients/node/package-lock.json" -- node_packages) || missing node "$(last_line node)"
fi

go_programs() { mkdir -p "$into/go" && cd "$clients/go" && timeout 900 go build -o "$into/go/" ./...; }
if ! command -v go >/dev/null; then
  missing go "no go on PATH"
else
  (once go "$clients"/go/go.* "$clients"/go/*/*.go -- go_programs) || missing go "$(last_line go)"
fi

java_program() {
  local libs
  libs=$("$root/scripts/java-kafka.sh" classpath "$1") && mkdir -p "$into/java/$1" &&
    javac -nowarn -cp "$libs" -d "$into/java/$1" "$clients/java/Client.java"
}
for version in 1.0.0 3.9.1 4.3.0; do
  if ! command -v javac >/dev/null; then
    missing "java-$version" "no javac on PATH"
  else
    # The jars are checked each time: they may be gone while the compiled program is not.
    once "java-$version" "$clients/java/Client.java" "$root/scripts/java-kafka/$version/jars.sha256" -- java_program "$version" &&
      "$root/scripts/java-kafka.sh" fetch "$version" >"$into/log/jars-$version.log" 2>&1 ||
      missing "java-$version" "$(last_line "java-$version")$(cat "$into/log/jars-$version.log" 2>/dev/null)"
  fi
done

command -v kcat >/dev/null || missing kcat "no kcat on PATH"
exit 0
