#!/usr/bin/env python3
"""Compares the instruction counts of the core's hot paths with the committed ones.

    python3 bench/instructions.py             exit 1 if a count is beyond the tolerance
    python3 bench/instructions.py --update    take today's counts as the committed ones

Needs valgrind, on x86-64 Linux; installs gungraun-runner in the version of the crate. The counts
belong to the compiler that rust-toolchain or CI names: another one may move all of them. memchr is
built without its run-time choice of instructions here, so they do not depend on the processor.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
COMMITTED = HERE / "instructions.txt"
TOLERANCE = 3.0  # percent
# Instructions by which a count differs with the folder that the project is built in, and no more.
SLACK = 32
PACKAGE = "chatroom-bench"


def fail(sentence, hint):
    sys.exit("instructions.py: %s\n  hint: %s" % (sentence, hint))


def crate_version():
    lock = (ROOT / "Cargo.lock").read_text()
    found = re.search(r'name = "gungraun"\nversion = "([^"]+)"', lock)
    if not found:
        fail("Cargo.lock has no gungraun.", "it is a dependency of %s" % PACKAGE)
    return found.group(1)


def ensure_runner():
    """The runner has to be of the crate's own version."""
    if not shutil.which("valgrind"):
        fail("valgrind is not installed.", "apt-get install valgrind")
    version = crate_version()
    runner = shutil.which("gungraun-runner")
    if runner:
        said = subprocess.run([runner, "--version"], stdout=subprocess.PIPE, check=False)
        if said.stdout.decode().split()[-1:] == [version]:
            return
    command = ["cargo", "install", "--locked", "--force", "--version", version, "gungraun-runner"]
    print(" ".join(command), flush=True)
    # Elsewhere than in the project: its lock file and build folder have no part in this.
    if subprocess.run(command, cwd=HERE.parent.parent, check=False).returncode != 0:
        fail("gungraun-runner %s could not be installed." % version, "see above")


def measure():
    """Counts by name, from one run."""
    command = ["cargo", "bench", "--locked", "-p", PACKAGE, "--bench", "instructions",
               "--", "--output-format=json"]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        fail("the benchmarks failed.", "run %s" % " ".join(command))
    counts = {}
    for line in run.stdout.decode().splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            counts[name_of(found)] = instructions_of(found)
    if not counts:
        fail("the benchmarks printed no counts.", "run %s" % " ".join(command))
    return counts


def name_of(found):
    return "%s.%s" % (found["function_name"], found["id"])


def instructions_of(found):
    total = found["profiles"][0]["data"]["total"]
    return int(total["metrics"]["Ir"]["values"]["new"])


def committed():
    counts = {}
    for line in COMMITTED.read_text().splitlines():
        if line and not line.startswith("#"):
            name, count = line.split()
            counts[name] = int(count)
    return counts


def compiler():
    return subprocess.check_output(["rustc", "--version"], cwd=ROOT).decode().strip()


def update(counts):
    with COMMITTED.open("w") as out:
        out.write("# Instructions of the core's hot paths: bench/instructions.py --update\n")
        out.write("# %s, %s\n" % (compiler(), os.uname().machine))
        for name, count in counts.items():
            out.write("%-28s %9d\n" % (name, count))


def compare(counts, before):
    """Prints a table; returns what is beyond the tolerance."""
    beyond = []
    print("%-28s %10s %10s %8s" % ("", "committed", "now", "change"))
    for name in list(before) + [name for name in counts if name not in before]:
        if name not in counts or name not in before:
            beyond.append(name)
            print("%-28s %10s %10s  %s" % (name, before.get(name, "-"), counts.get(name, "-"),
                                           "only on one side"))
            continue
        change = 100.0 * (counts[name] - before[name]) / before[name]
        if abs(change) > TOLERANCE and abs(counts[name] - before[name]) > SLACK:
            beyond.append(name)
        print("%-28s %10d %10d %+7.2f%%%s" % (name, before[name], counts[name], change,
                                              "  <--" if name in beyond else ""))
    return beyond


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--update", action="store_true", help="write bench/instructions.txt")
    options = parser.parse_args()
    if not options.update and not COMMITTED.exists():
        fail("there are no committed counts.", "--update makes them")
    ensure_runner()
    counts = measure()
    if options.update:
        update(counts)
        print("%d counts written" % len(counts))
        return
    beyond = compare(counts, committed())
    if beyond:
        fail("%d counts changed by more than %g %%." % (len(beyond), TOLERANCE),
             "find out why; if it is meant, run bench/instructions.py --update and commit")


if __name__ == "__main__":
    main()
