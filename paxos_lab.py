# -*- coding: utf-8 -*-
"""What master.py does for the lab "Paxos: a replicated chat room" (`--lab paxos`).

Here a reply does not follow its request: any server acknowledges any message at
any time. So every wait reads from all servers.
"""
from __future__ import print_function

import re
import signal
import socket

from master import (CRASH_LIMIT, Command, Gone, LabError, Master, Server, TimeUp, again, now, number, pause,
                    poll)

ACK_LIMIT = 2.0         # how long a message may be open before it is said again
AGREE_LIMIT = 1.0       # servers agree so long after the last decision,
LEARN_LIMIT = 3.0       # and so long after one of them started
LEAVE_LIMIT = 3.0       # how long a server that is to crash at some step may take

COMMANDS = """\
  ID start N PORT     start server ID of a grid of N, its master port PORT (10000-65535)
  ID msg K WORD       have server ID propose WORD as message K, a number of its own
  -1 waitForAck K     wait until message K is acknowledged by any server
  ID waitForAck K     the same, and say message K again to server ID after 2 s
  ID get chatLog      print the words that server ID knows to be decided
  ID crash            end server ID at once
  ID crashAfterP1b    end server ID after its next answer to a P1a; likewise crashAfterP2b
  ID crashP1a IDS     end server ID when it has sent its next P1a, to IDS only; likewise
                      crashP2a and crashDecision
  sleep MS            wait so many milliseconds
  exit                end every server and leave
"""

STEPS = (b"crashAfterP1b", b"crashAfterP2b", b"crashP1a", b"crashP2a", b"crashDecision")


class Paxos(Master):
    """The grid, the messages that are open, and who acknowledged what."""

    name = "paxos"
    commands = COMMANDS
    # By these a script is known as one of this lab.
    own = ("msg", "waitForAck") + tuple(step.decode("ascii") for step in STEPS)

    def __init__(self, options, signals):
        Master.__init__(self, options, signals)
        self.said = {}          # message: (server it was said to, line)
        self.open = {}          # message not acknowledged: when it was said last
        self.acknowledged = set()
        self.armed = set()      # servers that are to crash at some step
        self.logs = {}          # server: the last log that it showed
        self.agreed_at = 0      # when all servers must agree

    def environment(self):
        environment = Master.environment(self)
        environment["CHATROOM_PROTOCOL"] = self.name
        return environment

    def prepare(self):
        """Every script begins with nothing, also where one before it was killed."""
        self.stop_all()

    def parse(self, line):
        """The command that one non-blank line holds; LabError for anything else."""
        fields = line.split()
        verb = fields[1] if len(fields) > 1 else b""
        if fields[0] in (b"exit", b"sleep") or verb == b"start":
            return Master.parse(self, line)
        wrong = LabError(b"Invalid command: " + line,
                         "`python3 master.py --lab paxos --help` lists the commands")
        pid = -1 if fields[0] == b"-1" else number(fields[0], 0, 10 ** 9)
        if pid is None:
            raise LabError(b"Invalid pid: " + fields[0], "an id is a number from 0")
        is_number = re.compile(br"[0-9]{1,20}\Z").match
        if verb == b"waitForAck" and len(fields) == 3 and is_number(fields[2]):
            return Command("wait_for_ack", pid, text=fields[2])
        if pid < 0:
            raise wrong
        if verb == b"msg" and len(fields) == 4 and is_number(fields[2]):
            return Command("msg", pid, text=b" ".join(fields[1:]))
        if fields[1:] == [b"get", b"chatLog"]:
            return Command("chat_log", pid)
        if fields[1:] == [b"crash"]:
            return Command("crash", pid)
        takes_ids = verb.startswith((b"crashP", b"crashD"))
        if verb in STEPS and (takes_ids or len(fields) == 2) and all(map(is_number, fields[2:])):
            return Command("arm", pid, text=b" ".join(fields[1:]))
        raise wrong

    # What comes in

    def take(self):
        """Takes in what has come from all servers, without waiting."""
        for server in list(self.servers.values()):
            connection = server.command
            if connection is None:
                continue
            if not connection.ended:
                connection.fill()
            while connection.lines.whole:
                self.hear(server, connection.lines.whole.popleft())
            if connection.ended:
                server.drop("command")

    def hear(self, server, line):
        ack = re.match(br"ack ([0-9]+) [0-9]+\s*\Z", line)
        if ack:
            message = ack.group(1)
            if message not in self.acknowledged:
                self.agreed_at = max(self.agreed_at, now() + AGREE_LIMIT)
            self.acknowledged.add(message)
            self.open.pop(message, None)
        elif re.match(br"chatLog( |\Z)", line):
            self.logs[server.pid] = line
        else:
            self.fail(b"Invalid Response: " + line)

    def wait(self, condition, until):
        """Waits for `condition()` while it takes in what comes; False past `until`."""
        def came():
            self.take()
            return condition()
        return poll(came, min(until, self.deadline))

    def await_open(self):
        """Waits for open messages; says those again that take too long, and waits once more.
        What is still open then is waited for by `waitForAck` only."""
        for last in (False, True):
            if not self.open:
                return
            self.wait(lambda: not self.open, max(self.open.values()) + ACK_LIMIT)
            if now() >= self.deadline:
                raise TimeUp()
            if last:
                break
            said = [message for message in sorted(self.open)
                    if self.say_again(self.said[message][0], message)]
            self.open = dict((message, now()) for message in said)
        self.open.clear()

    def say_again(self, pid, message):
        """Says a message again; False if the server is gone."""
        server = self.servers.get(pid)
        if server is None or server.ended() or server.command is None:
            return False
        try:
            server.command.send(self.said[message][1], self.limit(1.0))
            return True
        except (Gone, TimeUp):
            return False

    def tell(self, pid, line):
        """Sends a line to a server that runs."""
        def send(connection):
            connection.send(line + b"\n", self.deadline)
        self.take()
        self.over_command(self.server(pid), send)

    # The commands

    def start(self, command):
        server = self.servers.get(command.pid)
        if server is not None and command.pid in self.armed:
            self.wait(server.ended, self.limit(LEAVE_LIMIT))
        if server is not None and not server.ended():
            self.say("warning: server %d did not crash: it is left as it is" % command.pid)
            return
        if server is not None:
            self.forget(server)
        self.armed.discard(command.pid)
        self.begin(command)
        self.agreed_at = max(self.agreed_at, now() + LEARN_LIMIT)

    def begin(self, command):
        """Starts a server and connects to it."""
        if self.taken(command.port):
            raise LabError(("Invalid port: %d" % command.port).encode("ascii"),
                           "something already listens on %s:%d" % (self.host, command.port))
        self.compare_sizes(command)
        with self.signals:      # no server may be started and not be known
            server = Server(command, self.host, self.spawn(command))
            self.servers[command.pid] = server
        self.n = command.n
        until = self.limit(self.options.start_limit)

        def connected():
            if server.ended():
                self.forget(server)
                raise LabError(b"Master or testcase error!",
                               "server %d ended with %s before it served: what it says of the"
                               " reason is on standard error%s"
                               % (command.pid, server.end(), self.link_port_hint(command.pid)))
            try:
                server.connection("command", until)
                return True
            except socket.error:
                return False

        if not self.wait(connected, until):
            self.fail("server %d does not accept connections on port %d after %g s"
                      % (command.pid, command.port, self.options.start_limit))

    def msg(self, command):
        self.await_open()
        self.tell(command.pid, command.text)
        message = command.text.split()[1]
        self.said.setdefault(message, (command.pid, command.text + b"\n"))
        if message not in self.acknowledged:
            self.open[message] = now()

    def wait_for_ack(self, command):
        message = command.text

        def came():
            return message in self.acknowledged

        while not self.wait(came, now() + ACK_LIMIT):
            if now() >= self.deadline:
                raise TimeUp()
            if command.pid >= 0 and message in self.said:
                self.say_again(command.pid, message)

    def chat_log(self, command):
        self.await_open()
        # Until then servers may differ, by the lab's rules.
        pause(min(self.agreed_at, self.deadline) - now())
        self.show(self.ask_log(command.pid))

    def ask_log(self, pid):
        """The log that a server shows."""
        self.take()
        self.logs.pop(pid, None)
        self.tell(pid, b"get chatLog")
        server = self.servers[pid]
        self.wait(lambda: pid in self.logs or server.ended(), self.deadline)
        if pid not in self.logs:
            self.server(pid)    # tells how it ended
            raise TimeUp()
        return self.logs[pid]

    def crash(self, command):
        self.await_open()
        server = self.server(command.pid)
        self.tell(command.pid, b"crash")
        if not self.wait(server.ended, self.limit(CRASH_LIMIT)):
            self.fail("server %d runs on %g s after `crash`, and is killed"
                      % (command.pid, CRASH_LIMIT))
            server.signal(signal.SIGKILL)
            again(server.process.wait)
        self.forget(server)

    def arm(self, command):
        self.await_open()
        self.tell(command.pid, command.text)
        self.armed.add(command.pid)
        self.ask_log(command.pid)   # nothing may happen elsewhere before it knows

    def settle(self):
        """Learns who ended by itself without having been told to."""
        for pid in sorted(self.servers):
            if pid in self.armed and self.servers[pid].ended():
                self.forget(self.servers[pid])
        Master.settle(self)
