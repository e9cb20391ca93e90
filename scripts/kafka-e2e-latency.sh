#!/usr/bin/env bash
# One record at a time from send to read, with the arguments and lines of Kafka's script of this name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
exec "$binary" end-to-end-latency "$@"
