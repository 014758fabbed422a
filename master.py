#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""The lab's master: starts servers, passes commands to them, prints replies.

One source for Python 2.7 and for Python 3 from 3.8, standard library only.
One thread: every wait is a poll with a deadline, so the time limit of a run
holds whatever a server or a reader does. Text is bytes from end to end; nothing
here decodes what a user or a server wrote. What only a person at a terminal
needs is in terminal.py.
"""
from __future__ import print_function

import argparse
import binascii
import collections
import errno
import fcntl
import os
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

PY2 = sys.version_info[0] == 2
HERE = os.path.dirname(os.path.realpath(__file__))     # also when started through a link
BINARY = os.path.join(HERE, "target", "release", "chatroom")

BLANKS = b" \t\r\n\x0b\x0c"
RECV_BYTES = 1 << 18
FIRST_PAUSE = 0.001     # a poll that found nothing waits this long, in seconds,
LAST_PAUSE = 0.016      # then twice as long each time, up to this
CRASH_LIMIT = 1.0       # how long `crash` waits for the others to notice
END_LIMIT = 2.0         # how long servers have to end before they are killed
TELL_LIMIT = 2.0        # how long standard error may take what it is told
STOPALL_LIMIT = 10.0    # how long ./stopall may take before it is killed
RAISE_AGAIN = 1.0       # a signal is one with those before it for so long
WRITE_BYTES = 4096      # a pipe that is writable takes so many without a wait
MARK = "LAB_MASTER"     # in the environment of a server: which master started it

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

now = getattr(time, "monotonic", time.time)

COMMANDS = """\
  ID start N PORT     start server ID of a grid of N, its master port PORT (10000-65535)
  ID get              print every message server ID has received
  ID alive            print the ids that server ID believes alive
  ID broadcast TEXT   have server ID send TEXT to every live server
  ID crash            kill server ID (SIGKILL)
  sleep MS            wait so many milliseconds
  exit                end every server and leave
"""

HELP = """\
Commands, one a line on standard input; the end of input is an `exit`, and a
line that begins with # is a comment:
""" + COMMANDS + """
With --lab commit or paxos other commands take their place, which labs.py and
paxos_lab.py list.

Replies go to standard output and nothing else does. Errors go to standard
error. The exit status is 0 only when all went well.

On a terminal `help` lists the commands, Tab completes commands and ids, Ctrl-C
clears a half-typed line or ends a command that waits, and on an empty line it
ends the grid.

Environment, passed on to the servers:
  CHATROOM_HOST       address of every server (default 127.0.0.1)
  CHATROOM_BASE_PORT  link port of server 0 (default 3000)
  CHATROOM_RUNTIME    std or smol
  CHATROOM_TIMEOUT    the default of --timeout

Example:
  python3 master.py < tests/message.input
"""


class LabError(Exception):
    """A failure in the lab's words (bytes), with a hint of our own (text)."""

    def __init__(self, words, hint=""):
        Exception.__init__(self, words)
        self.words = words
        self.hint = hint


class TimeUp(Exception):
    """A wait met its deadline."""


class Gone(Exception):
    """A connection ended; `cut` is what came of an unfinished line."""

    def __init__(self, why, cut=b""):
        Exception.__init__(self, why)
        self.cut = cut


class Signalled(BaseException):
    """The master itself was told to end."""

    def __init__(self, number):
        BaseException.__init__(self, number)
        self.number = number


class Signals(object):
    """What signals tell the master, and when they may interrupt it.

    One that ends the run is raised as Signalled, and further ones are ignored,
    so that nothing interrupts the ending itself; after RAISE_AGAIN seconds in
    which the run has not begun to end it is raised again, since an exception
    can get lost (readline drops those of its completer). Within `with signals:` a
    signal waits for the end of the block.

    For a user at a terminal, SIGINT is a KeyboardInterrupt where the run said
    `interruptible` beforehand, which holds for one interrupt, and nothing elsewhere.
    """

    def __init__(self):
        self.held = False
        self.over = False           # the run ends already: signals change nothing
        self.ending = None          # the number of one that ends the run
        self.raised = None          # when Signalled was raised last
        self.user = False           # SIGINT is a user's
        self.interruptible = False
        self.interrupted = False    # by a SIGINT that waits
        self.half_typed = None      # gives the line being typed, where that can be known
        self.typed = None           # what it gave at the last interrupt

    def catch(self):
        for which in ENDING:
            # Whoever started us in the background may want us to live on.
            if which == signal.SIGTERM or signal.getsignal(which) != signal.SIG_IGN:
                signal.signal(which, self.handle)

    def catch_user(self):
        """Ctrl-C on our terminal is for us, whatever whoever started us ignores."""
        self.user = True
        signal.signal(signal.SIGINT, self.handle)

    def ignore(self):
        """From now on; also by what is started from now on."""
        self.over = True
        for which in ENDING:
            signal.signal(which, signal.SIG_IGN)

    def handle(self, which, _frame):
        # A further signal may come between any two lines here: the call that it
        # makes is the one that raises, and ends this one too.
        if self.over or self.raised is not None and now() < self.raised + RAISE_AGAIN:
            return
        if which == signal.SIGINT and self.user:
            if self.interruptible:
                self.interrupted = self.held
                if not self.held:
                    self.interrupt()
            return
        self.ending = which
        if not self.held:
            self.end()

    def end(self):
        self.raised = now()
        raise Signalled(self.ending)

    def interrupt(self):
        self.interruptible = self.interrupted = False
        self.typed = self.half_typed() if self.half_typed else None
        raise KeyboardInterrupt()

    def __enter__(self):
        self.held = True

    def __exit__(self, *_):
        self.held = False
        if self.ending is not None:
            self.end()
        if self.interrupted:
            self.interrupt()


Command = collections.namedtuple("Command", "verb pid text n port ms")
Command.__new__.__defaults__ = (None,) * 5


def number(field, low, high):
    """The number that `field` writes in plain digits, or None outside low..high."""
    if not re.match(br"[0-9]{1,9}\Z", field):
        return None
    value = int(field)
    return value if low <= value <= high else None


def parse(line):
    """The command that one non-blank line holds; LabError for anything else."""
    line = line.strip(BLANKS)
    if line == b"exit":
        return Command("exit")
    wrong = LabError(b"Invalid command: " + line, "`python3 master.py --help` lists the commands")
    match = re.match(br"(\S+)\s+(.+)\Z", line, re.S)
    if match is None:
        raise wrong
    head, rest = match.groups()
    if head == b"sleep":
        if not re.match(br"[0-9]{1,9}(\.[0-9]{1,9})?\Z", rest):
            raise wrong
        return Command("sleep", ms=float(rest))
    pid = number(head, 0, 10 ** 9)
    if pid is None:
        raise LabError(b"Invalid pid: " + head, "an id is a number from 0")
    # One blank ends the verb; further ones belong to the text.
    verb, text = re.match(br"(\S+)(?:\s(.*))?\Z", rest, re.S).groups()
    if verb in (b"get", b"alive", b"crash") and text is None:
        return Command(verb.decode("ascii"), pid)
    if verb == b"broadcast" and text:
        return Command("broadcast", pid, text=text)
    fields = re.split(br"\s+", text.strip(BLANKS)) if text and verb == b"start" else []
    if len(fields) != 2:
        raise wrong
    n = number(fields[0], 1, 10 ** 9)
    if n is None:
        raise LabError(wrong.words, "a grid has at least 1 server: `ID start N PORT`")
    if pid >= n:
        raise LabError(b"Invalid pid: " + head, "the ids of a grid of %d are 0 to %d" % (n, n - 1))
    port = number(fields[1], 10000, 65535)
    if port is None:
        raise LabError(b"Invalid port: " + fields[1], "a master port is a number from 10000 to 65535")
    return Command("start", pid, n=n, port=port)


def again(call, *arguments):
    """`call(*arguments)`, repeated while a signal interrupts it (Python 2 only)."""
    while True:
        try:
            return call(*arguments)
        except (OSError, IOError, select.error) as error:
            if error.args[0] != errno.EINTR:
                raise


def useless(doing, error):
    """Ends the run as standard input or output failed; silently if its reader has left."""
    sys.exit(1 if error.errno == errno.EPIPE else
             "master.py: cannot %s: %s" % (doing, os.strerror(error.errno)))


def ready(source, until, mask=select.POLLIN):
    """What of `mask` holds for a descriptor or socket before `until`; TimeUp if nothing.
    Its end or its failure counts as all of it."""
    waiting = select.poll()     # select takes no descriptor from 1024 on
    waiting.register(source, mask)
    while True:
        left = until - now()
        for _, events in again(waiting.poll, int(max(0, left) * 1000) + (left > 0)):
            return events & mask or mask
        if left <= 0:
            raise TimeUp()


def write(number, data, until):
    """Writes all of `data` to a descriptor; TimeUp if it is not taken before `until`.
    Nothing stays in a buffer, to fail at the exit."""
    data = memoryview(data)
    while len(data):
        ready(number, until, select.POLLOUT)
        try:
            data = data[again(os.write, number, data[:WRITE_BYTES]):]
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                raise


def standard_error():
    """A descriptor for standard error that never waits, where that can be had.

    A pipe may be shared with servers, which can fill it between the moment it
    is writable and our write. Opened anew it is nonblocking for us alone.
    """
    try:
        if stat.S_ISFIFO(os.fstat(2).st_mode):
            own = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK)
            fcntl.fcntl(own, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            return own
    except OSError:
        pass
    return 2


def pause(length):
    """Sleeps for so many seconds, or less if a signal comes (Python 2 only)."""
    try:
        time.sleep(max(0, length))
    except IOError as error:
        if error.errno != errno.EINTR:
            raise


class Lines(object):
    """Cuts a byte stream into lines of any length, each byte looked at once."""

    def __init__(self):
        self.whole = collections.deque()
        self.pieces = []

    def feed(self, data):
        first, newline, rest = data.partition(b"\n")
        self.pieces.append(first)
        if newline:
            self.whole.append(b"".join(self.pieces))
            more = rest.split(b"\n")
            self.pieces = [more.pop()]
            self.whole.extend(more)

    def unfinished(self):
        """What came after the last newline."""
        rest, self.pieces = b"".join(self.pieces), []
        return rest


def dial(host, port, until):
    """A socket connected to a listener there; socket.error without one."""
    failure = socket.error(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            fcntl.fcntl(made, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            # The system may take as our source port the one on which a server
            # that comes later is to listen. Linux lets a listener with
            # SO_REUSEADDR bind there if every socket that has the port already
            # has it as well and none of them listens: so it takes nothing away
            # from anybody, and two listeners still exclude each other.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.settimeout(max(0.001, until - now()))
            made.connect(address)
            if made.getsockname() == made.getpeername():
                # Nobody listens, and the source port is the one that was dialled:
                # TCP connects such a socket with itself (simultaneous open).
                # Closed by a reset it leaves nothing in the port's way.
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise socket.error(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            return made
        except socket.error as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
    raise failure


class Connection(object):
    """One connection to a server's master port."""

    def __init__(self, host, port, until):
        self.lines = Lines()
        self.ended = None
        self.broadcasts = 0     # sent since the last reply: each may yet be refused
        self.socket = dial(host, port, until)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.ended = self.ended or Gone("the connection was closed")
        self.socket.close()

    def fill(self):
        """Takes in what has come, without waiting."""
        try:
            data = again(self.socket.recv, RECV_BYTES)
        except socket.error as error:
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                self.ended = Gone(os.strerror(error.errno), self.lines.unfinished())
            return
        if data:
            self.lines.feed(data)
        else:
            self.ended = Gone("it closed the connection", self.lines.unfinished())

    def send(self, data, until):
        """Sends all of `data`; reads meanwhile, so that no server waits for us."""
        data = memoryview(data)
        while len(data):
            if self.ended:
                raise self.ended
            if ready(self.socket, until, select.POLLIN | select.POLLOUT) & select.POLLIN:
                self.fill()
            else:
                try:
                    data = data[again(self.socket.send, data):]
                except socket.error as error:
                    if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                        self.ended = Gone(os.strerror(error.errno))

    def line(self, until):
        """The next line, without its newline."""
        while not self.lines.whole:
            if self.ended:
                raise self.ended
            ready(self.socket, until)
            self.fill()
        return self.lines.whole.popleft()


class Server(object):
    """One server process and the master's two connections to it.

    Commands go over one; the master's own questions, whose replies nobody
    shall see, over the other, the probe.
    """

    def __init__(self, command, host, process):
        self.pid = command.pid
        self.n = command.n
        self.address = (host, command.port)
        self.process = process
        self.command = None
        self.probe = None
        self.armed = False      # a command told it to end at some later moment

    def connection(self, kind, until):
        """The open connection of that kind, made anew if there is none."""
        held = getattr(self, kind)
        if held is None or held.ended:
            held = Connection(self.address[0], self.address[1], until)
            setattr(self, kind, held)
        return held

    def drop(self, kind):
        held = getattr(self, kind)
        if held is not None:
            held.close()
            setattr(self, kind, None)

    def signal(self, which):
        try:
            os.killpg(self.process.pid, which)
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.EPERM):
                raise

    def ended(self):
        """Whether the process has ended; kills what that one left behind in its group."""
        if self.process.returncode is None and self.process.poll() is not None:
            self.signal(signal.SIGKILL)
        return self.process.returncode is not None

    def remains(self):
        """Whether the process or another one of its group is there."""
        if self.process.poll() is None:
            return True
        try:
            os.killpg(self.process.pid, 0)
            return True
        except OSError:
            return False

    def end(self):
        status = self.process.poll()
        return "signal %d" % -status if status < 0 else "status %d" % status


def views(servers, until):
    """What each server believes alive: {id: set of ids}, or None without an answer."""
    answers = {}
    try:
        for server in servers:
            try:
                server.connection("probe", until).send(b"alive\n", until)
            except (Gone, TimeUp, socket.error):
                server.drop("probe")
        for server in servers:
            answers[server.pid] = None
            if server.probe is None:
                continue
            try:
                match = re.match(br"alive ([0-9,]+)\s*\Z", server.probe.line(until))
                if match:
                    answers[server.pid] = set(int(i) for i in match.group(1).split(b",") if i)
            except (Gone, TimeUp):
                # A late answer must not be taken for that of the next question.
                server.drop("probe")
    except KeyboardInterrupt:
        for server in servers:
            server.drop("probe")
        raise
    return answers


def poll(condition, until):
    """Waits for `condition()`, in pauses that double; False past `until`."""
    length = FIRST_PAUSE
    while not condition():
        left = until - now()
        if left <= 0:
            return False
        pause(min(length, left))
        length = min(2 * length, LAST_PAUSE)
    return True


def names(pids):
    pids = sorted(pids)
    return "server%s %s" % ("s"[len(pids) == 1:], ", ".join(str(pid) for pid in pids))


class Master(object):
    """The grid as this run knows it; labs.py has those of other labs than the chat's."""

    name = "chat"
    commands = COMMANDS
    own = ("alive", "broadcast")    # by these a script is known as one of this lab

    def __init__(self, options, signals):
        self.host = os.environ.get("CHATROOM_HOST") or "127.0.0.1"
        self.options = options
        self.signals = signals
        self.interactive = os.isatty(0) and os.isatty(1)
        self.errors = standard_error()
        self.unheard = False    # standard error takes nothing
        # No other run has it, nor had it while servers of that one may live.
        random = binascii.hexlify(os.urandom(8)).decode("ascii")
        self.mark = "%d-%s" % (os.getpid(), random)
        self.servers = {}
        self.n = 0              # of the last start
        self.status = 0
        self.began = now()
        self.deadline = self.began + options.timeout

    # What is said

    def say(self, *words):
        lines = [line if isinstance(line, bytes) else line.encode("utf-8") for line in words]
        try:
            write(self.errors, visible(2, b"\n".join(lines + [b""])),
                  now() if self.unheard else now() + TELL_LIMIT)
            self.unheard = False
        except OSError:
            pass    # nobody to tell that nobody listens; the status says it
        except TimeUp:
            self.unheard = True

    def fail(self, words, hint=""):
        self.status = self.status or 1
        self.say(words, *(["  " + hint] if hint else []))

    def debug(self, words):
        if self.options.debug:
            self.say(("[%9.3f] " % (now() - self.began)).encode("ascii") + words)

    # The run

    def run(self, lines):
        """Takes every command of `lines`, then ends the grid; the exit status."""
        forced = True
        try:
            try:
                self.obey_all(lines)
                forced = False
            except TimeUp:
                self.fail("Timeout!", "the run took more than %g s" % self.options.timeout)
            self.signals.ignore()
        except Signalled as told:
            forced, self.status = True, 128 + told.number
        finally:
            try:
                self.signals.ignore()
            except Signalled as told:   # so it was not raised above
                forced, self.status = True, 128 + told.number
            self.stop(forced)
        self.debug(b"Goodbye :)")
        return self.status

    def prepare(self):
        """What comes before the first command."""

    def parse(self, line):
        """The command that one non-blank line holds; LabError for anything else."""
        return parse(line)

    def environment(self):
        """Of the servers."""
        environment = dict(os.environ, **{MARK: self.mark})
        if self.options.debug:
            environment.setdefault("CHATROOM_LOG", "info")
        return environment

    def views(self, servers, until):
        """What each server believes alive."""
        return views(servers, until)

    def obey_all(self, lines):
        self.prepare()
        for line in lines(self):
            line = line.strip(BLANKS)
            if not line or line.startswith(b"#"):
                continue
            self.debug(line[:200])
            if self.interactive:
                self.deadline = now() + self.options.timeout
            if not self.obey(line):
                break
        self.settle()

    def obey(self, line):
        """Does one command; False after an `exit`."""
        try:
            try:
                self.signals.interruptible = True
                if self.interactive and line == b"help":
                    write(1, self.commands.encode("ascii"), self.deadline)
                    return True
                command = self.parse(line)
                if command.verb == "exit":
                    return False
                getattr(self, command.verb)(command)
            finally:
                self.signals.interruptible = False
        except LabError as error:
            self.fail(error.words, self.advice(line, error))
        except KeyboardInterrupt:
            self.say("interrupted")
        except TimeUp:
            if not self.interactive:
                raise
            self.fail("Timeout!", "no answer within %g s" % self.options.timeout)
        return True

    def advice(self, line, error):
        """The hint for an error, which on a terminal names what may have been meant."""
        if not self.interactive or not error.words.startswith((b"Invalid command: ", b"Invalid pid: ")):
            return error.hint
        import terminal
        meant = terminal.suggestion(line)
        if meant and meant.split() != line.decode("utf-8", "replace").split():
            return "did you mean `%s`?" % meant
        return error.hint.replace("`python3 master.py --help`", "`help`")

    def leave(self, number):
        """Ends the run as that signal would."""
        raise Signalled(number)

    def sleep(self, command):
        end = now() + command.ms / 1000.0
        pause(min(end, self.deadline) - now())
        if end > self.deadline:
            raise TimeUp()

    def limit(self, seconds):
        return min(now() + seconds, self.deadline)

    def running(self):
        """The servers whose process has not ended."""
        return [s for _, s in sorted(self.servers.items()) if not s.ended()]

    def server(self, pid):
        """The running server of that id; LabError without one."""
        server = self.servers.get(pid)
        if server is None:
            raise LabError(b"Master or testcase error!",
                           "server %d is not running: `%d start N PORT` starts it" % (pid, pid))
        if server.ended():
            self.forget(server)
            raise LabError(b"Master or testcase error!",
                           "server %d has ended by itself with %s" % (pid, server.end()))
        return server

    def forget(self, server):
        server.drop("command")
        server.drop("probe")
        self.servers.pop(server.pid, None)

    # The commands

    def start(self, command):
        pid, port = command.pid, command.port
        if pid in self.servers:
            try:
                self.server(pid)
            except LabError as error:
                self.fail(error.words, error.hint)
            else:
                raise LabError(("Invalid pid: %d" % pid).encode("ascii"),
                               "server %d is already running: crash it first" % pid)
        if self.taken(port):
            raise LabError(("Invalid port: %d" % port).encode("ascii"),
                           "something already listens on %s:%d: end it (./stopall), or give another"
                           " port%s" % (self.host, port, self.another_host()))
        self.compare_sizes(command)
        began = now()
        with self.signals:      # no server may be started and not be known
            server = self.servers[pid] = Server(command, self.host, self.spawn(command))
        self.n = command.n
        unsettled = set()
        until = self.limit(self.options.start_limit)

        def operational():
            if server.ended():
                self.forget(server)
                raise LabError(b"Master or testcase error!",
                               "server %d ended with %s before it served: what it says of"
                               " the reason is on standard error%s"
                               % (pid, server.end(), self.link_port_hint(pid)))
            try:
                server.connection("command", until)
            except socket.error:
                return False
            running = self.running()
            if not unsettled:
                unsettled.update(s.pid for s in running)
            unsettled.intersection_update(s.pid for s in running)
            asked = [s for s in running if s.pid in unsettled]
            wanted = set(s.pid for s in running)
            for other, view in self.views(asked, until).items():
                if view and (wanted <= view if other == pid else pid in view):
                    unsettled.discard(other)
            return not unsettled

        if poll(operational, until):
            self.debug(("server %d operational after %.1f ms" % (pid, (now() - began) * 1000)).encode())
            return
        if now() >= self.deadline:
            raise TimeUp()
        if server.command is None:
            why = "it does not accept connections on port %d" % port
        elif unsettled == set([pid]):
            why = "it does not list every running server"
        else:
            why = "not listed by %s" % names(unsettled - set([pid]))
        self.fail("server %d is not operational after %g s: %s" % (pid, self.options.start_limit, why))

    def taken(self, port):
        """Whether something listens there, which would be taken for the new server."""
        try:
            Connection(self.host, port, self.limit(1.0)).close()
            return True
        except socket.error:
            return False

    def another_host(self):
        """Advice for when a port is taken, on loopback."""
        if not self.host.startswith("127.") and self.host != "localhost":
            return ""
        other = "127.0.0.3" if self.host == "127.0.0.2" else "127.0.0.2"
        return "; CHATROOM_HOST=%s gives the grid an address of its own" % other

    def link_port_hint(self, pid):
        """Advice for when a server did not start since its link port is taken."""
        try:
            port = int(os.environ.get("CHATROOM_BASE_PORT") or 3000) + pid
        except ValueError:
            return ""
        if not 0 < port < 65536 or not self.taken(port):
            return ""
        return "; something listens on its link port, %s:%d%s" % (self.host, port, self.another_host())

    def compare_sizes(self, command):
        """Warns of an N other than that of the grid that runs."""
        others = [s for s in self.running() if s.n != command.n]
        if others:
            self.say("warning: server %d is started for a grid of %d, but %s for one of %d:"
                     " all servers of a grid need the same N"
                     % (command.pid, command.n, names(s.pid for s in others), others[0].n))

    def spawn(self, command):
        own_session = {"preexec_fn": os.setsid} if PY2 else {"start_new_session": True}
        program = os.path.join(HERE, "process")
        try:
            with open(os.devnull, "r+b") as null:
                # Our sockets close on exec, so there is no table of descriptors to walk.
                return subprocess.Popen(
                    [program, str(command.pid), str(command.n), str(command.port)],
                    stdin=null, stdout=2 if self.options.debug else null,
                    env=self.environment(), close_fds=False, **own_session)
        except OSError as error:
            raise LabError(b"Master or testcase error!", "%s: %s" % (program, error.strerror))

    def get(self, command):
        self.show(self.ask(command.pid, b"get", b"messages"))

    def alive(self, command):
        self.show(self.ask(command.pid, b"alive", b"alive"))

    def show(self, reply):
        """Prints a reply as it came, if one came; to a terminal so that it obeys nothing in it."""
        try:
            write(1, b"" if reply is None else visible(1, reply) + b"\n", self.deadline)
        except OSError as error:
            useless("print", error)

    def ask(self, pid, request, kind):
        """The reply to a request; None instead of one of no known kind, which is told."""
        server = self.server(pid)

        def exchange(connection):
            connection.send(request + b"\n", self.deadline)
            while True:
                line = connection.line(self.deadline)
                refused, connection.broadcasts = connection.broadcasts, max(0, connection.broadcasts - 1)
                if line.split(b" ", 1)[0] == kind:
                    connection.broadcasts = 0
                    return line
                # A line of another kind may refuse an earlier broadcast; with
                # none open it is the answer to this request.
                self.fail(b"Invalid Response: " + line)
                if not refused:
                    return None

        return self.over_command(server, exchange)

    def broadcast(self, command):
        def exchange(connection):
            connection.send(b"broadcast " + command.text + b"\n", self.deadline)
            connection.broadcasts += 1

        self.over_command(self.server(command.pid), exchange)

    def over_command(self, server, exchange):
        """What `exchange` makes of the command connection; tells how that can fail."""
        pid = server.pid
        try:
            return exchange(server.connection("command", self.limit(1.0)))
        except (TimeUp, KeyboardInterrupt):
            server.drop("command")      # a late reply would answer the next request
            raise
        except Gone as gone:
            server.drop("command")
            poll(server.ended, self.limit(0.1))
            why = "the connection to server %d ended: %s" % (pid, gone)
            if server.ended():
                self.forget(server)
                why = "server %d has ended by itself with %s" % (pid, server.end())
            if gone.cut:
                raise LabError(b"Invalid Response: " + gone.cut, "the reply was cut short: " + why)
            raise LabError(b"Master or testcase error!", why)
        except socket.error as error:
            raise LabError(b"Master or testcase error!",
                           "no connection to server %d on port %d: %s" % (pid, server.address[1], error))

    def kill(self, server):
        server.signal(signal.SIGKILL)
        again(server.process.wait)

    def crash(self, command):
        server = self.server(command.pid)
        began = now()
        with self.signals:
            self.kill(server)
            self.forget(server)
        unaware = set(s.pid for s in self.running())
        until = self.limit(CRASH_LIMIT)

        def noticed():
            asked = [s for s in self.running() if s.pid in unaware]
            unaware.intersection_update(s.pid for s in asked)
            for other, view in self.views(asked, until).items():
                if view and command.pid not in view:
                    unaware.discard(other)
            return not unaware

        if poll(noticed, until):
            self.debug(("crash of server %d noticed after %.1f ms"
                        % (command.pid, (now() - began) * 1000)).encode())
        elif now() >= self.deadline:
            raise TimeUp()
        else:
            self.fail("server %d is still listed after %g s by %s"
                      % (command.pid, CRASH_LIMIT, names(unaware)))

    # The end

    def settle(self):
        """Learns who ended by itself, and what became of broadcasts that no later reply has
        vouched for."""
        for pid in sorted(self.servers):
            try:
                server = self.server(pid)
                if server.command is not None and server.command.broadcasts:
                    self.ask(pid, b"alive", b"alive")
            except LabError as error:
                self.fail(error.words, error.hint)

    def stop(self, forced):
        """Ends every server, kindly unless `forced`, and runs ./stopall. No signal interrupts this."""
        servers = self.running()
        for server in servers:
            if not forced:
                server.signal(signal.SIGTERM)
                server.signal(signal.SIGCONT)
            # A server in good order waits a while for its masters to leave.
            server.drop("command")
            server.drop("probe")
        if not forced:
            poll(lambda: not any(s.remains() for s in servers), now() + END_LIMIT)
        for server in servers:
            left = server.process.poll() is None
            if server.remains():
                server.signal(signal.SIGKILL)
                again(server.process.wait)
            if not forced and not left and server.process.poll() not in (0, -signal.SIGTERM):
                self.fail("Master or testcase error!",
                          "server %d was told to end, and did with %s" % (server.pid, server.end()))
            self.forget(server)
        self.stop_all()

    def stop_all(self):
        """Runs ./stopall, for what servers of ours left outside their groups.

        Ours ends only what bears our mark: others run servers of this checkout too.
        """
        program = os.path.join(HERE, "stopall")
        if not os.access(program, os.X_OK):
            return
        try:
            with open(os.devnull, "r+b") as null:
                stopall = subprocess.Popen([program], stdin=null, stdout=2, close_fds=False,
                                           env=dict(os.environ, **{MARK: self.mark}))
        except OSError as error:
            self.fail("%s: %s" % (program, error.strerror))
            return
        if not poll(lambda: stopall.poll() is not None, now() + STOPALL_LIMIT):
            stopall.kill()
            again(stopall.wait)
            self.fail("./stopall did not end within %g s and was killed" % STOPALL_LIMIT)


def visible(number, data):
    """What to write for `data` to a descriptor: as it is, or on a terminal without its controls."""
    if not os.isatty(number):
        return data
    import terminal
    return terminal.visible(data)


def piped(master, ahead=(b"", False)):
    """The lines of standard input, whatever their length, up to the deadline; what was read `ahead`
    first, and whether that was all."""
    lines = Lines()
    lines.feed(ahead[0])
    while True:
        while lines.whole:
            yield lines.whole.popleft()
        if ahead[1]:
            yield lines.unfinished()
            return
        ready(0, master.deadline)
        try:
            data = again(os.read, 0, RECV_BYTES)
        except OSError as error:
            useless("read commands", error)
        if not data:
            yield lines.unfinished()
            return
        lines.feed(data)


def typed(master):
    """The lines of a user at a terminal."""
    import terminal
    return terminal.typed(master)


def seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 10 ** 6:
        raise argparse.ArgumentTypeError("%r: expected a number of seconds above 0" % text)
    return value


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="master.py", description="Runs a grid of chat servers by commands from standard input.",
        epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("debug", nargs="?", choices=["debug"],
                        help="tell on standard error what happens and when, servers included")
    parser.add_argument("--lab", choices=["chat", "commit", "paxos"],
                        help="which lab's commands are given (default: CHATROOM_PROTOCOL, or the lab"
                             " whose commands the script has)")
    parser.add_argument("--vote", choices=["command", "length"],
                        help="by what servers of the lab commit vote (default: a first line `vote"
                             " length`, or CHATROOM_VOTE, or command)")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS",
                        default=os.environ.get("CHATROOM_TIMEOUT") or "120",
                        help="end with `Timeout!` after so long: the whole run, or at a"
                             " terminal one command (default 120)")
    parser.add_argument("--start-limit", type=seconds, metavar="SECONDS", default="3",
                        help="how long a server has to become operational (default 3)")
    return parser.parse_args(argv)


def built():
    """Builds the server where it is missing; False if that failed."""
    build = os.path.join(HERE, "build")
    if os.path.exists(BINARY) or not os.path.exists(build):
        return True
    print("master.py: target/release/chatroom is missing, so ./build runs first (once)", file=sys.stderr)
    if subprocess.call([build], stdin=open(os.devnull), stdout=sys.stderr) == 0:
        return True
    print("master.py: ./build failed: what it says of the reason is above", file=sys.stderr)
    return False


def main(argv):
    options = arguments(argv)
    for number, name in enumerate(("input", "output", "error")):
        try:
            os.fstat(number)
        except OSError:     # what is opened next would take its place
            sys.exit("master.py: standard %s is closed: give it a file, such as /dev/null" % name)

    signals = Signals()
    try:
        signals.catch()
        if not built():
            return 1
        # labs.py extends what stands here, also where this is no module.
        sys.modules.setdefault("master", sys.modules[__name__])
        import labs
        ahead = (b"", False)
        if not (os.isatty(0) or options.lab or os.environ.get("CHATROOM_PROTOCOL")):
            ahead = labs.script_ahead()
        master = labs.choose(options, ahead[0].split(b"\n"))(options, signals)
        if master.interactive:
            signals.catch_user()
            return master.run(typed)
        return master.run(lambda master: piped(master, ahead))
    except Signalled as told:
        return 128 + told.number


def as_init():
    """Does what PID 1 of a namespace has to do, if this is one; returns in a child then.

    PID 1 has to wait for processes that others orphaned, of which the master
    knows nothing: so it does only that, passes signals on to the child, and
    ends as that one does.
    """
    if os.getpid() != 1:
        return
    child = os.fork()
    if child == 0:
        return
    for which in ENDING:
        # The keyboard's reach the child by themselves.
        keys = which in (signal.SIGINT, signal.SIGQUIT) and os.isatty(0)
        signal.signal(which, signal.SIG_IGN if keys else lambda number, _: os.kill(child, number))
    while True:
        ended, status = again(os.wait)
        if ended == child:
            os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


if __name__ == "__main__":
    as_init()
    sys.exit(main(sys.argv[1:]))
