#!/usr/bin/env bash
# Settings of topics, brokers, users, clients and addresses, with the arguments of Kafka's script of this name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
exec "$binary" configs "$@"
