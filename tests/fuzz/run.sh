#!/bin/sh
# Runs one libFuzzer target with AddressSanitizer on nightly Rust: run.sh TARGET SECONDS
set -eu
target=$1
seconds=$2
here=$(cd "$(dirname "$0")" && pwd)
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1"
mkdir -p "$here/corpus/$target"
cd "$here"
exec cargo +nightly run --release --target x86_64-unknown-linux-gnu --bin "$target" -- \
    "$here/corpus/$target" -max_total_time="$seconds" -max_len=65536 -timeout=1 -rss_limit_mb=1024
