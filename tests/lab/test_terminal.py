"""master.py on a terminal: the prompt, the history, and errors that do not end it."""
import os
import pty
import select
import signal
import sys
import time
import unittest

from bench import Bench

try:
    import readline
except ImportError:
    readline = None

PATIENCE = 30


class Terminal(Bench):
    def launch(self, *arguments, **more):
        environment = self.environment(HOME=self.folder, TERM="dumb", **more)
        pid, self.screen = pty.fork()
        if pid == 0:
            # As a job in the background of a script without job control has it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.execve(sys.executable, [sys.executable, self.path("master.py")] + list(arguments), environment)
        self.addCleanup(os.close, self.screen)
        self.shown = b""
        return pid

    def expect(self, text):
        """Waits until `text` appears on the screen; what was shown up to its end."""
        until = time.time() + PATIENCE
        while text not in self.shown:
            self.assertTrue(select.select([self.screen], [], [], max(0, until - time.time()))[0],
                            "%r is not in %r" % (text, self.shown))
            try:
                self.shown += os.read(self.screen, 65536)
            except OSError:     # Linux's way to say that the other side has closed
                self.fail("%r is not in %r" % (text, self.shown))
        at = self.shown.index(text) + len(text)
        before, self.shown = self.shown[:at], self.shown[at:]
        return before

    def enter(self, line):
        self.expect(b"> ")
        os.write(self.screen, line + b"\n")

    def status(self, pid, key=b""):
        """How the master ends, after `key` or without one.

        The key is pressed again each second: Python's readline does not see a
        signal that comes between its prompt and its wait for input.
        """
        until = time.time() + PATIENCE
        pressed = 0
        while True:
            ended, code = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
            if time.time() > until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                self.fail("the master does not end; it showed %r" % self.shown)
            if key and time.time() - pressed > 1:
                pressed = time.time()
                try:
                    os.write(self.screen, key)
                except OSError:
                    pass    # it has just ended
            time.sleep(0.01)
        return os.WEXITSTATUS(code) if os.WIFEXITED(code) else -os.WTERMSIG(code)

    def test_a_user_has_a_prompt_and_goes_on_after_errors(self):
        pid = self.launch()
        self.enter(b"0 start 1 10000")
        self.enter(b"0 dance")
        self.expect(b"Invalid command: 0 dance")
        self.enter(u"0 broadcast gr\u00fc\u00df dich".encode("utf-8"))
        self.enter(b"0 get")
        self.expect(u"messages gr\u00fc\u00df dich".encode("utf-8"))
        self.enter(b"exit")
        self.assertEqual(self.status(pid), 1)

    def test_no_answer_ends_the_command_and_not_the_session(self):
        pid = self.launch("--timeout", "3", FAKE_MODES="0:mute")
        self.enter(b"0 start 1 10000")
        self.enter(b"0 get")
        self.expect(b"Timeout!")
        self.enter(b"0 alive")
        self.expect(b"\nalive 0")
        self.enter(b"exit")
        self.assertEqual(self.status(pid), 1)

    def test_ctrl_c_and_ctrl_d_leave(self):
        pid = self.launch()
        self.enter(b"0 start 1 10000")
        self.expect(b"> ")
        self.assertEqual(self.status(pid, b"\x04"), 0)
        pid = self.launch()
        self.expect(b"> ")
        self.assertEqual(self.status(pid, b"\x03"), 128 + signal.SIGINT)

    @unittest.skipUnless(readline, "this Python has no readline")
    def test_the_history_is_kept_for_the_next_session(self):
        pid = self.launch()
        self.enter(b"sleep 1")
        self.enter(b"exit")
        self.assertEqual(self.status(pid), 0)
        with open(self.path(".chatroom_history"), "rb") as kept:
            self.assertIn(b"sleep", kept.read())


if __name__ == "__main__":
    unittest.main()
