#!/usr/bin/env python3
"""A chat server that shares no code with ours: foreign.py ID N PORT.

It follows the protocol text and nothing else, in the plainest way that does:
threads and blocking sockets. It pings every 500 ms, drops a link after 1 s
without a byte, redials once a second, and marks a link up as soon as it has
connected (an inbound one at its first line, which names the peer). With
--msg-first it sends no ping for the first 500 ms of a link, so that the first
line may be a `msg`. CHATROOM_HOST and CHATROOM_BASE_PORT say where the grid is.
Runs under Python 2.7 and 3.
"""
from __future__ import print_function

import argparse
import os
import re
import socket
import sys
import threading
import time

try:
    import queue
except ImportError:     # Python 2
    import Queue as queue

PING_EVERY = 0.5
SILENCE = 1.0
REDIAL = 1.0
TEXT_LIMIT = 65536
LINE_LIMIT = TEXT_LIMIT + 64
BLANKS = b" \t\r\n\x0b\x0c"

now = getattr(time, "monotonic", time.time)


class Broken(Exception):
    """A line that closes its link."""


def lines_of(sock, limit=float("inf")):
    """The lines of a stream as they come, until its end; Broken for one too long."""
    rest = b""
    while True:
        data = sock.recv(65536)
        if not data:
            return
        whole = (rest + data).split(b"\n")
        rest = whole.pop()
        for line in whole:
            if len(line) > limit:
                raise Broken("a line too long")
            yield line
        if len(rest) > limit:
            raise Broken("a line too long")


def spawn(target, *arguments):
    thread = threading.Thread(target=target, args=arguments)
    thread.daemon = True
    thread.start()


class Link(object):
    """One TCP connection to a peer; `peer` is None until it has named itself."""

    def __init__(self, sock, peer=None):
        self.sock = sock
        self.peer = peer
        self.out = queue.Queue()
        self.open = True
        sock.settimeout(SILENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.open = False
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except (OSError, socket.error):
            pass    # the other side was first
        self.sock.close()


class Server(object):
    def __init__(self, options, host, base):
        self.id, self.n, self.msg_first = options.id, options.n, options.msg_first
        self.host, self.base = host, base
        self.lock = threading.Lock()
        self.links = {}     # peer id -> the link that counts
        self.log = []

    def say(self, text):
        if os.environ.get("CHATROOM_LOG") in ("info", "debug", "trace"):
            print("foreign %d: %s" % (self.id, text), file=sys.stderr)

    # Links

    def dial(self, peer):
        while True:
            began = now()
            if peer not in self.links:
                try:
                    sock = socket.create_connection((self.host, self.base + peer), SILENCE)
                except (OSError, socket.error):
                    pass    # not there yet: the next try comes
                else:
                    link = Link(sock, peer)
                    self.mark_up(link)
                    self.serve_link(link)
            time.sleep(max(0, REDIAL - (now() - began)))

    def mark_up(self, link):
        with self.lock:
            old, self.links[link.peer] = self.links.get(link.peer), link
        if old is not None:
            old.close()
        self.say("up %d" % link.peer)

    def serve_link(self, link):
        spawn(self.write_link, link)
        why = "it closed the link"
        try:
            for line in lines_of(link.sock, LINE_LIMIT):
                if not self.take(link, line):
                    why = "a newer link took its place"
                    break
        except Broken as broken:
            why = str(broken)
        except socket.timeout:
            why = "silent for %g s" % SILENCE
        except (OSError, socket.error, ValueError) as error:
            why = str(error)
        with self.lock:
            if self.links.get(link.peer) is link:
                del self.links[link.peer]
        link.close()
        self.say("link of %s closed: %s" % (link.peer, why))

    def write_link(self, link):
        ping = ("ping %d\n" % self.id).encode("ascii")
        due = now() + (PING_EVERY if self.msg_first else 0)
        try:
            while link.open:
                try:
                    data = link.out.get(timeout=max(0.001, due - now()))
                    link.sock.sendall(data)
                except queue.Empty:
                    pass
                if now() >= due:
                    link.sock.sendall(ping)
                    due = now() + PING_EVERY
        except (OSError, socket.error):
            link.close()

    def take(self, link, line):
        """One line of a link; False if the link no longer counts."""
        match = re.match(br"(\S+)(?: ([0-9]{1,9}))?(?: (.*))?\Z", line.strip(BLANKS), re.S)
        kind, sender, text = match.groups() if match else (None, None, None)
        known = kind == b"ping" and text is None or kind == b"msg" and text
        if not known and kind not in (b"ping", b"msg") and link.peer is not None:
            return link.open    # a kind of a later protocol
        if not known or sender is None:
            raise Broken("a broken line")
        sender = int(sender)
        if text is not None:
            try:
                text.decode("utf-8")
            except UnicodeDecodeError:
                raise Broken("a text that is not UTF-8")
            if len(text) > TEXT_LIMIT:
                raise Broken("a text too long")
        if link.peer is None:
            if not self.id < sender < self.n:
                raise Broken("id %d ought not to dial us" % sender)
            link.peer = sender
            self.mark_up(link)
        elif sender != link.peer:
            raise Broken("id %d on the link of %d" % (sender, link.peer))
        with self.lock:
            if self.links.get(link.peer) is not link:
                return False
            if text is not None:
                self.log.append(text)
        return True

    # Masters

    def serve_master(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for line in lines_of(sock):
                reply = self.obey(line.strip(BLANKS))
                if reply is not None:
                    sock.sendall(reply + b"\n")
        except (OSError, socket.error):
            pass    # a master may leave at any time
        sock.close()

    def obey(self, line):
        """Does one command; its reply, or None."""
        verb, _, text = line.partition(b" ")
        if line == b"get":
            with self.lock:
                return b"messages " + b",".join(self.log)
        if line == b"alive":
            with self.lock:
                ids = sorted([self.id] + list(self.links))
            return ("alive " + ",".join(str(i) for i in ids)).encode("ascii")
        if line == b"crash":
            os._exit(1)
        if verb != b"broadcast" or not text:
            return b"error unknown command"
        if len(text) > TEXT_LIMIT:
            return b"error text too long"
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            return b"error not UTF-8"
        wire = ("msg %d " % self.id).encode("ascii") + text + b"\n"
        with self.lock:
            self.log.append(text)
            for link in self.links.values():
                link.out.put(wire)
        return None

    # The process

    def listen(self, port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, port))
        except (OSError, socket.error) as error:
            sys.exit("foreign.py: %s:%d: %s" % (self.host, port, error))
        listener.listen(128)
        return listener

    def accept(self, listener, serve):
        while True:
            spawn(serve, listener.accept()[0])

    def run(self, port):
        links, masters = self.listen(self.base + self.id), self.listen(port)
        spawn(self.accept, links, lambda sock: self.serve_link(Link(sock)))
        for peer in range(self.id):
            spawn(self.dial, peer)
        self.accept(masters, self.serve_master)


def main():
    parser = argparse.ArgumentParser(description="A foreign chat server.")
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("n", type=int, metavar="N")
    parser.add_argument("port", type=int, metavar="PORT")
    parser.add_argument("--msg-first", action="store_true",
                        help="no ping in the first 500 ms: the first line may be a msg")
    options = parser.parse_args()
    if not 0 <= options.id < options.n:
        parser.error("ID must be from 0 to N - 1")
    host = os.environ.get("CHATROOM_HOST") or "127.0.0.1"
    base = int(os.environ.get("CHATROOM_BASE_PORT") or 3000)
    Server(options, host, base).run(options.port)


if __name__ == "__main__":
    main()
