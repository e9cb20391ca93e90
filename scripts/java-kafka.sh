#!/usr/bin/env bash
# Java Kafka as a rival and a judge: fetched once, checked against pinned sums, started and stopped here.
#
#   java-kafka.sh fetch VERSION              jars into target/java-kafka/VERSION; later calls need no network
#   java-kafka.sh start VERSION [DIR] [--port N] [--override k=v]...
#                                            a broker (up to 3.9 with its ZooKeeper, from 4.0 in KRaft mode);
#                                            prints `bootstrap=HOST:PORT` once it is ready
#   java-kafka.sh zookeeper VERSION [DIR]    its ZooKeeper alone; a later start in DIR uses it
#   java-kafka.sh stop VERSION [DIR] [--kill] stops both by their pid files; --kill does it with SIGKILL
#   java-kafka.sh command VERSION DIR --port N [--zookeeper HOST:PORT] [--gc-log FILE] [--override k=v]...
#   java-kafka.sh command VERSION DIR --port N --only-zookeeper
#                                            prepares DIR and prints what start would run, for a caller that keeps
#                                            the process itself: version=, metadata=, classpath=, then word= lines
#   java-kafka.sh run VERSION CLASS [ARG]... a class of that release, in the foreground
#   java-kafka.sh classpath VERSION          what to put on CLASSPATH
#
# VERSION is one of those pinned in java-kafka/, or the beginning of one: 3.9 or 3.9.x, 4.
# RINGDAW_KAFKA_HOME=DIR uses an installed Kafka (its libs/) and fetches nothing.
# RINGDAW_JAVA_KAFKA=DIR keeps jars and runs there instead of target/java-kafka.
# KAFKA_HEAP_OPTS, KAFKA_JVM_PERFORMANCE_OPTS and KAFKA_OPTS mean what they mean to Kafka.
# Exit 6: Java, Maven or the repository is missing. Nothing else in the project needs them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
store=${RINGDAW_JAVA_KAFKA:-$here/../target/java-kafka}

usage() { sed -n '2,/^set -e/p' "$here/java-kafka.sh" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
unavailable() { echo "java-kafka: $1; set RINGDAW_KAFKA_HOME to an installed Kafka instead; everything but the comparison with Java works without it" >&2; exit 6; }
fail() { echo "java-kafka: $1" >&2; exit 1; }

[ $# -ge 2 ] || usage
command=$1 version=${2%.x}
shift 2
# The newest pinned one that begins so.
if [ -z "${RINGDAW_KAFKA_HOME:-}" ] && [ ! -d "$here/java-kafka/$version" ]; then
  asked=$version
  for found in $(cd "$here/java-kafka" && printf '%s\n' */ | sort -V); do
    case ${found%/} in "$asked".*) version=${found%/} ;; esac
  done
fi
pinned=$here/java-kafka/$version
libs=$store/$version/libs
if [ -n "${RINGDAW_KAFKA_HOME:-}" ]; then
  libs=$RINGDAW_KAFKA_HOME/libs
  [ -d "$libs" ] || fail "RINGDAW_KAFKA_HOME=$RINGDAW_KAFKA_HOME has no folder libs"
elif [ ! -f "$pinned/pom.xml" ]; then
  fail "no version $version here; there are: $(cd "$here/java-kafka" && echo */ | tr -d /)"
fi
command -v java >/dev/null || unavailable "no java on PATH"

# Every jar of the lock file is there, with the same content, and no other.
jars_match() {
  [ -f "$pinned/jars.sha256" ] && [ -d "$1" ] || return 1
  [ "$(find "$1" -name '*.jar' | wc -l)" = "$(wc -l <"$pinned/jars.sha256")" ] || return 1
  (cd "$1" && sha256sum --check --status --strict "$pinned/jars.sha256")
}

fetch() {
  [ -z "${RINGDAW_KAFKA_HOME:-}" ] || return 0
  [ "${1:-}" != --lock ] || rm -rf "$libs"
  [ ! -d "$libs" ] || jars_match "$libs" || { echo "java-kafka: $libs differs from the lock file; fetching again" >&2; rm -rf "$libs"; }
  [ ! -d "$libs" ] || return 0
  command -v mvn >/dev/null || unavailable "no mvn (Maven) on PATH"
  mkdir -p "$store/$version"
  # Two may fetch at once: each fills a folder of its own, and the rename decides.
  local fresh log
  fresh=$(mktemp -d "$store/$version/fetch.XXXXXX")
  log=$store/$version/fetch.log
  if ! timeout 900 mvn -q -B -f "$pinned/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$fresh" >"$log" 2>&1; then
    rm -rf "$fresh"
    unavailable "Maven could not get Kafka $version ($(grep -m1 -o 'ERROR.*' "$log" | cut -c1-200 || true); all of it in $log)"
  fi
  if [ "${1:-}" = --lock ]; then
    (cd "$fresh" && sha256sum -- *.jar) >"$pinned/jars.sha256"
  elif ! jars_match "$fresh"; then
    (cd "$fresh" && sha256sum --check --quiet "$pinned/jars.sha256") >&2 || true
    rm -rf "$fresh"
    fail "what Maven brought differs from $pinned/jars.sha256"
  fi
  mv -T "$fresh" "$libs" 2>/dev/null || { rm -rf "$fresh"; jars_match "$libs" || fail "could not put the jars into $libs"; }
}

# A port nobody listens on now, below the range the kernel hands out.
free_port() {
  local port
  for _ in $(seq 200); do
    port=$((10000 + RANDOM % 20000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  fail "no free port found"
}

alive() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

# await LOG PIDFILE PATTERN WHAT
await() {
  for _ in $(seq 900); do
    grep -q -E "$3" "$1" 2>/dev/null && return 0
    alive "$2" || { tail -n 20 "$1" >&2; fail "$4 stopped while starting; its log is $1"; }
    sleep 0.1
  done
  fail "$4 did not start within 90 s; its log is $1"
}

# The JVM flags of Kafka's own start scripts, named here: a JVM that sees one core would choose another collector.
kafka_heap="-Xmx1G -Xms1G"
zookeeper_heap="-Xmx512M -Xms512M"
kafka_performance="-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true"

words=()
words_of() { # words_of HEAP CLASS ARG...: what to run, into the array `words`
  local heap=$1
  shift
  # shellcheck disable=SC2206 # the options are lists of words, as Kafka's own scripts take them
  words=(java $heap ${KAFKA_JVM_PERFORMANCE_OPTS:-$kafka_performance} ${KAFKA_OPTS:-}
    "-Dlog4j.configuration=file:$here/java-kafka/log4j.properties"
    "-Dlog4j2.configurationFile=$here/java-kafka/log4j2.properties" "$@")
}

launch() { # launch DIR NAME: starts `words`
  CLASSPATH="$libs/*" setsid "${words[@]}" >"$1/$2.log" 2>&1 </dev/null &
  echo $! >"$1/$2.pid"
}

zookeeper_prepare() { # zookeeper_prepare DIR PORT
  {
    echo "dataDir=$1/zookeeper"
    echo "clientPort=$2"
    echo "clientPortAddress=127.0.0.1"
    echo "maxClientCnxns=0"
    echo "admin.enableServer=false"
    echo "4lw.commands.whitelist=ruok,srvr"
  } >"$1/zookeeper.properties"
  words_of "$zookeeper_heap" org.apache.zookeeper.server.quorum.QuorumPeerMain "$1/zookeeper.properties"
}

zookeeper() {
  local dir=${1:-$store/run/$version} port
  fetch
  mkdir -p "$dir"
  if alive "$dir/zookeeper.pid"; then
    port=$(sed -n 's/^clientPort=//p' "$dir/zookeeper.properties")
  else
    port=$(free_port)
    zookeeper_prepare "$dir" "$port"
    launch "$dir" zookeeper
    await "$dir/zookeeper.log" "$dir/zookeeper.pid" 'binding to port' ZooKeeper
  fi
  echo "zookeeper=127.0.0.1:$port"
}

is_kraft() { [ "${version%%.*}" -ge 4 ]; }

# broker_prepare DIR PORT ZOOKEEPER [--override k=v]...: settings, and in KRaft mode the formatted directory
broker_prepare() {
  local dir=$1 port=$2 zookeeper=$3 config=$1/server.properties controller_port
  shift 3
  {
    echo "log.dirs=$dir/data"
    echo "num.partitions=1"
    echo "offsets.topic.replication.factor=1"
    echo "transaction.state.log.replication.factor=1"
    echo "transaction.state.log.min.isr=1"
    echo "group.initial.rebalance.delay.ms=0"
    if is_kraft; then
      controller_port=$(free_port)
      echo "process.roles=broker,controller"
      echo "node.id=1"
      echo "controller.quorum.voters=1@127.0.0.1:$controller_port"
      echo "controller.listener.names=CONTROLLER"
      echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port"
    else
      echo "broker.id=0"
      echo "listeners=PLAINTEXT://127.0.0.1:$port"
      echo "zookeeper.connect=$zookeeper"
    fi
  } >"$config"
  if is_kraft && [ ! -f "$dir/data/meta.properties" ]; then
    CLASSPATH="$libs/*" java kafka.tools.StorageTool format -t Tk9UX0FfU0VDUkVUX0lEMQ -c "$config" >"$dir/format.log" 2>&1 ||
      { cat "$dir/format.log" >&2; fail "formatting $dir/data failed"; }
  fi
  words_of "${KAFKA_HEAP_OPTS:-$kafka_heap}" kafka.Kafka "$config" "$@"
}

start() {
  local dir=$store/run/$version port='' zookeeper='' overrides=()
  [ $# -eq 0 ] || [[ $1 == --* ]] || { dir=$1; shift; }
  while [ $# -gt 0 ]; do
    case $1 in
      --port) port=$2; shift 2 ;;
      --override) overrides+=(--override "$2"); shift 2 ;;
      *) usage ;;
    esac
  done
  fetch
  mkdir -p "$dir"
  ! alive "$dir/kafka.pid" || fail "already running from $dir, pid $(cat "$dir/kafka.pid")"
  [ -n "$port" ] || port=$(free_port)
  if ! is_kraft; then
    zookeeper=$(zookeeper "$dir")
    zookeeper=${zookeeper#*=}
  fi
  broker_prepare "$dir" "$port" "$zookeeper" "${overrides[@]}"
  launch "$dir" kafka
  await "$dir/kafka.log" "$dir/kafka.pid" ' started \(kafka.server.Kafka' "Kafka $version"
  echo "bootstrap=127.0.0.1:$port"
  [ -z "$zookeeper" ] || echo "zookeeper=$zookeeper"
}

command_for() {
  local dir=$1 port='' zookeeper='' gc_log='' only_zookeeper='' overrides=()
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      --port) port=$2; shift 2 ;;
      --zookeeper) zookeeper=$2; shift 2 ;;
      --gc-log) gc_log=$2; shift 2 ;;
      --override) overrides+=(--override "$2"); shift 2 ;;
      --only-zookeeper) only_zookeeper=yes; shift ;;
      *) usage ;;
    esac
  done
  [ -n "$port" ] || usage
  fetch
  mkdir -p "$dir"
  # As Kafka's scripts name their GC log, without the rotation: a run of the rig is short.
  [ -z "$gc_log" ] || KAFKA_OPTS="${KAFKA_OPTS:-} -Xlog:gc*:file=$gc_log:time,tags:filecount=0"
  if [ -n "$only_zookeeper" ]; then
    zookeeper_prepare "$dir" "$port"
  else
    is_kraft || [ -n "$zookeeper" ] || fail "Kafka $version needs --zookeeper HOST:PORT"
    broker_prepare "$dir" "$port" "$zookeeper" "${overrides[@]}"
  fi
  echo "version=$version"
  if is_kraft; then echo metadata=kraft; else echo metadata=zookeeper; fi
  echo "classpath=$libs/*"
  printf 'word=%s\n' "${words[@]}"
}

stop() {
  local dir=$store/run/$version signal=TERM
  [ $# -eq 0 ] || [[ $1 == --* ]] || { dir=$1; shift; }
  [ "${1:-}" != --kill ] || signal=KILL
  local name pid
  for name in kafka zookeeper; do
    alive "$dir/$name.pid" || { rm -f "$dir/$name.pid"; continue; }
    pid=$(cat "$dir/$name.pid")
    # A pid may have been given to another process since: only a java with this folder in its arguments is ours.
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -F "$dir/" || { rm -f "$dir/$name.pid"; continue; }
    kill -"$signal" "$pid"
    for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    if kill -0 "$pid" 2>/dev/null; then
      kill -KILL "$pid"
      echo "java-kafka: $name (pid $pid) did not stop within 60 s and was killed" >&2
    fi
    rm -f "$dir/$name.pid"
  done
}

case $command in
  fetch) fetch "$@" ;;
  start) start "$@" ;;
  zookeeper) zookeeper "$@" ;;
  command) [ $# -ge 1 ] || usage; command_for "$@" ;;
  stop) stop "$@" ;;
  classpath) fetch; echo "$libs/*" ;;
  run)
    fetch
    # shellcheck disable=SC2086 # a list of words, as Kafka's own scripts take it
    CLASSPATH="$libs/*" exec java ${KAFKA_OPTS:-} -Dlog4j.configuration="file:$here/java-kafka/tools-log4j.properties" \
      -Dlog4j2.configurationFile="$here/java-kafka/tools-log4j2.properties" "$@"
    ;;
  *) usage ;;
esac
