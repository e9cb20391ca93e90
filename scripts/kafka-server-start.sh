#!/usr/bin/env bash
# Starts a broker, with the arguments of Kafka's script of this name.
#
#   kafka-server-start.sh [-daemon] [-name NAME] server.properties [--override property=value]...
#
# -daemon runs it in the background, with its log in LOG_DIR/kafkaServer.out (LOG_DIR: ./logs unless set).
# The broker is noted in LOG_DIR/kafkaServer.pids, where kafka-server-stop.sh finds it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
logs=${LOG_DIR:-$here/../logs}
daemon=no name=kafkaServer
while [ $# -gt 0 ]; do
  case $1 in
    -daemon) daemon=yes; shift ;;
    -name) name=$2; shift 2 ;;
    -loggc) shift ;; # there is no collector whose log could be kept
    *) break ;;
  esac
done
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] server.properties [--override property=value]*" >&2
  exit 1
fi
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
mkdir -p "$logs"

# pid, the moment it was started (a pid may be given out again), and its settings file
note() {
  local began
  began=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20) ||
    { echo "the broker ended at once; it said:" >&2; cat "$logs/$name.out" >&2; exit 1; }
  echo "$1 $began $2" >>"$logs/kafkaServer.pids"
}

settings=$(realpath -- "$1")
if [ "$daemon" = yes ]; then
  setsid nohup "$binary" broker "$@" >"$logs/$name.out" 2>&1 </dev/null &
  note $! "$settings"
else
  note $$ "$settings"
  exec "$binary" broker "$@"
fi
