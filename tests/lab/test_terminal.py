"""master.py on a terminal: the prompt, the history, and errors that do not end it."""
import os
import pty
import select
import signal
import socket
import sys
import time
import unittest

from bench import Bench

import terminal

try:
    import readline
except ImportError:
    readline = None

PATIENCE = 30


class Closed(AssertionError):
    """The master has closed the terminal: no key will change that."""


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

    def expect(self, text, patience=PATIENCE):
        """Waits until `text` appears on the screen; what was shown up to its end."""
        until = time.time() + patience
        while text not in self.shown:
            self.assertTrue(select.select([self.screen], [], [], max(0, until - time.time()))[0],
                            "%r is not in %r" % (text, self.shown))
            try:
                self.shown += os.read(self.screen, 65536)
            except OSError:     # Linux's way to say that the other side has closed
                raise Closed("%r is not in %r" % (text, self.shown))
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

    def press(self, key, shown):
        """Presses a key until `shown` appears: readline does not see a signal that comes
        between its prompt and its wait for input."""
        until = time.time() + PATIENCE
        while True:
            os.write(self.screen, key)
            try:
                return self.expect(shown, 1)
            except Closed:
                raise
            except AssertionError:
                if time.time() > until:
                    raise

    def test_help_and_a_mistyped_command(self):
        pid = self.launch()
        self.enter(b"help")
        self.expect(b"ID start N PORT")
        self.enter(b"alive 0")
        self.expect(b"Invalid pid: alive")
        self.expect(b"did you mean `0 alive`?")
        self.enter(b"0 brodcast x")
        self.expect(b"Invalid command: 0 brodcast x")
        self.expect(b"did you mean `0 broadcast TEXT`?")
        self.enter(b"3 start 3 10000")
        self.expect(b"the ids of a grid of 3 are 0 to 2")
        self.enter(b"0 xyzzy")
        self.expect(b"`help` lists the commands")
        self.enter(b"exit")
        self.assertEqual(self.status(pid), 1)

    def test_a_text_is_shown_and_not_obeyed(self):
        pid = self.launch()
        self.enter(b"0 start 1 10000")
        # By another master, since a terminal takes some of these for keys.
        self.expect(b"> ")
        other = socket.create_connection((self.host, 10000))
        other.sendall(b"broadcast \x1b]0;t\x07 \xff\xc2\x9b \xe2\x80\xae gr\xc3\xbc\xc3\x9f\nalive\n")
        other.recv(100)
        other.close()
        os.write(self.screen, b"0 get\n")
        self.expect(b"messages \\x1b]0;t\\x07 \\xff\\x9b \\u202e gr\xc3\xbc\xc3\x9f")
        self.enter(b"exit")
        self.assertEqual(self.status(pid), 0)

    def test_ctrl_c_ends_a_command_that_waits_and_not_the_session(self):
        pid = self.launch(FAKE_MODES="0:mute")
        self.enter(b"0 start 1 10000")
        self.enter(b"0 get")
        # What a terminal echoes need not have been read: at a prompt Ctrl-C means something else.
        until = time.time() + PATIENCE
        while not os.path.exists(os.path.join(self.grid, ".asked-0")):
            self.assertLess(time.time(), until, "the server was never asked")
            time.sleep(0.01)
        self.press(b"\x03", b"interrupted")
        self.enter(b"0 alive")
        self.expect(b"\nalive 0")
        self.enter(b"exit")
        self.assertEqual(self.status(pid), 0)

    @unittest.skipUnless(readline, "this Python has no readline")
    def test_ctrl_c_clears_a_half_typed_line_and_asks_before_it_ends_a_grid(self):
        pid = self.launch()
        self.enter(b"0 start 1 10000")
        self.expect(b"> ")
        os.write(self.screen, b"0 dan")
        self.expect(b"0 dan")
        self.press(b"\x03", b"\n> ")
        self.press(b"\x03", b"End the grid of 1 server? [y/N] ")
        os.write(self.screen, b"n\n")
        self.enter(b"0 alive")
        self.expect(b"\nalive 0")
        self.expect(b"> ")
        self.press(b"\x03", b"End the grid of 1 server? [y/N] ")
        os.write(self.screen, b"y\n")
        self.assertEqual(self.status(pid), 128 + signal.SIGINT)
        self.assertEqual(self.living(), [])

    @unittest.skipUnless(readline, "this Python has no readline")
    def test_tab_completes_commands_and_ids(self):
        pid = self.launch()
        self.enter(b"0 start 2 10000")
        self.enter(b"1 st\t\t\t")
        self.expect(b"1 start 2 10001")
        self.enter(b"1 al\t")
        self.expect(b"\nalive 0,1")
        self.enter(b"ex\t")
        self.assertEqual(self.status(pid), 0)

    def test_what_tab_offers(self):
        for before, word, offered in (
                ([], "", ["0 ", "1 ", "sleep ", "exit", "help"]), ([], "e", ["exit"]),
                (["0"], "", ["get", "alive", "broadcast ", "crash"]), (["1"], "", ["start "]),
                (["1", "start"], "", ["2 "]), (["1", "start", "2"], "1", ["10001"]),
                (["0", "broadcast"], "", []), (["sleep"], "", [])):
            self.assertEqual(terminal.completions(before, word, 2, [0]), offered)

    def test_what_is_suggested(self):
        for line, meant in (
                (b"get 0", "0 get"), (b"0 Get", "0 get"), (b"start 1 3 10001", "1 start 3 10001"),
                (b"0 crsh", "0 crash"), (b"quit", "exit"), (b"slep 5", "sleep MS"), (b"0", ""), (b"\xff", ""),
                (b"0 say hi", "0 broadcast TEXT"), (b"start", "ID start N PORT")):
            self.assertEqual(terminal.suggestion(line), meant)

    def test_ctrl_backslash_leaves_no_server(self):
        pid = self.launch()
        self.enter(b"0 start 1 10000")
        self.expect(b"> ")
        self.assertEqual(self.status(pid, b"\x1c"), 128 + signal.SIGQUIT)
        self.assertEqual(self.living(), [])

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
