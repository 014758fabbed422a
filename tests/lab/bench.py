"""A folder with the lab's tools and a `process` that runs the fake server."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

LAB = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(LAB))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import grading  # noqa: E402

# A shell without job control starts its jobs with SIGINT ignored, which a process that is started
# here would inherit and respect: the tests ask what the signals do.
for _signal in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)

FAKE = os.path.join(LAB, "fake_server.py")


def possible(*options):
    """Whether `unshare` can make such namespaces here."""
    try:
        with open(os.devnull, "w") as null:
            return subprocess.call(["unshare"] + list(options) + ["true"], stdout=null, stderr=null) == 0
    except OSError:
        return False


class Bench(unittest.TestCase):
    """Each test has a folder and a loopback address of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        for tool in ("master.py", "labs.py", "paxos_lab.py", "terminal.py", "grading.py"):
            shutil.copy(os.path.join(ROOT, tool), self.folder)
        self.write("process", '#!/bin/sh\nexec "%s" "%s" "$@"\n' % (sys.executable, FAKE), 0o755)
        self.grid = self.path("grid")
        os.mkdir(self.grid)
        self.host, holder = grading.Addresses(3000).take()
        self.addCleanup(holder.close)

    def living(self):
        """The fakes whose process is still there."""
        found = []
        for name in os.listdir(self.grid):
            if name.startswith("."):
                continue  # Not renamed yet.
            with open(os.path.join(self.grid, name)) as source:
                pid = int(source.read())
            try:
                os.kill(pid, 0)
                found.append(pid)
            except OSError:
                pass
        return found

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "wb") as out:
            out.write(text if isinstance(text, bytes) else text.encode("utf-8"))
        os.chmod(self.path(name), mode)

    def environment(self, modes="", **more):
        held = dict((name, value) for name, value in os.environ.items()
                    if not name.startswith("CHATROOM_"))
        held.update(CHATROOM_HOST=self.host, FAKE_FOLDER=self.grid, FAKE_MODES=modes)
        return dict(held, **more)

    def redirected(self, tool, redirection, script=b""):
        """Runs a tool as a shell does with this redirection: its status and standard error.

        Nobody reads its standard output.
        """
        shell = subprocess.Popen(["sh", "-c", 'exec "$@" ' + redirection, "sh", sys.executable]
                                 + [self.path(tool[0])] + list(tool[1:]),
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=self.environment())
        shell.stdout.close()
        shell.stdout = None
        _, err = shell.communicate(script)
        return shell.returncode, err

    def run_tool(self, tool, arguments, script=b"", modes="", **more):
        """Runs a tool to its end: its status, standard output and standard error."""
        tool = subprocess.Popen([sys.executable, self.path(tool)] + list(arguments),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=self.environment(modes, **more))
        out, err = tool.communicate(script)
        return tool.returncode, out, err

    def master(self, script, arguments=(), modes="", **more):
        return self.run_tool("master.py", arguments, script, modes, **more)
