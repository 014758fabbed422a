#!/bin/sh
# Measures everything in one sitting and puts tables and plots into docs/: a bit over an hour.
# Further options go to chatroom-bench (--quick, --only thr,lat, --runs 3); parts that were not
# measured stay as they are. Wants a machine that does nothing else.
set -eu
cd "$(dirname "$0")/.."
work=target/report
mkdir -p "$work/minichat"

./build
cargo build --release --locked -p chatroom-bench
bench=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/chatroom-bench

# The ceiling: a server without limits or checks.
cc -O2 -o "$work/minichat/minichat" bench/minichat.c
printf '#!/bin/sh\nexec ./minichat "$@"\n' >"$work/minichat/process"
chmod +x "$work/minichat/process"

set -- "$bench" --server "minichat=$work/minichat" --json "$work/figures.json" \
    --svg docs/performance --document docs/PERFORMANCE.md --table "$@"
# In a network of its own, where no port is taken; as it is, where that is not allowed.
if unshare -rn ip link set lo up 2>/dev/null; then
    exec unshare -rn sh -c 'ip link set lo up && exec "$@"' sh "$@"
fi
exec "$@"
