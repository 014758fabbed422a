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

from bench import ROOT, possible

TOOLS = ("stopall", "killall.sh", "process", "master.py", "labs.py", "paxos_lab.py", "terminal.py", "grading.py")
# What names the servers that a tool is to end; a test sets none but its own.
MARKS = ("CHATROOM_HOST", "LAB_MASTER")
# Folders that a line of a listing, or a shell's $(...), can be fooled by.
ODD_NAMES = ("two\nlines", "newline at the end\n", "a /proc/1/exe -> b", "gone (deleted)", "-n", "$(x) `y` \\ '\"*?")
SERVE = "echo serving \"$0\" \"$@\"\nwhile :; do sleep 0.1; done\n"


def environment(**marks):
    return dict([(k, v) for k, v in os.environ.items() if k not in MARKS], **marks)


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
        for tool in TOOLS:
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

    def launch(self, command, checkout=None, banner=True, marks=None, **more):
        child = subprocess.Popen(command, cwd=checkout or self.checkout, env=environment(**(marks or {})),
                                 stdout=subprocess.PIPE, **more)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(lambda: child.poll() is None and child.kill())
        if banner:
            child.banner = child.stdout.readline()
        return child

    def serve(self, script="serve", checkout=None, **marks):
        binary = os.path.join(checkout or self.checkout, "target", "release", "chatroom")
        return self.launch([binary, script], checkout, marks=marks)

    def run_script(self, name, checkout=None, **marks):
        script = os.path.join(checkout or self.checkout, name)
        self.assertEqual(subprocess.call([script], env=environment(**marks)), 0)

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
        here, there = self.serve(CHATROOM_HOST="127.9.9.1"), self.serve(CHATROOM_HOST="127.9.9.11")
        nowhere = self.serve()
        self.run_script("stopall", CHATROOM_HOST="127.9.9.1")
        self.assertTrue(self.ends(here))
        self.assertIsNone(there.poll())
        self.assertIsNone(nowhere.poll())
        self.run_script("stopall")
        self.assertTrue(self.ends(there) and self.ends(nowhere))

    def test_stopall_of_a_master_ends_only_what_that_one_started(self):
        own = self.serve(LAB_MASTER="1-a")
        others = [self.serve(LAB_MASTER="1-b"), self.serve(LAB_MASTER="1-a2"), self.serve(),
                  self.serve(CHATROOM_HOST="x\nLAB_MASTER=1-a")]
        self.run_script("stopall", LAB_MASTER="1-a")
        self.assertTrue(self.ends(own))
        self.assertEqual([other.poll() for other in others], [None] * len(others))
        self.run_script("stopall")
        self.assertTrue(all(self.ends(other) for other in others))

    def test_a_folder_may_have_any_name(self):
        for name in ODD_NAMES:
            checkout = self.make(os.path.join(name, name))
            servers = [self.serve(checkout=checkout)]
            self.install(checkout)
            servers.append(self.serve(checkout=checkout))
            servers.append(self.launch([os.path.join(checkout, "process"), "0", "1", "10000"], checkout))
            master = self.launch([sys.executable, os.path.join(checkout, "master.py")],
                                 banner=False, stdin=subprocess.PIPE)
            self.addCleanup(master.stdin.close)
            self.run_script("stopall", checkout)
            self.assertTrue(all(self.ends(server) for server in servers), name)
            self.assertIsNone(master.poll())
            self.run_script("killall.sh", checkout)
            self.assertTrue(self.ends(master), name)

    def test_stopall_leaves_what_only_looks_like_its_binary(self):
        binary = os.path.join("target", "release", "chatroom")
        other = self.make("two")
        os.remove(os.path.join(other, binary))
        os.link(os.path.join(self.checkout, binary), os.path.join(other, binary))
        shutil.copy(os.path.join(self.checkout, binary), os.path.join(self.checkout, binary + " (deleted)"))
        linked = self.serve(checkout=other)
        named = self.launch([os.path.join(self.checkout, binary + " (deleted)"), "serve"])
        own = self.serve()
        self.run_script("stopall")
        self.assertTrue(self.ends(own))
        self.assertEqual([linked.poll(), named.poll()], [None, None])

    @unittest.skipUnless(possible("-m"), "no mount namespace can be made here (unshare -m)")
    def test_stopall_knows_its_binary_by_the_file_and_not_by_the_path(self):
        other = self.make("two")
        inside = ["unshare", "-m", "sh", "-c", 'mount --bind "$1" "$2" && cd "$2" && '
                  'exec "$2/target/release/chatroom" serve', "sh"]
        same_path = self.launch(inside + [other, self.checkout])
        same_file = self.launch(inside + [self.checkout, other])
        self.run_script("stopall")
        self.assertTrue(self.ends(same_file))
        self.assertIsNone(same_path.poll())
        self.install(other)
        self.run_script("stopall")
        time.sleep(0.05)
        self.assertIsNone(same_path.poll())

    @unittest.skipUnless(possible("-pf"), "no PID namespace can be made here (unshare -pf)")
    def test_stopall_ends_nobody_by_the_numbers_of_another_namespace(self):
        for tool in ("stopall", "killall.sh"):
            child = subprocess.Popen(["unshare", "-pf", os.path.join(self.checkout, tool)],
                                     env=environment(), stderr=subprocess.PIPE)
            self.assertIn(b"mount one that does", child.communicate()[1])
            self.assertEqual(child.returncode, 1)

    def test_tools_started_through_a_link_look_beside_what_it_leads_to(self):
        links = os.path.join(self.folder, "links")
        os.mkdir(links)
        for tool in TOOLS:
            os.symlink(os.path.join("..", "one", tool), os.path.join(links, "linked " + tool))
            os.symlink("linked " + tool, os.path.join(links, tool))
        server = self.launch([os.path.join(links, "process"), "1", "3", "10000"])
        self.assertEqual(server.banner, b"serving serve 1 3 10000\n")
        subprocess.check_call([os.path.join(links, "stopall")], env=environment())
        self.assertTrue(self.ends(server))
        shutil.copy(os.path.join(self.checkout, "serve"), links)
        server = self.launch(["sh", "process", "1", "3", "10000"], links)
        self.assertEqual(server.banner, b"serving serve 1 3 10000\n")
        master = self.launch([sys.executable, os.path.join(links, "linked master.py")],
                             banner=False, stdin=subprocess.PIPE)
        self.addCleanup(master.stdin.close)
        subprocess.check_call(["./linked killall.sh"], cwd=links, env=environment())
        self.assertTrue(self.ends(server) and self.ends(master))

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
        server = self.serve(CHATROOM_HOST="127.9.9.1")
        master = self.launch([sys.executable, "master.py"], **waiting)
        absolute = self.launch([sys.executable, os.path.join(self.checkout, "master.py")], other, **waiting)
        optional = self.launch([sys.executable, "-W", "ignore", "-u", "master.py"], **waiting)
        foreign = self.launch([sys.executable, "master.py"], other, **waiting)
        reader = self.launch([sys.executable, "-c", "import sys; sys.stdin.read()", "master.py"], **waiting)
        for child in (master, absolute, optional, foreign, reader):
            self.addCleanup(child.stdin.close)
        self.run_script("killall.sh")
        self.assertTrue(all(self.ends(child) for child in (server, master, absolute, optional)))
        self.assertEqual([foreign.poll(), reader.poll()], [None, None])

    def test_process_runs_the_server_from_any_folder(self):
        for command in (["./process"], ["sh", "process"], [os.path.join(self.checkout, "process")]):
            server = self.launch(command + ["1", "3", "10000"])
            self.assertEqual(server.banner, b"serving serve 1 3 10000\n")
            # The server itself, not a shell around it, is the child.
            self.assertTrue(os.readlink("/proc/%d/exe" % server.pid).endswith("/target/release/chatroom"))


if __name__ == "__main__":
    unittest.main()
