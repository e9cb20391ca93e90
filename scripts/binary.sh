# Sourced by the scripts that run the program: sets `binary`, building it only where there is none.
# RINGDAW_BIN names another one.

if [ -n "${RINGDAW_BIN:-}" ]; then
  binary=$RINGDAW_BIN
else
  binary_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  binary=${CARGO_TARGET_DIR:-$binary_root/target}/release/ringdaw
  if [ ! -x "$binary" ]; then
    echo "no $binary yet: building it" >&2
    (cd "$binary_root" && cargo build --release --locked >&2) || { echo "the build failed" >&2; exit 1; }
  fi
fi
[ -x "$binary" ] || { echo "$binary is not a program" >&2; exit 1; }
