#!/usr/bin/env bash
# Write records at a rate, with the arguments and lines of Kafka's script of this name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
exec "$binary" producer-perf-test "$@"
