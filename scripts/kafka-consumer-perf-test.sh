#!/usr/bin/env bash
# Read records as fast as they come, with the arguments and lines of Kafka's script of this name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
exec "$binary" consumer-perf-test "$@"
