# -*- coding: utf-8 -*-
"""The labs that came after the chat room: what master.py does differently for them.

A lab is a class below, with an entry in LABS. Python 2.7 and 3, as master.py.
"""
from __future__ import print_function

import os
import re
import select
import signal
import socket
import stat

import master
from master import BLANKS, Command, Gone, LabError, Master, TimeUp, again, now, number, poll
from paxos_lab import Paxos

DIE_LIMIT = 2.0     # how long a server has that a command told to end
AHEAD = 1 << 20     # how many bytes of a script are looked at beforehand
PEEK = 0.1          # how long a pipe may be quiet before what came of a script decides

COMMIT_COMMANDS = """\
  ID start N PORT             start server ID of a grid of N, its master port PORT (10000-65535)
  ID add SONG URL             one transaction; the next command waits for its acknowledgement
  ID delete SONG              the same
  ID get SONG                 print the URL of SONG on server ID, or NONE
  ID vote NO                  server ID votes NO on the next add or delete
  ID crash                    server ID ends at once
  ID crashBeforeVote, crashAfterVote, crashAfterAck
                              as a participant of the next transaction
  ID crashVoteREQ IDS, crashPartialPreCommit IDS, crashPartialCommit IDS
                              as its coordinator, once it has told these ids only
  vote length                 on the first line: a URL longer than a server's id + 5 gets its NO
  sleep MS                    wait so many milliseconds
  exit                        end every server and leave

ID -1 is the coordinator.
"""


class Commit(Master):
    """Three-phase commit: a playlist that all servers change together.

    The master believes whoever says `coordinator ID` last; at first it is the server that was
    started first. Any `coordinator`, `resp` or `ack` ends the wait for an acknowledgement.
    """

    name = "commit"
    commands = COMMIT_COMMANDS
    # By these a script is known as one of this lab.
    own = ("add", "delete", "vote", "crashBeforeVote", "crashAfterVote", "crashAfterAck", "crashVoteREQ",
           "crashPartialPreCommit", "crashPretialPreCommit", "crashPartialCommit", "crashPretialCommit")
    # How many words follow each; None for any number of ids.
    words = {"add": 2, "delete": 1, "get": 1, "vote": 1, "crash": 0, "crashBeforeVote": 0,
             "crashAfterVote": 0, "crashAfterAck": 0}

    def __init__(self, options, signals):
        Master.__init__(self, options, signals)
        self.coordinator = None
        self.waits = False      # for an acknowledgement
        self.urls = 0           # `resp` lines that came
        self.vote = options.vote

    def parse(self, line):
        line = line.strip(BLANKS)
        match = re.match(br"vote\s+(length|command)\Z", line)
        if match:
            return Command("vote_by", text=match.group(1))
        fields = line.split()
        if len(fields) < 2 or fields[0] == b"sleep" or fields[1] == b"start":
            return Master.parse(self, line)
        pid = -1 if fields[0] == b"-1" else number(fields[0], 0, 10 ** 9)
        if pid is None:
            raise LabError(b"Invalid pid: " + fields[0], "an id is a number from 0, or -1")
        verb = fields[1].decode("ascii", "replace")
        wanted = self.words.get(verb)
        ids = [number(field, 0, 10 ** 9) for field in fields[2:]]
        good = (wanted == len(fields) - 2 if verb in self.words
                else verb in self.own and None not in ids)
        if not good or verb == "vote" and fields[2] != b"NO":
            raise LabError(b"Invalid command: " + line, "`python3 master.py --help` lists the commands")
        kind = ("change" if verb in ("add", "delete") else
                "get" if verb == "get" else "crash" if verb == "crash" else "arm")
        return Command(kind, pid, text=b" ".join(fields[1:]))

    def environment(self):
        environment = Master.environment(self)
        environment["CHATROOM_PROTOCOL"] = self.name
        if self.vote:
            environment["CHATROOM_VOTE"] = self.vote
        return environment

    def prepare(self):
        """Every script begins with nothing, also where one before it was killed."""
        self.stop_all()

    # What servers say

    def heard(self, server, line):
        """Takes in a line that no question of the master's own waits for."""
        fields = line.split()
        if len(fields) == 2 and fields[0] == b"coordinator" and number(fields[1], 0, 10 ** 9) is not None:
            self.coordinator = int(fields[1])
            self.debug(("server %d: %s" % (server.pid, line.decode("ascii"))).encode("ascii"))
        elif len(fields) == 2 and fields[0] == b"resp":
            self.urls += 1
            self.show(fields[1])
        elif line in (b"ack commit", b"ack abort"):
            self.debug(("server %d: %s" % (server.pid, line.decode("ascii"))).encode("ascii"))
        else:
            self.fail(b"Invalid Response: " + line)
        self.waits = False

    def listen(self, until):
        """Takes in what servers say until something came, or `until`; False if nothing did."""
        open_ones = {}
        waiting = select.poll()
        for server in list(self.servers.values()):
            held = server.command
            if held is None or held.ended:
                continue
            open_ones[held.socket.fileno()] = server
            waiting.register(held.socket, select.POLLIN)
        # Lines that came together with the answer to a question have no event of their own.
        unheard = [server for server in open_ones.values() if server.command.lines.whole]
        left = 0 if unheard else max(0, until - now())
        came = again(waiting.poll, int(left * 1000) + (left > 0))
        for descriptor, _ in came:
            open_ones[descriptor].command.fill()
        for server in open_ones.values():
            while server.command.lines.whole:
                self.heard(server, server.command.lines.whole.popleft())
        return bool(came or unheard)

    def listen_for(self, condition):
        """Takes in what servers say until `condition()`; TimeUp past the end of the run."""
        while not condition():
            if now() >= self.deadline:
                raise TimeUp()
            self.listen(min(now() + 0.02, self.deadline))

    def settle_debts(self):
        """Waits until nothing is to be acknowledged, with all that was said until now taken in."""
        while self.listen(now()):
            pass
        self.listen_for(lambda: not self.waits)

    def views(self, servers, until):
        """What each server believes alive: asked where the commands go, so that all it said before
        is taken in."""
        answers = {}
        for server in servers:
            answers[server.pid] = None
            try:
                held = server.connection("command", until)
                held.send(b"alive\n", until)
                while True:
                    line = held.line(until)
                    if line.startswith(b"alive"):
                        break
                    self.heard(server, line)
                listed = re.match(br"alive ([0-9,]+)\s*\Z", line)
                if listed:
                    answers[server.pid] = set(int(i) for i in listed.group(1).split(b",") if i)
            except (Gone, TimeUp, socket.error):
                server.drop("command")
            except KeyboardInterrupt:
                server.drop("command")
                raise
        return answers

    # The commands

    def target(self, pid):
        """The server that a command goes to; -1 waits until a coordinator runs that said so."""
        if pid != -1:
            return self.server(pid)

        def there():
            server = self.servers.get(self.coordinator)
            return server is not None and not server.ended()
        if not self.servers and not there():
            raise LabError(b"Master or testcase error!", "no server is running, so there is no coordinator")
        self.listen_for(there)
        return self.servers[self.coordinator]

    def start(self, command):
        old = self.servers.get(command.pid)
        if old is not None and old.armed:
            poll(old.ended, self.limit(DIE_LIMIT))
            if old.ended():
                self.forget(old)
        Master.start(self, command)
        if self.coordinator is None:
            self.coordinator = command.pid

    def vote_by(self, command):
        if self.n:
            raise LabError(b"Invalid command: vote " + command.text, "it has to stand before the first start")
        self.vote = command.text.decode("ascii")

    def tell(self, server, text):
        def exchange(connection):
            connection.send(text + b"\n", self.deadline)
        self.over_command(server, exchange)

    def change(self, command):
        self.settle_debts()
        server = self.target(command.pid)
        self.tell(server, command.text)
        self.waits = True

    def get(self, command):
        self.settle_debts()
        server = self.target(command.pid)
        before = self.urls

        def exchange(connection):
            connection.send(command.text + b"\n", self.deadline)
            while self.urls == before:
                self.heard(server, connection.line(self.deadline))
        self.over_command(server, exchange)

    def arm(self, command):
        self.settle_debts()
        server = self.target(command.pid)
        self.tell(server, command.text)
        # Nobody else may begin a transaction before it knows.
        self.views([server], self.deadline)
        server.armed = server.armed or command.text != b"vote NO"

    def kill(self, server):
        """The server ends by itself, as it is told to."""
        self.tell(server, b"crash")
        if not poll(server.ended, self.limit(DIE_LIMIT)):
            self.fail("server %d does not end within %g s after `crash`" % (server.pid, DIE_LIMIT))
            server.signal(signal.SIGKILL)
            again(server.process.wait)

    def crash(self, command):
        self.settle_debts()
        server = self.target(command.pid)
        Master.crash(self, Command("crash", server.pid))

    def settle(self):
        if self.running():
            self.settle_debts()


LABS = {"chat": Master, "commit": Commit, "paxos": Paxos}


def choose(options, script):
    """The class of the lab that is played: by the options, by the environment, or by the commands of
    a script that can be looked at beforehand."""
    given = options.lab or os.environ.get("CHATROOM_PROTOCOL")
    if given:
        return LABS.get(given, Master)
    verbs = set(word.decode("ascii", "replace") for line in script for word in line.split()[:2])
    for _, lab in sorted(LABS.items()):
        if verbs.intersection(lab.own):
            return lab
    return Master


def script_ahead():
    """What standard input already has of a script, as bytes, and whether that is all of it: a file
    whole, of a pipe what comes without a pause; nothing of what a person types."""
    kept = []
    mode = os.fstat(0).st_mode
    if stat.S_ISREG(mode):
        until = None
    elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        until = PEEK
    else:
        return b"", False
    while True:
        if until is not None:
            try:
                master.ready(0, now() + until)
            except TimeUp:
                return b"".join(kept), False
        data = again(os.read, 0, master.RECV_BYTES)
        if not data:
            return b"".join(kept), True
        kept.append(data)
        if sum(map(len, kept)) > AHEAD:
            return b"".join(kept), False
