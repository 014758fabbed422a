#!/usr/bin/env bash
# Opens the simulator's diagrams in headless Chromium and uses them: page.py says what must hold.
# Then a page of another origin tries to command live servers: web.py.
# Needs Debian's packages chromium and chromium-driver; says so and ends well where they are missing,
# unless CHATROOM_BROWSER=must. With a folder as argument, it leaves screenshots there.
set -euo pipefail
cd "$(dirname "$0")/../.."

for program in chromedriver chromium; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "tests/browser: skipped, for there is no $program (apt-get install chromium chromium-driver)"
        [ "${CHATROOM_BROWSER:-}" != must ]
        exit
    fi
done

pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
cargo build --quiet --locked -p chatroom-worlds --example diagram
diagram=${CARGO_TARGET_DIR:-target}/debug/examples/diagram
for file in small.html small.svg wide.html large.html large.svg; do
    "$diagram" "${file%.*}" "$pages/$file"
done
python3 tests/browser/page.py "$pages" "$@"

cargo build --quiet --locked --bin chatroom
python3 tests/browser/web.py "${CARGO_TARGET_DIR:-target}/debug/chatroom"
