#!/usr/bin/env bash
# The classes of Kafka that this program has a drop-in for, by the names that Kafka's script of this name takes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
[ $# -ge 1 ] || { echo "USAGE: $0 CLASS [OPTION]..." >&2; exit 1; }
class=$1
shift
case $class in
  org.apache.kafka.tools.ProducerPerformance) exec "$binary" producer-perf-test "$@" ;;
  org.apache.kafka.tools.ConsumerPerformance|kafka.tools.ConsumerPerformance) exec "$binary" consumer-perf-test "$@" ;;
  org.apache.kafka.tools.EndToEndLatency|kafka.tools.EndToEndLatency) exec "$binary" end-to-end-latency "$@" ;;
  *) echo "$class: there is ProducerPerformance, ConsumerPerformance and EndToEndLatency of org.apache.kafka.tools" >&2; exit 1 ;;
esac
