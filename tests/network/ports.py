#!/usr/bin/env python
"""Starts grids one after the other, in a network namespace of its own, with master ports (and link
ports, if asked for) in the range from which the system takes source ports, and counts the servers
that could not start and the grids that did not get whole.

    python3 tests/network/ports.py --grids 800
    python3 tests/network/ports.py --grids 20 --size 50 --base-port 40000 --range "40000 40999"

Needs `./build` and Linux with `unshare`. Ends with status 0 only if nothing failed."""
from __future__ import print_function

import argparse
import collections
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.path.join(HERE, '..', '..', 'target', 'release', 'chatroom')
HOST = '127.0.0.1'
INSIDE = 'CHATROOM_TEST_INSIDE'
# A server is operational, and a grid whole, within this many seconds.
SOON = 3.0


# How often a connection of ours met itself.
MET_ITSELF = []


def connect(port):
    """A connection to a server's master port; None if there is none yet."""
    sock = socket.socket()
    # Without it, a connection's source port could not be listened on by a later server.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(SOON)
    try:
        sock.connect((HOST, port))
    except (OSError, socket.error):
        sock.close()
        return None
    if sock.getsockname() == sock.getpeername():
        # Nobody listens yet, and the system drew that very port as the source.
        MET_ITSELF.append(port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        sock.close()
        return None
    return sock


def ask(sock, line):
    """A server's answer; empty if the connection ended."""
    try:
        sock.sendall(line + b'\n')
        answer = b''
        while not answer.endswith(b'\n'):
            piece = sock.recv(65536)
            if not piece:
                return b''
            answer += piece
        return answer.strip()
    except (OSError, socket.error):
        return b''


class Grid(object):
    """Servers that run, and what went wrong with them."""

    def __init__(self, options):
        self.options = options
        self.servers = []
        self.masters = []
        self.faults = []

    def start(self, number):
        options = self.options
        port = options.master_ports + number
        command = [options.binary, 'serve', str(number), str(options.size), str(port),
                   '--base-port', str(options.base_port), '--runtime', options.runtime]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.servers.append(server)
        if not options.at_once:
            self.meet(number)

    def meet(self, number):
        """Waits until a server answers."""
        end = time.time() + SOON
        while time.time() < end:
            if self.servers[number].poll() is not None:
                said = self.servers[number].stderr.read().decode('utf-8', 'replace')
                self.faults.append('ended: ' + said.split('\n')[0])
                return
            sock = connect(self.options.master_ports + number)
            if sock is not None:
                if ask(sock, b'alive'):
                    self.masters.append(sock)
                    return
                sock.close()
            time.sleep(0.001)
        self.faults.append('no answer within %g s' % SOON)

    def get_whole(self):
        """Waits until every server knows every other."""
        all_ids = b'alive ' + b','.join(str(i).encode() for i in range(self.options.size))
        end = time.time() + SOON
        for sock in self.masters:
            while ask(sock, b'alive') != all_ids:
                if time.time() > end:
                    self.faults.append('not whole within %g s' % SOON)
                    return
                time.sleep(0.005)

    def end(self):
        for sock in self.masters:
            sock.close()
        for server in self.servers:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
        end = time.time() + SOON
        for server in self.servers:
            while server.poll() is None and time.time() < end:
                time.sleep(0.001)
            if server.poll() is None:
                server.kill()
                self.faults.append('did not end')
            server.wait()
            server.stdin.close()
            server.stderr.close()


def run(options):
    with open('/proc/sys/net/ipv4/ip_local_port_range', 'w') as ports:
        ports.write(options.range)
    faults = collections.Counter()
    failed = 0
    begin = time.time()
    for _ in range(options.grids):
        grid = Grid(options)
        try:
            for number in range(options.size):
                grid.start(number)
            if options.at_once:
                for number in range(options.size):
                    grid.meet(number)
            if not grid.faults:
                grid.get_whole()
        finally:
            grid.end()
        failed += bool(grid.faults)
        faults.update(grid.faults)
    print('%d connections to a server that did not listen yet met themselves' % len(MET_ITSELF))
    for fault, count in faults.most_common(10):
        print('%5d  %s' % (count, fault))
    print('%s: %d of %d grids of %d failed, %d faults, in %.0f s' % (
        options.runtime, failed, options.grids, options.size, sum(faults.values()),
        time.time() - begin))
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--grids', type=int, default=100)
    parser.add_argument('--size', type=int, default=16)
    parser.add_argument('--runtime', default='std', choices=['std', 'smol'])
    parser.add_argument('--range', default='32768 60999', help='source ports')
    parser.add_argument('--base-port', type=int, default=3000)
    parser.add_argument('--master-ports', type=int, default=40000)
    parser.add_argument('--at-once', action='store_true',
                        help='start all servers before the first is waited for')
    parser.add_argument('--binary', default=BINARY)
    options = parser.parse_args()
    if os.environ.get(INSIDE):
        subprocess.check_call(['ip', 'link', 'set', 'lo', 'up'])
        return run(options)
    os.environ[INSIDE] = '1'
    user = [] if os.geteuid() == 0 else ['-r']
    os.execvp('unshare', ['unshare', '-n'] + user + [sys.executable] + sys.argv)


if __name__ == '__main__':
    sys.exit(main())
