#!/usr/bin/env python
"""Stops a server that has just accepted messages while its link is slow: whatever its exit status
says has to be true, and the end has to come in time.

    python3 tests/network/farewell.py --delay 100
    python3 tests/network/farewell.py --rate 1000000 --texts 100

The link goes through a tun device in a network namespace of its own; this program takes each
packet from it and gives it back later, as netem would, which not every kernel has. Needs
`./build` and Linux with `unshare`. Ends with status 0 if all is right, 77 if the machine allows no
such network."""
from __future__ import print_function

import argparse
import collections
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.path.join(HERE, '..', '..', 'target', 'release', 'chatroom')
HOST = '10.83.0.1'
INSIDE = 'CHATROOM_TEST_INSIDE'
SKIPPED = 77
DEVICE = 'slow'
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000
# What goes to or from a link port takes the slow way; masters do not.
NETWORK = '''
ip link set lo up
ip addr add {host}/32 dev lo
ip link set {device} up mtu 1500
echo 1 > /proc/sys/net/ipv4/conf/{device}/accept_local
echo 0 > /proc/sys/net/ipv4/conf/{device}/rp_filter
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
ip route add {host}/32 dev {device} table 100
ip rule add pref 1 lookup local
ip rule del pref 0
ip rule add pref 0 iif lo ipproto tcp dport 3000-3009 lookup 100
ip rule add pref 0 iif lo ipproto tcp sport 3000-3009 lookup 100
'''


class SlowNetwork(threading.Thread):
    """Gives every packet of a tun device back to it, later."""

    def __init__(self, delay, rate):
        threading.Thread.__init__(self)
        self.daemon = True
        self.delay, self.rate = delay, rate
        self.device = os.open('/dev/net/tun', os.O_RDWR)
        name = struct.pack('16sH22x', DEVICE.encode(), IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(self.device, TUNSETIFF, name)

    def run(self):
        packets = collections.deque()
        free_at = 0.0
        while True:
            wait = max(0, packets[0][0] - time.time()) if packets else None
            if select.select([self.device], [], [], wait)[0]:
                packet = os.read(self.device, 65536)
                now = time.time()
                free_at = max(free_at, now)
                if self.rate:
                    free_at += len(packet) * 8.0 / self.rate
                packets.append((free_at + self.delay, packet))
            while packets and packets[0][0] <= time.time():
                os.write(self.device, packets.popleft()[1])


class Master(object):
    def __init__(self, port):
        end = time.time() + 5
        while True:
            try:
                self.sock = socket.create_connection((HOST, port), 10)
                break
            except (OSError, socket.error):
                if time.time() > end:
                    raise
                time.sleep(0.01)
        self.lines = self.sock.makefile('rb')

    def ask(self, line):
        self.sock.sendall(line + b'\n')
        return self.lines.readline().strip()


def check(options):
    try:
        network = SlowNetwork(options.delay / 1000.0, options.rate)
        script = NETWORK.format(host=HOST, device=DEVICE)
        subprocess.check_call(['sh', '-ec', script])
    except (OSError, IOError, subprocess.CalledProcessError) as error:
        print('SKIPPED: no slow network here: %s' % error)
        return SKIPPED
    network.start()
    servers = []
    for number in (0, 1):
        command = [options.binary, 'serve', str(number), '2', str(10000 + number), '--host', HOST,
                   '--expose', '--runtime', options.runtime]
        servers.append(subprocess.Popen(command, stderr=subprocess.PIPE))
    try:
        return stop_one(options, servers)
    finally:
        for server in servers:
            if server.poll() is None:
                server.kill()
            server.wait()


def stop_one(options, servers):
    masters = [Master(10000), Master(10001)]
    end = time.time() + 5
    while any(master.ask(b'alive') != b'alive 0,1' for master in masters):
        if time.time() > end:
            print('WRONG: the grid does not get whole')
            return 1
        time.sleep(0.05)
    stops, stays = options.stops, 1 - options.stops
    texts = [('%05d ' % i).encode().ljust(options.size, b'x') for i in range(options.texts)]
    masters[stops].sock.sendall(b''.join(b'broadcast ' + text + b'\n' for text in texts))
    # The answer says that all of them were accepted. This master then stays, and never closes.
    masters[stops].ask(b'alive')
    begin = time.time()
    servers[stops].send_signal(signal.SIGTERM)
    while servers[stops].poll() is None:
        time.sleep(0.001)
    took, status = time.time() - begin, servers[stops].returncode
    said = servers[stops].stderr.read().decode('utf-8', 'replace').strip()
    # Until it has all that is still under way.
    time.sleep(options.delay / 1000.0 + 0.5)
    there = masters[stays].ask(b'get')[len(b'messages '):]
    there = there.split(b',') if there else []
    whole = there == texts
    print('%s: %d of %d texts of %d bytes arrived, status %d after %.2f s%s' % (
        options.runtime, len(there), len(texts), options.size, status, took,
        '; it said: ' + said if said else ''))
    faults = []
    if there != texts[:len(there)]:
        faults.append('a text is missing in between')
    if status == 0 and not whole:
        faults.append('status 0 says that all of them arrived')
    if status not in (0, 4):
        faults.append('the status is neither 0 nor 4')
    if status == 4 and not said:
        faults.append('it said nothing')
    if options.whole and not (whole and status == 0):
        faults.append('there was time for all of them')
    # A machine that is busy may need a little longer.
    if took > (1.85 if options.whole else 3):
        faults.append('it took too long')
    for fault in faults:
        print('WRONG: ' + fault)
    return 1 if faults else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--delay', type=float, default=0, help='milliseconds, each way')
    parser.add_argument('--rate', type=float, default=0, help='bits a second; 0: any')
    parser.add_argument('--texts', type=int, default=400)
    parser.add_argument('--size', type=int, default=1000)
    parser.add_argument('--stops', type=int, default=1, choices=[0, 1], help='which server')
    parser.add_argument('--whole', action='store_true', help='all texts have to arrive')
    parser.add_argument('--runtime', default='std', choices=['std', 'smol'])
    parser.add_argument('--binary', default=BINARY)
    options = parser.parse_args()
    if os.environ.get(INSIDE):
        return check(options)
    os.environ[INSIDE] = '1'
    user = [] if os.geteuid() == 0 else ['-r']
    os.execvp('unshare', ['unshare', '-n'] + user + [sys.executable] + sys.argv)


if __name__ == '__main__':
    sys.exit(main())
