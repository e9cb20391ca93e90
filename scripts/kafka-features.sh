#!/usr/bin/env bash
# Levels of features of a cluster, with the arguments of Kafka's script of this name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/binary.sh
. "$here/binary.sh"
exec "$binary" features "$@"
