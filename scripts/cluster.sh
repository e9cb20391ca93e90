#!/usr/bin/env bash
# Three brokers and a ZooKeeper of three servers on this machine, to see a failover.
#
#   cluster.sh up          starts what is not running: brokers 1 to 3, ZooKeeper servers 1 to 3, on free ports of loopback
#   cluster.sh status      who runs where, who is the controller, who leads what
#   cluster.sh kill N      kill -9 of broker N          cluster.sh start N   the same broker again
#   cluster.sh stop N      SIGTERM: it gives its leaderships away first
#   cluster.sh pause N     SIGSTOP                      cluster.sh resume N  SIGCONT
#   cluster.sh zookeeper kill|start N                   the same for a ZooKeeper server
#   cluster.sh zkCli ARG...                             ZooKeeper's shell on the cluster: cluster.sh zkCli get /controller
#   cluster.sh down        stops everything; the data stays, and `up` goes on with it
#
# Everything is in CLUSTER_DIR (target/cluster): settings, data, logs, pid files, and `env` with BOOTSTRAP and ZOOKEEPER for
# a shell. BROKERS=1 and ZOOKEEPERS=1 start fewer, RINGDAW_BIN another build. Needed: Java, and Debian's libzookeeper-java.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${CLUSTER_DIR:-$here/../target/cluster}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
jar=/usr/share/java/zookeeper.jar

usage() { sed -n '2,/^set -e/p' "$here/cluster.sh" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
fail() { echo "cluster: $1" >&2; exit 1; }

# How many there are is decided by the first `up` of a directory.
count() {
  [ -f "$dir/$1" ] || echo "${2:-3}" >"$dir/$1"
  cat "$dir/$1"
}

# free_port NAME: the port of NAME, chosen once, below the range the kernel hands out
port_of() {
  local file=$dir/$1.port port
  if [ ! -f "$file" ]; then
    for _ in $(seq 200); do
      port=$((10000 + RANDOM % 20000))
      (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || grep -qsx "$port" "$dir"/*.port || { echo "$port" >"$file"; break; }
    done
    [ -f "$file" ] || fail "no free port found"
  fi
  cat "$file"
}

# A pid may have been given to another process since: only one with this directory in its arguments is ours.
pid_of() {
  local pid
  pid=$(cat "$dir/$1.pid" 2>/dev/null) && [ -d "/proc/$pid" ] || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -q -F "$dir/" || return 1
  echo "$pid"
}

# launch NAME COMMAND...: in the background, its output in NAME.log
launch() {
  local name=$1
  shift
  setsid "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

# end NAME SIGNAL: and wait until it is gone
end() {
  local pid
  pid=$(pid_of "$1") || { rm -f "$dir/$1.pid"; return 0; }
  kill "-$2" "$pid"
  kill -CONT "$pid" 2>/dev/null || true
  for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  ! kill -0 "$pid" 2>/dev/null || fail "$1 (pid $pid) does not end; its log is $dir/$1.log"
  rm -f "$dir/$1.pid"
}

# await NAME SECONDS COMMAND...: until the command succeeds
await() {
  local name=$1 seconds=$2 until
  shift 2
  until=$((SECONDS + seconds))
  until "$@"; do
    pid_of "$name" >/dev/null || { tail -n 20 "$dir/$name.log" >&2; fail "$name stopped while starting; its log is $dir/$name.log"; }
    [ "$SECONDS" -lt "$until" ] || { tail -n 20 "$dir/$name.log" >&2; fail "$name does not answer after $seconds s; its log is $dir/$name.log"; }
    sleep 0.1
  done
}

# ---- ZooKeeper --------------------------------------------------------------------------------

# `leader`, `follower` or `standalone`, where it serves
mode_of() {
  (exec 3<>"/dev/tcp/127.0.0.1/$(port_of "zookeeper-$1")" && echo srvr >&3 && sed -n 's/^Mode: //p' <&3) 2>/dev/null | grep .
}

zookeeper_start() {
  local name=zookeeper-$1
  ! pid_of "$name" >/dev/null || return 0
  mkdir -p "$dir/$name"
  echo "$1" >"$dir/$name/myid"
  {
    printf '%s\n' tickTime=500 initLimit=20 syncLimit=10 "dataDir=$dir/$name" "clientPort=$(port_of "$name")" \
      clientPortAddress=127.0.0.1 admin.enableServer=false maxClientCnxns=0
    if [ "$zookeepers" -gt 1 ]; then
      for n in $(seq "$zookeepers"); do
        echo "server.$n=127.0.0.1:$(port_of "zookeeper-$n-peer"):$(port_of "zookeeper-$n-election")"
      done
    fi
  } >"$dir/$name/zoo.cfg"
  launch "$name" java -Xmx128m -XX:+UseSerialGC "-Dzookeeper.4lw.commands.whitelist=srvr" \
    -cp "$jar" org.apache.zookeeper.server.quorum.QuorumPeerMain "$dir/$name/zoo.cfg"
}

zookeeper_connect() {
  local n all=()
  for n in $(seq "$zookeepers"); do all+=("127.0.0.1:$(port_of "zookeeper-$n")"); done
  (IFS=,; echo "${all[*]}")
}

zk_cli() {
  java -cp "$jar" org.apache.zookeeper.ZooKeeperMain -server "$(zookeeper_connect)" "$@" 2>/dev/null | grep -v -E '^$|^WATCHER|^WatchedEvent|^Connecting' || true
}

# ---- brokers ----------------------------------------------------------------------------------

bootstrap() {
  local n all=()
  for n in $(seq "$brokers"); do all+=("127.0.0.1:$(port_of "broker-$n")"); done
  (IFS=,; echo "${all[*]}")
}

# says_ready NAME BYTE: in its log from there on
says_ready() { tail -c "+$2" "$dir/$1.log" | grep -q 'is ready on'; }

broker_start() {
  local name=broker-$1 minimum=$((brokers < 3 ? 1 : 2)) from
  ! pid_of "$name" >/dev/null || return 0
  mkdir -p "$dir/$name"
  printf '%s\n' "broker.id=$1" "listeners=PLAINTEXT://127.0.0.1:$(port_of "$name")" "log.dirs=$dir/$name/data" \
    "zookeeper.connect=$(zookeeper_connect)" zookeeper.session.timeout.ms=6000 num.partitions=6 \
    "default.replication.factor=$brokers" "min.insync.replicas=$minimum" "offsets.topic.replication.factor=$brokers" \
    >"$dir/$name/server.properties"
  from=$(($(stat -c %s "$dir/$name.log" 2>/dev/null || echo 0) + 1))
  launch "$name" "$binary" broker "$dir/$name/server.properties"
  await "$name" 60 says_ready "$name" "$from"
}

number() { [[ ${1:-} =~ ^[0-9]+$ ]] && [ "$1" -ge 1 ] && [ "$1" -le "$2" ] || fail "$3 are 1 to $2"; }

needs_zookeeper() {
  command -v java >/dev/null || fail "no java on PATH"
  [ -f "$jar" ] || fail "$jar is missing: apt-get install libzookeeper-java"
}

status() {
  local n pid mode up=
  for n in $(seq "$zookeepers"); do
    pid=$(pid_of "zookeeper-$n") && mode=$(mode_of "$n" || echo "no quorum") || { pid=-; mode=down; }
    printf 'zookeeper %d  127.0.0.1:%-5s  pid %-7s  %s\n' "$n" "$(port_of "zookeeper-$n")" "$pid" "$mode"
  done
  for n in $(seq "$brokers"); do
    if pid=$(pid_of "broker-$n"); then
      mode=up
      if grep -q '^State:[[:space:]]*T' "/proc/$pid/status"; then mode=paused; else up=${up:-$n}; fi
    else
      pid=- mode=down
    fi
    printf 'broker %d     127.0.0.1:%-5s  pid %-7s  %s\n' "$n" "$(port_of "broker-$n")" "$pid" "$mode"
  done
  echo "controller: $(zk_cli get /controller)"
  [ -z "$up" ] || "$binary" topics --bootstrap-server "127.0.0.1:$(port_of "broker-$up")" --describe --exclude-internal
}

[ $# -ge 1 ] || usage
command=$1
shift
brokers=$(count brokers "${BROKERS:-3}")
zookeepers=$(count zookeepers "${ZOOKEEPERS:-3}")
case $command in
  up | start | status)
    # shellcheck source=scripts/binary.sh
    . "$here/binary.sh"
    ;;
esac
case $command in
  up)
    needs_zookeeper
    for n in $(seq "$zookeepers"); do zookeeper_start "$n"; done
    for n in $(seq "$zookeepers"); do await "zookeeper-$n" 60 mode_of "$n" >/dev/null; done
    for n in $(seq "$brokers"); do broker_start "$n"; done
    printf 'export BOOTSTRAP=%s\nexport ZOOKEEPER=%s\n' "$(bootstrap)" "$(zookeeper_connect)" >"$dir/env"
    echo "brokers $(bootstrap), ZooKeeper $(zookeeper_connect); for a shell: . $dir/env"
    ;;
  down)
    # The brokers first, so that they can say goodbye.
    for n in $(seq "$brokers"); do end "broker-$n" TERM; done
    for n in $(seq "$zookeepers"); do end "zookeeper-$n" TERM; done
    ;;
  status) status ;;
  kill) number "${1:-}" "$brokers" brokers; end "broker-$1" KILL ;;
  stop) number "${1:-}" "$brokers" brokers; end "broker-$1" TERM ;;
  start) number "${1:-}" "$brokers" brokers; broker_start "$1" ;;
  pause | resume)
    number "${1:-}" "$brokers" brokers
    pid=$(pid_of "broker-$1") || fail "broker $1 is down"
    if [ "$command" = pause ]; then kill -STOP "$pid"; else kill -CONT "$pid"; fi
    ;;
  zookeeper)
    number "${2:-}" "$zookeepers" "ZooKeeper servers"
    case $1 in
      kill) end "zookeeper-$2" KILL ;;
      start) needs_zookeeper; zookeeper_start "$2"; await "zookeeper-$2" 60 mode_of "$2" >/dev/null ;;
      *) usage ;;
    esac
    ;;
  zkCli) needs_zookeeper; zk_cli "$@" ;;
  *) usage ;;
esac
