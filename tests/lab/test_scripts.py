"""What ./stopall, ./killall.sh and ./process end, run and leave alone.

A copy of the shell stands in for the server: `chatroom serve` then runs the
file `serve` in its working directory.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from bench import ROOT

SERVE = "echo serving \"$0\" \"$@\"\nwhile :; do sleep 0.1; done\n"


@unittest.skipUnless(os.path.isdir("/proc/self"), "stopall finds servers in /proc")
class Ending(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="check out "))
        self.addCleanup(shutil.rmtree, self.folder)
        self.checkout = self.make("one")

    def make(self, name):
        """A checkout with the scripts and the stand-in."""
        checkout = os.path.join(self.folder, name)
        os.makedirs(os.path.join(checkout, "target", "release"))
        for tool in ("stopall", "killall.sh", "process", "master.py", "grading.py"):
            shutil.copy(os.path.join(ROOT, tool), checkout)
        self.install(checkout)
        for script in ("serve", "other"):
            with open(os.path.join(checkout, script), "w") as out:
                out.write(SERVE)
        return checkout

    @staticmethod
    def install(checkout):
        """Puts a new file in the binary's place, as a build does."""
        binary = os.path.join(checkout, "target", "release", "chatroom")
        shutil.copy(os.path.realpath("/bin/sh"), binary + ".new")
        os.rename(binary + ".new", binary)

    def launch(self, command, checkout=None, host=None, banner=True, **more):
        environment = dict((k, v) for k, v in os.environ.items() if k != "CHATROOM_HOST")
        if host:
            environment["CHATROOM_HOST"] = host
        child = subprocess.Popen(command, cwd=checkout or self.checkout, env=environment,
                                 stdout=subprocess.PIPE, **more)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(lambda: child.poll() is None and child.kill())
        if banner:
            child.banner = child.stdout.readline()
        return child

    def serve(self, script="serve", checkout=None, host=None):
        binary = os.path.join(checkout or self.checkout, "target", "release", "chatroom")
        return self.launch([binary, script], checkout, host)

    def run_script(self, name, host=None):
        environment = dict((k, v) for k, v in os.environ.items() if k != "CHATROOM_HOST")
        if host:
            environment["CHATROOM_HOST"] = host
        self.assertEqual(subprocess.call([os.path.join(self.checkout, name)], env=environment), 0)

    def ends(self, child):
        until = time.time() + 20
        while child.poll() is None and time.time() < until:
            time.sleep(0.01)
        return child.poll() is not None

    def test_stopall_ends_only_servers_of_its_checkout(self):
        server, tool = self.serve(), self.serve("other")
        foreign = self.serve(checkout=self.make("two"))
        self.run_script("stopall")
        self.assertTrue(self.ends(server))
        self.assertIsNone(tool.poll())
        self.assertIsNone(foreign.poll())

    def test_stopall_ends_servers_of_a_replaced_binary(self):
        server = self.serve()
        self.install(self.checkout)
        self.run_script("stopall")
        self.assertTrue(self.ends(server))

    def test_stopall_with_an_address_ends_only_the_servers_there(self):
        here, there, nowhere = self.serve(host="127.9.9.1"), self.serve(host="127.9.9.11"), self.serve()
        self.run_script("stopall", host="127.9.9.1")
        self.assertTrue(self.ends(here))
        self.assertIsNone(there.poll())
        self.assertIsNone(nowhere.poll())
        self.run_script("stopall")
        self.assertTrue(self.ends(there) and self.ends(nowhere))

    def test_stopall_ends_a_stopped_and_a_stubborn_server(self):
        with open(os.path.join(self.checkout, "serve"), "w") as out:
            out.write("trap '' TERM\n" + SERVE)
        stubborn = self.serve()
        with open(os.path.join(self.checkout, "serve"), "w") as out:
            out.write(SERVE)
        stopped = self.serve()
        os.kill(stopped.pid, signal.SIGSTOP)
        self.run_script("stopall")
        self.assertTrue(self.ends(stopped) and self.ends(stubborn))

    def test_killall_ends_the_tools_of_its_checkout_too(self):
        other = self.make("two")
        waiting = {"stdin": subprocess.PIPE, "banner": False}
        server = self.serve(host="127.9.9.1")
        master = self.launch([sys.executable, "master.py"], **waiting)
        absolute = self.launch([sys.executable, os.path.join(self.checkout, "master.py")], other, **waiting)
        foreign = self.launch([sys.executable, "master.py"], other, **waiting)
        for child in (master, absolute, foreign):
            self.addCleanup(child.stdin.close)
        self.run_script("killall.sh")
        self.assertTrue(self.ends(server) and self.ends(master) and self.ends(absolute))
        self.assertIsNone(foreign.poll())

    def test_process_runs_the_server_from_any_folder(self):
        for command in (["./process"], ["sh", "process"], [os.path.join(self.checkout, "process")]):
            server = self.launch(command + ["1", "3", "10000"])
            self.assertEqual(server.banner, b"serving serve 1 3 10000\n")
            # The server itself, not a shell around it, is the child.
            self.assertTrue(os.readlink("/proc/%d/exe" % server.pid).endswith("/target/release/chatroom"))


if __name__ == "__main__":
    unittest.main()
