#!/usr/bin/env bash
# The requests that brokers serve, with the arguments of Kafka's script of this name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
exec "$binary" broker-api-versions "$@"
