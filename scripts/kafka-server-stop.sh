#!/usr/bin/env bash
# Stops the brokers that kafka-server-start.sh started with the same LOG_DIR: all of them, as Kafka's script of
# this name does, or the one of a settings file.
#
#   kafka-server-stop.sh [server.properties]
#
# It sends SIGTERM to noted processes alone, and only while they are still the ones that were started.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
logs=${LOG_DIR:-$here/../logs}
only=
[ $# -eq 0 ] || only=$(realpath -- "$1")
notes=$logs/kafkaServer.pids
stopped=0 kept=
if [ -f "$notes" ]; then
  while read -r pid began settings; do
    [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "$began" ] || continue # gone
    if [ -n "$only" ] && [ "$only" != "$settings" ]; then
      kept+="$pid $began $settings"$'\n'
    elif kill -TERM "$pid"; then
      stopped=$((stopped + 1))
    fi
  done <"$notes"
  printf '%s' "$kept" >"$notes"
fi
if [ "$stopped" = 0 ]; then
  echo "No kafka server to stop"
  exit 1
fi
