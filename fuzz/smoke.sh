#!/bin/sh
# Runs every fuzz target for a while: fuzz/smoke.sh [SECONDS], 20 unless given.
# Needs cargo-fuzz (cargo install cargo-fuzz). Its sanitizer is an unstable flag of the compiler;
# RUSTC_BOOTSTRAP=1 lets a stable toolchain take it, so that no nightly is needed.
set -eu
cd "$(dirname "$0")"
export RUSTC_BOOTSTRAP=1
seconds=${1:-20}
# What is found goes to a copy: the corpora in the repository stay small and chosen.
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in core_calls frame_wire record_file plan_text storage_file; do
    cp -r "corpus/$target" "$found/$target"
    echo "$target for $seconds s" >&2
    cargo fuzz run "$target" "$found/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -print_final_stats=1 2>&1 |
        tee "$found/log" | grep -E "stat::number_of_executed|SUMMARY|panicked|cov: .*DONE" || true
    if ! grep -q "Done .* runs in" "$found/log"; then
        tail -40 "$found/log" >&2
        exit 1
    fi
done
