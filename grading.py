#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""The lab's grader: runs scripts through master.py and compares what it printed.

One source for Python 2.7 and for Python 3 from 3.8, standard library only.
Each case has a loopback address to itself, so that several cases, and several
graders on one machine, do not meet.
"""
from __future__ import print_function

import argparse
import difflib
import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))     # also when started through a link
KEPT = os.path.join(HERE, "test_output")

# How master.py begins a line that reports an error; a hint follows on the next.
LAB_WORDS = (b"Invalid command: ", b"Invalid pid: ", b"Invalid port: ", b"Invalid Response: ",
             b"Master or testcase error!", b"Timeout!")
GRACE = 30          # seconds beyond master.py's own limit before it is killed
SHOWN_LINES = 40    # of a difference, and
SHOWN_CHARS = 160   # of one of its lines

HELP = """\
A case is NAME.input, commands for master.py, and NAME.output, what it must
print; white space at the ends of the whole is left aside. A case that provokes
errors has NAME.errors too: how the errors in the lab's words must begin, one a
line, that master.py reports in this order, ending with a status other than 0.

What was printed is kept in test_output/, as NAME.output and NAME.stderr (in
run-K/ there for the K-th run of --repeat). The exit status is 0 only when
every case is correct.

Examples:
  python3 grading.py                         every case of tests/
  python3 grading.py --jobs 4 --runtime smol
  python3 grading.py --case message --master-debug
"""

now = getattr(time, "monotonic", time.time)

# Held while a process is made and while a socket is: a process that Python 2
# makes in between would inherit the socket, and keep its port taken.
SPAWNING = threading.Lock()


class Addresses(object):
    """Hands out loopback addresses nobody else uses.

    An address is taken by listening on the port below the grid's on it: a
    second grader, of whatever checkout, then passes it over.
    """

    def __init__(self, base_port):
        self.base_port = base_port
        self.next = os.getpid() * 256

    def take(self):
        """A free address and the socket that holds it."""
        with SPAWNING:
            for _ in range(4096):
                place, self.next = self.next, self.next + 1
                # 127.0.x.y stays free for people; no part is 0 or 255.
                host = "127.%d.%d.%d" % (1 + (place >> 16) % 254, 1 + (place >> 8) % 254, 1 + place % 254)
                holder = self.listen(host, self.base_port - 1)
                if holder is None:
                    continue
                free = self.listen(host, self.base_port)
                if free is not None:
                    free.close()
                    return host, holder
                holder.close()
        raise RuntimeError("no free loopback address found")

    @staticmethod
    def listen(host, port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        fcntl.fcntl(listener, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        try:
            listener.bind((host, port))
            listener.listen(1)
            return listener
        except socket.error as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                return None
            raise


class Case(object):
    """One run of one script."""

    def __init__(self, name, folder, kept, options):
        self.name, self.folder, self.kept, self.options = name, folder, kept, options
        self.faults = []
        self.note = None
        self.done = threading.Event()

    def read(self, ending):
        """The bytes of a file of this case, or None without one."""
        try:
            with open(os.path.join(self.folder, self.name + ending), "rb") as source:
                return source.read()
        except IOError:
            return None

    def run(self, addresses, stopping):
        """Runs master.py on the script, and judges."""
        paths = [os.path.join(self.kept, self.name + ending) for ending in (".output", ".stderr")]
        # Under a name of our own while it grows: two graders may share the folder.
        growing = ["%s.%d" % (path, os.getpid()) for path in paths]
        host, holder = addresses.take()
        environment = dict(os.environ, CHATROOM_HOST=host)
        if self.options.runtime:
            environment["CHATROOM_RUNTIME"] = self.options.runtime
        command = [self.options.python, os.path.join(HERE, "master.py")]
        if self.options.master_debug:
            command.append("debug")
        for option in ("lab", "vote"):
            if getattr(self.options, option):
                command.extend(["--" + option, getattr(self.options, option)])
        until = now() + self.options.timeout + GRACE
        try:
            with open(os.path.join(self.folder, self.name + ".input"), "rb") as source, \
                    open(growing[0], "w+b") as out, open(growing[1], "w+b") as err:
                with SPAWNING:
                    master = subprocess.Popen(command, stdin=source, stdout=out, stderr=err,
                                              env=environment)
                pause = 0.002
                while master.poll() is None:
                    if stopping.is_set() or now() > until:
                        self.end(master)
                        self.faults.append("master.py did not end and was ended by the grader")
                    time.sleep(pause)
                    pause = min(2 * pause, 0.02)
                for stream in (out, err):
                    stream.seek(0)
                self.judge(master.returncode, out.read(), err.read())
            for old, new in zip(growing, paths):
                os.rename(old, new)
        finally:
            holder.close()

    @staticmethod
    def end(master):
        """Has master.py end its servers; kills it if it does not."""
        master.send_signal(signal.SIGTERM)
        until = now() + 10
        while master.poll() is None and now() < until:
            time.sleep(0.02)
        if master.poll() is None:
            master.kill()
            master.wait()

    def judge(self, status, out, err):
        expected = self.read(".output")
        if expected is None:
            self.faults.append("%s.output is missing beside %s.input" % (self.name, self.name))
        elif LogsExpected.reads(expected):
            self.faults.extend(LogsExpected(expected).faults(out))
        elif out.strip() != expected.strip():
            self.faults.extend(difference(expected, out, "expected", "printed"))
        errors = self.read(".errors")
        if errors is not None:
            reported = [line for line in err.split(b"\n") if line.startswith(LAB_WORDS)]
            wanted = errors.strip().split(b"\n")
            if len(wanted) != len(reported) or not all(map(bytes.startswith, reported, wanted)):
                self.faults.extend(difference(errors, b"\n".join(reported), "errors expected", "errors reported"))
            if status == 0:
                self.faults.append("master.py reported errors but ended with status 0")
        elif status != 0:
            self.note = "master.py ended with status %d" % status
            if self.options.strict:
                self.faults.append(self.note)
        if self.faults or self.note:
            self.said = [shown(line) for line in err.split(b"\n") if line][:SHOWN_LINES]


class LogsExpected(object):
    """What a case of `--lab paxos` expects: so many logs, all equal, that have every mandatory
    word and no other than those and the optional ones. Its form is that of the lab, one line:
    {'count': 2, 'mandatory': 'A,B', 'optional': 'C'}
    """

    FORM = re.compile(br"\{'count': ([0-9]+), 'mandatory': '([^']*)', 'optional': '([^']*)'\}\Z")

    def __init__(self, text):
        count, mandatory, optional = self.FORM.match(text.strip()).groups()
        self.count = int(count)
        self.mandatory, self.optional = self.words(mandatory), self.words(optional)

    @classmethod
    def reads(cls, text):
        return cls.FORM.match(text.strip()) is not None

    @staticmethod
    def words(text):
        return set(word for word in text.strip().split(b",") if word)

    def faults(self, out):
        """What is wrong with what was printed, a line each."""
        logs = [line.rstrip() for line in out.split(b"\n") if line.strip()]
        faults = []
        if len(logs) != self.count:
            faults.append("%d logs were printed: expected %d" % (len(logs), self.count))
        for log in logs:
            if log != logs[0]:
                faults.append(u"two logs differ: %s and %s" % (shown(logs[0]), shown(log)))
                break
        for log in logs[:1]:
            kind, _, text = log.partition(b" ")
            if kind != b"chatLog":
                faults.append(u"no log: %s" % shown(log))
            words = self.words(text)
            missing = self.mandatory - words
            other = words - self.mandatory - self.optional
            if missing:
                faults.append(u"the log lacks %s" % shown(b",".join(sorted(missing))))
            if other:
                faults.append(u"nobody said %s" % shown(b",".join(sorted(other))))
        return faults


def shown(line):
    """A line as text, cut where it is long."""
    text = line.decode("utf-8", "replace")
    if len(text) > SHOWN_CHARS:
        text = text[:SHOWN_CHARS] + u"... (%d characters)" % len(text)
    return text


def difference(expected, printed, one, other):
    """The first lines of a unified difference of two texts."""
    lines = difflib.unified_diff(*[
        [line.decode("utf-8", "backslashreplace" if sys.version_info[0] > 2 else "replace")
         for line in text.strip().split(b"\n")] for text in (expected, printed)],
        fromfile=one, tofile=other, lineterm="")
    return [shown(line.encode("utf-8")) for _, line in zip(range(SHOWN_LINES), lines)]


def tell(text, number=1):
    """Prints text of any script, whatever encoding the stream has.

    Ends the run if that fails, silently if the reader has left.
    """
    data = text.encode("utf-8") + b"\n"
    try:
        while data:
            data = data[os.write(number, data):]
    except OSError as error:
        sys.exit(1 if error.errno == errno.EPIPE else
                 "grading.py: cannot print: %s" % os.strerror(error.errno))


def work(cases, lock, addresses, stopping):
    """Runs cases until none is left."""
    while not stopping.is_set():
        with lock:
            case = next(cases, None)
        if case is None:
            return
        try:
            case.run(addresses, stopping)
        except Exception as error:      # a case that cannot be run is a wrong one
            case.faults.append("the case could not be run: %s" % error)
        finally:
            case.done.set()


def grade(cases, options):
    """Runs all cases, telling of each in order; how many were right and wrong."""
    stopping, lock, pending = threading.Event(), threading.Lock(), iter(cases)
    addresses = Addresses(options.base_port)
    threads = [threading.Thread(target=work, args=(pending, lock, addresses, stopping))
               for _ in range(min(options.jobs, len(cases)))]
    wrong = 0
    try:
        for thread in threads:
            thread.daemon = True
            thread.start()
        for case in cases:
            while not case.done.wait(0.5):
                pass    # a wait without end would keep Ctrl-C out under Python 2
            wrong += bool(case.faults)
            tell(u"%s %s" % (case.name, "wrong" if case.faults else "correct"))
            for line in case.faults:
                tell(u"    " + line)
            if case.note and not case.faults:
                tell(u"%s: %s" % (case.name, case.note), 2)
            if case.faults and getattr(case, "said", None):
                tell(u"    said on standard error:")
                for line in case.said:
                    tell(u"      " + line)
    except BaseException:
        # Now each thread ends its master, and that one its servers.
        stopping.set()
        for which in ENDING:
            signal.signal(which, signal.SIG_IGN)
        for thread in threads:
            if thread.is_alive():
                thread.join(15)
        raise
    return len(cases) - wrong, wrong


def at_least_one(text):
    if not re.match("0*[1-9][0-9]{0,5}$", text):
        raise argparse.ArgumentTypeError("%r: expected a number from 1" % text)
    return int(text)


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="grading.py", description="Runs every script of a folder through master.py.",
        epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", metavar="DIR", default=os.path.join(HERE, "tests"),
                        help="the folder of the cases (default: tests/ beside this file)")
    parser.add_argument("--runtime", choices=["std", "smol"], help="the servers' runtime")
    parser.add_argument("--lab", choices=["chat", "commit", "paxos"],
                        help="the lab that is played (default: the one whose commands a script has)")
    parser.add_argument("--vote", choices=["command", "length"],
                        help="by what servers of the lab commit vote")
    parser.add_argument("--jobs", type=at_least_one, default=1, metavar="N",
                        help="how many cases run at once (default 1)")
    parser.add_argument("--case", action="append", metavar="NAME",
                        help="only this case; may be given several times")
    parser.add_argument("--repeat", type=at_least_one, default=1, metavar="N",
                        help="run every case N times (default 1)")
    parser.add_argument("--python", default=sys.executable, metavar="PATH",
                        help="the interpreter for master.py (default: this one)")
    parser.add_argument("--master-debug", action="store_true",
                        help="run `master.py debug` and keep what it tells")
    parser.add_argument("--strict", action="store_true",
                        help="a status of master.py other than 0 makes a case without"
                             " NAME.errors wrong, whatever was printed")
    parser.add_argument("--no-build", action="store_true", help="do not run ./build first")
    options = parser.parse_args(argv)
    try:
        options.timeout = float(os.environ.get("CHATROOM_TIMEOUT") or 120)
    except ValueError:
        parser.error("CHATROOM_TIMEOUT must be a number of seconds")
    try:
        options.base_port = int(os.environ.get("CHATROOM_BASE_PORT") or 3000)
    except ValueError:
        parser.error("CHATROOM_BASE_PORT must be a number")
    return options


def collect(options):
    """The cases to run, in the order in which they are told of."""
    found = os.listdir(options.dir) if os.path.isdir(options.dir) else []
    names = sorted(name[:-len(".input")] for name in found
                   if name.endswith(".input") and not name.startswith("."))
    if options.case:
        wanted = [name[:-len(".input")] if name.endswith(".input") else name for name in options.case]
        missing = [name for name in wanted if name not in names]
        if missing:
            sys.exit("grading.py: no case %s in %s: a case is a file NAME.input"
                     % (", ".join(missing), options.dir))
        names = [name for name in names if name in wanted]
    if not names:
        sys.exit("grading.py: no case in %s: a case is a file NAME.input" % options.dir)
    cases = []
    for run in range(1, options.repeat + 1):
        kept = os.path.join(KEPT, "run-%d" % run) if options.repeat > 1 else KEPT
        try:
            os.makedirs(kept)
        except OSError as error:
            if error.errno != errno.EEXIST:
                sys.exit("grading.py: what is printed is kept in %s, which cannot be made: %s"
                         % (kept, os.strerror(error.errno)))
        cases.extend(Case(name, options.dir, kept, options) for name in names)
    return cases


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
TOLD = []   # the signal that ends the run


def told(which, _frame):
    """Ends the run at the first signal; later ones must not interrupt the ending."""
    if not TOLD:
        TOLD.append(which)
        sys.exit(128 + which)


def main(argv):
    options = arguments(argv)
    for number, name in enumerate(("input", "output", "error")):
        try:
            os.fstat(number)
        except OSError:     # what is opened next would take its place
            sys.exit("grading.py: standard %s is closed: give it a file, such as /dev/null" % name)

    for which in ENDING:
        # Whoever started us in the background may want us to live on.
        if which == signal.SIGTERM or signal.getsignal(which) != signal.SIG_IGN:
            signal.signal(which, told)
    build = os.path.join(HERE, "build")
    if not options.no_build and os.path.exists(build):
        if subprocess.call([build], stdout=sys.stderr) != 0:
            sys.exit("grading.py: ./build failed: what it says of the reason is above")
    right, wrong = grade(collect(options), options)
    tell(u"%d passed, %d failed" % (right, wrong))
    return 0 if wrong == 0 else 1


if __name__ == "__main__":
    if os.getpid() == 1:
        import master
        master.as_init()
    sys.exit(main(sys.argv[1:]))
