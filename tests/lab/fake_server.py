"""A stand-in for the server that misbehaves as told: fake_server.py ID N PORT.

Fakes have no links. They know each other by the files HOST-ID in FAKE_FOLDER,
which hold process ids. FAKE_MODES names who misbehaves how, as `ID:MODE,ID:MODE`:

dies       ends at once, with status 3
deaf       never listens
late       listens after 300 ms
cut        answers a get with half a line and closes
garbage    answers a get with a line of no known kind
mute       never answers a get, but notes it in the file .asked-ID
quits      ends with status 7 on a get
fades      ends with status 7 when it has answered a get
sulks      ends with status 7 on SIGTERM
refuses    answers every broadcast with an error
alone      lists nobody but itself
forgetful  lists the dead for ever
stubborn   ignores SIGTERM
"""
import os
import select
import signal
import socket
import sys
import time


def listed(folder, host, forgetful):
    """The ids of this host's fakes, the living ones or all there ever were."""
    ids = []
    for name in os.listdir(folder):
        if name.rsplit("-", 1)[0] != host:
            continue
        with open(os.path.join(folder, name)) as source:
            text = source.read()
        try:
            if not forgetful:
                os.kill(int(text), 0)
        except (OSError, ValueError):
            continue
        ids.append(int(name.rsplit("-", 1)[1]))
    return sorted(ids)


class Fake(object):
    def __init__(self, pid, mode, folder, host):
        self.pid, self.mode, self.folder, self.host = pid, mode, folder, host
        self.log = []

    def reply(self, line):
        """What to send back, and whether to close then."""
        if line.startswith(b"broadcast "):
            if self.mode == "refuses":
                return b"error not today\n", False
            self.log.append(line[len(b"broadcast "):])
            return b"", False
        if line == b"alive":
            ids = [self.pid]
            if self.mode != "alone":
                ids = listed(self.folder, self.host, self.mode == "forgetful")
            return ("alive " + ",".join(map(str, ids)) + "\n").encode("ascii"), False
        if self.mode == "quits":
            os._exit(7)
        if self.mode == "mute":
            open(os.path.join(self.folder, ".asked-%d" % self.pid), "w").close()
        answers = {"cut": (b"messages ha", True), "garbage": (b"what?\n", False), "mute": (b"", False)}
        return answers.get(self.mode, (b"messages " + b",".join(self.log) + b"\n", False))

    def serve(self, listener):
        rests = {}
        while True:
            for sock in select.select([listener] + list(rests), [], [])[0]:
                if sock is listener:
                    rests[listener.accept()[0]] = b""
                    continue
                try:
                    data = sock.recv(1 << 20)
                except socket.error:
                    data = b""
                lines = (rests[sock] + data).split(b"\n")
                rests[sock] = lines.pop()
                close = not data
                for line in lines:
                    answer, last = self.reply(line)
                    sock.sendall(answer)
                    if self.mode == "fades" and line == b"get":
                        os._exit(7)
                    close = close or last
                if close:
                    del rests[sock]
                    sock.close()


def main():
    pid, port = int(sys.argv[1]), int(sys.argv[3])
    folder, host = os.environ["FAKE_FOLDER"], os.environ["CHATROOM_HOST"]
    modes = dict(pair.split(":") for pair in os.environ.get("FAKE_MODES", "").split(",") if pair)
    mode = modes.get(str(pid))
    if mode == "dies":
        sys.exit(3)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "sulks":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    if mode == "late":
        time.sleep(0.3)
    # By renaming: who looks finds the whole number or nothing.
    whole, part = os.path.join(folder, "%s-%d" % (host, pid)), os.path.join(folder, ".%s-%d" % (host, pid))
    with open(part, "w") as out:
        out.write(str(os.getpid()))
    os.rename(part, whole)
    if mode == "deaf":
        time.sleep(60)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(16)
    Fake(pid, mode, folder, host).serve(listener)


if __name__ == "__main__":
    main()
