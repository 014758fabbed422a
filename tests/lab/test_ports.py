"""What master.py's own connections do to the ports on which servers are to listen.

The system takes source ports from a range, which may hold a grid's ports. Here,
in a network namespace with a range of a few ports, it does so at once.
"""
import errno
import os
import socket
import subprocess
import sys
import unittest

from bench import Bench, LAB, possible

import master

HOST = "127.0.0.1"
FIRST = 40000
RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
INSIDE = "TEST_PORTS_INSIDE"

# As root, or as a user who may map one to root.
UNSHARE = [options for options in (["-n"], ["-rn"]) if possible(*options)][:1]


def raise_loopback():
    """`ip link set lo up`, for which there need be no `ip` here."""
    import fcntl
    import struct
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16sh14x", b"lo", 0)
    flags = struct.unpack("16sh14x", fcntl.ioctl(control.fileno(), SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(control.fileno(), SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    control.close()


def narrow(count):
    with open(RANGE, "w") as out:
        out.write("%d %d" % (FIRST, FIRST + count - 1))


def listener(port):
    """As a server makes it: with SO_REUSEADDR."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
        made.listen(16)
    except socket.error:
        made.close()
        raise
    return made


@unittest.skipUnless(os.environ.get(INSIDE), "run by Ports, in a network namespace of their own")
class Inside(Bench):
    def test_a_source_port_is_left_to_a_listener(self):
        narrow(2)
        server = listener(10000)
        self.addCleanup(server.close)
        connection = master.Connection(HOST, 10000, master.now() + 5)
        taken = connection.socket.getsockname()[1]
        listener(taken).close()
        # Also what is left of the connection when our side closes first.
        connection.close()
        server.accept()[0].close()
        late = listener(taken)
        with self.assertRaises(socket.error) as caught:
            listener(taken)     # while a second listener is kept out, as ever
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        late.close()

    def test_never_a_connection_with_oneself(self):
        narrow(2)
        met = 0
        for _ in range(200):
            for port in (FIRST, FIRST + 1):
                plain = socket.socket()
                try:
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    plain.connect((HOST, port))
                    met += 1    # with itself: nobody listens
                except socket.error:
                    pass
                plain.close()
                with self.assertRaises(socket.error) as caught:
                    master.Connection(HOST, port, master.now() + 5)
                self.assertEqual(caught.exception.errno, errno.ECONNREFUSED)
        self.assertGreater(met, 0, "the case did not occur")
        for port in (FIRST, FIRST + 1):
            listener(port).close()

    def test_a_grid_whose_ports_are_source_ports_starts(self):
        narrow(8)
        self.host = HOST
        # While a late server is waited for, its port is dialled all the time.
        script = "".join("%d start 3 %d\n%d alive\n" % (pid, port, pid) for pid, port in
                         ((0, 10000), (1, FIRST), (2, FIRST + 2)))
        status, out, err = self.master(script.encode("ascii"), ["--timeout", "30"], "1:late,2:late")
        self.assertEqual((status, out, err), (0, b"alive 0\nalive 0,1\nalive 0,1,2\n", b""))


@unittest.skipUnless(UNSHARE, "no network namespace can be made here (unshare -n)")
@unittest.skipIf(os.environ.get(INSIDE), "is outside of it")
class Ports(unittest.TestCase):
    def test_in_a_network_namespace_with_a_narrow_range(self):
        inside = subprocess.Popen(
            ["unshare"] + UNSHARE[0] + [sys.executable, os.path.abspath(__file__), "Inside"], cwd=LAB,
            env=dict(os.environ, **{INSIDE: "1"}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = inside.communicate()[0]
        self.assertEqual(inside.returncode, 0, said.decode("utf-8", "replace"))
        self.assertNotIn(b"skipped", said)


if __name__ == "__main__":
    if os.environ.get(INSIDE):
        raise_loopback()
    unittest.main()
