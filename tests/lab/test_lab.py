# -*- coding: utf-8 -*-
"""What master.py and grading.py do when servers behave and when they do not.

Runs under Python 2.7 and 3: `python3 -m unittest discover tests/lab`.
"""
import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from bench import Bench, FAKE, ROOT, possible

import grading
import master

PAIR = b"0 start 2 10000\n1 start 2 10001\n"


def children(parent):
    """The state of each child of a process, by its number, as /proc has them."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            with open(os.path.join("/proc", name, "stat"), "rb") as source:
                state, ppid = source.read().rsplit(b")", 1)[1].split()[:2]
        except (IOError, OSError, IndexError):
            continue    # no process, or gone
        if name.isdigit() and int(ppid) == parent:
            found[int(name)] = state.decode("ascii")
    return found


class Parsing(unittest.TestCase):
    def words(self, line):
        with self.assertRaises(master.LabError) as caught:
            master.parse(line)
        return caught.exception.words

    def test_each_command_is_understood(self):
        self.assertEqual(master.parse(b"2 start 3 10000"), master.Command("start", 2, n=3, port=10000))
        self.assertEqual(master.parse(b"0 get"), master.Command("get", 0))
        self.assertEqual(master.parse(b"7 alive"), master.Command("alive", 7))
        self.assertEqual(master.parse(b"7 crash"), master.Command("crash", 7))
        self.assertEqual(master.parse(b"sleep 20"), master.Command("sleep", ms=20.0))
        self.assertEqual(master.parse(b"exit"), master.Command("exit"))

    def test_a_text_keeps_its_blanks_and_bytes(self):
        self.assertEqual(master.parse(b"0 broadcast  a  b\xff").text, b" a  b\xff")

    def test_blanks_around_a_line_are_dropped(self):
        self.assertEqual(master.parse(b" \t0  broadcast a b \r"), master.Command("broadcast", 0, text=b"a b"))

    def test_an_unknown_command_is_told_in_the_labs_words(self):
        for line in (b"0 dance", b"0", b"get", b"0 get x", b"0 broadcast", b"0 start 1", b"sleep x",
                     b"sleep nan", b"sleep -1", b"0 start 0 10000", b"0 start 1 10000 x"):
            self.assertEqual(self.words(line), b"Invalid command: " + line)

    def test_a_bad_id_is_told_in_the_labs_words(self):
        for pid in (b"x", b"-1", b"+1", b"1_0", b"1.0", b"9999999999", u"\u0663".encode("utf-8")):
            self.assertEqual(self.words(pid + b" get"), b"Invalid pid: " + pid)
        self.assertEqual(self.words(b"3 start 3 10000"), b"Invalid pid: 3")

    def test_a_bad_port_is_told_in_the_labs_words(self):
        for port in (b"x", b"9999", b"65536", b"-1", b"10000x", b"999999999999"):
            self.assertEqual(self.words(b"0 start 1 " + port), b"Invalid port: " + port)

    def test_lines_are_the_same_however_the_stream_is_cut(self):
        stream = b"a\n\nbc\n\xff d\nrest"
        for size in range(1, len(stream) + 1):
            lines = master.Lines()
            for at in range(0, len(stream), size):
                lines.feed(stream[at:at + size])
            self.assertEqual(list(lines.whole), [b"a", b"", b"bc", b"\xff d"])
            self.assertEqual(lines.unfinished(), b"rest")


class Waiting(unittest.TestCase):
    def test_a_descriptor_past_1023_is_like_any_other(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 1100:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1100, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        source, sink = os.pipe()
        high = fcntl.fcntl(source, fcntl.F_DUPFD, 1024)
        for each in (source, sink, high):
            self.addCleanup(os.close, each)
        self.assertRaises(master.TimeUp, master.ready, high, master.now() + 0.01)
        os.write(sink, b"x")
        self.assertEqual(master.ready(high, master.now() + 10), select.POLLIN)


class Commands(Bench):
    def test_replies_are_printed_as_they_came_and_nothing_else(self):
        status, out, err = self.master(PAIR + b"0 alive\n0 broadcast x\n0 get\n1 get\n\nexit\n0 get\n")
        self.assertEqual((status, out, err), (0, b"alive 0,1\nmessages x\nmessages \n", b""))

    def test_text_is_kept_byte_for_byte(self):
        text = u"gr\u00fc\u00df ".encode("utf-8") + b"\xff\xfe\x00\x01, \t end"
        _, out, _ = self.master(b"0 start 1 10000\n0 broadcast  " + text + b"\n0 get\n")
        self.assertEqual(out, b"messages  " + text + b"\n")

    def test_a_line_of_megabytes_goes_through_both_ways(self):
        text = b"0123456789abcdef" * 200000
        _, out, _ = self.master(b"0 start 1 10000\n0 broadcast " + text + b"\n0 get")
        self.assertEqual(out, b"messages " + text + b"\n")

    def test_a_crashed_server_is_gone_and_can_start_again(self):
        status, out, _ = self.master(PAIR + b"1 crash\n0 alive\n1 start 2 10001\n0 alive\n")
        self.assertEqual((status, out), (0, b"alive 0\nalive 0,1\n"))

    def test_start_waits_for_a_late_listener(self):
        status, out, _ = self.master(PAIR + b"1 alive\n", modes="1:late")
        self.assertEqual((status, out), (0, b"alive 0,1\n"))

    def test_debug_tells_on_standard_error_only(self):
        status, out, err = self.master(b"0 start 1 10000\n0 alive\n", ["debug"])
        self.assertEqual((status, out), (0, b"alive 0\n"))
        self.assertIn(b"server 0 operational after", err)

    def test_help_names_every_command(self):
        status, out, _ = self.master(b"", ["--help"])
        self.assertEqual(status, 0)
        for verb in (b"start", b"get", b"alive", b"broadcast", b"crash", b"sleep", b"exit"):
            self.assertIn(verb, out)

    def test_a_line_that_begins_with_a_number_sign_is_a_comment(self):
        script = b"# 0 dance\n" + PAIR + b"  \t#\n#exit\n0 broadcast # x\n0 get\n"
        self.assertEqual(self.master(script), (0, b"messages # x\n", b""))

    def test_replies_are_byte_for_byte_where_no_terminal_is(self):
        text = b"\x1b[2J \x9b \xe2\x80\xae \r."
        _, out, _ = self.master(b"0 start 1 10000\n0 broadcast " + text + b"\n0 get\n")
        self.assertEqual(out, b"messages " + text + b"\n")

    def test_another_size_than_the_grids_is_warned_of(self):
        status, out, err = self.master(b"0 start 2 10000\n1 start 3 10001\n0 alive\n")
        self.assertEqual((status, out), (0, b"alive 0,1\n"))
        self.assertEqual(err, b"warning: server 1 is started for a grid of 3, but server 0 for one of 2:"
                              b" all servers of a grid need the same N\n")

    def test_no_server_outlives_the_master(self):
        self.master(PAIR)
        self.assertEqual(self.living(), [])

    def test_a_server_that_ignores_sigterm_is_killed(self):
        self.assertEqual(self.master(PAIR, modes="0:stubborn")[0], 0)
        self.assertEqual(self.living(), [])

    def running(self, command=(), script=PAIR, **more):
        """A master whose servers run, and which waits for further commands."""
        running = subprocess.Popen(list(command) + [sys.executable, self.path("master.py")],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment(**more))
        for stream in (running.stdin, running.stdout):
            self.addCleanup(stream.close)
        self.addCleanup(lambda: running.poll() is None and running.kill())
        running.stdin.write(script + b"1 alive\n")
        running.stdin.flush()
        self.assertEqual(running.stdout.readline(), b"alive 0,1\n")
        return running

    def test_each_signal_that_ends_the_master_ends_the_servers_too(self):
        for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            running = self.running()
            running.send_signal(which)
            running.wait()
            self.assertEqual(running.returncode, 128 + which)
            self.assertEqual(self.living(), [])

    def test_many_signals_at_once_leave_no_server(self):
        for gap in range(8):
            running = self.running()
            # All while the servers are being ended, and at the command before.
            running.stdin.write(b"1 crash\n1 start 2 10001\n")
            running.stdin.flush()
            for _ in range(12):
                try:
                    running.send_signal(signal.SIGINT)
                except OSError:
                    break
                time.sleep(gap * 0.0002)
            running.wait()
            self.assertEqual(running.returncode, 128 + signal.SIGINT)
            self.assertEqual(self.living(), [])

    def test_signals_while_a_server_is_made_leave_no_server(self):
        self.write("process", '#!/bin/sh\necho $$ >"%s/made-$1"\nfor _ in 1 2 3 4 5; do kill -INT $PPID; done\n'
                              'exec "%s" "%s" "$@"\n' % (self.grid, sys.executable, FAKE), 0o755)
        for _ in range(10):
            self.assertEqual(self.master(PAIR)[0], 128 + signal.SIGINT)
            self.assertEqual(self.living(), [])

    def test_a_signal_is_raised_once_and_again_when_nothing_came_of_it(self):
        signals = master.Signals()
        self.assertRaises(master.Signalled, signals.handle, signal.SIGTERM, None)
        signals.handle(signal.SIGINT, None)
        signals.raised -= master.RAISE_AGAIN
        self.assertRaises(master.Signalled, signals.handle, signal.SIGINT, None)
        signals = master.Signals()
        with self.assertRaises(master.Signalled):
            with signals:
                signals.handle(signal.SIGTERM, None)
                reached = True
        self.assertTrue(reached)

    def test_what_a_server_leaves_in_its_group_is_ended(self):
        self.write("process", '#!/bin/sh\nsleep 600 &\necho $! >"%s/left-$1"\nexec "%s" "%s" "$@"\n'
                   % (self.grid, sys.executable, FAKE), 0o755)
        self.assertEqual(self.master(PAIR + b"sleep 500\n")[0], 0)
        self.assertEqual(len([name for name in os.listdir(self.grid) if name.startswith("left")]), 2)
        self.assertEqual(self.living(), [])

    def test_stopall_is_told_whose_servers_to_end(self):
        self.write("process", '#!/bin/sh\necho "$LAB_MASTER" >>"%s"\nexec "%s" "%s" "$@"\n'
                   % (self.path("marks"), sys.executable, FAKE), 0o755)
        self.write("stopall", '#!/bin/sh\necho "$LAB_MASTER" >>"%s"\n' % self.path("marks"), 0o755)
        self.assertEqual(self.master(PAIR, LAB_MASTER="x")[0], 0)
        self.assertEqual(self.master(PAIR)[0], 0)
        with open(self.path("marks")) as kept:
            marks = kept.read().split()
        self.assertEqual([marks.count(mark) for mark in marks], [3] * 6)

    @unittest.skipUnless(possible("-pf", "--mount-proc"), "no PID namespace can be made here (unshare -pf --mount-proc)")
    def test_as_pid_1_it_waits_for_orphans_and_ends_as_usual(self):
        # Each start leaves an orphan that ends at once.
        self.write("process", '#!/bin/sh\n(true & )\nexec "%s" "%s" "$@"\n' % (sys.executable, FAKE), 0o755)
        inside = ["unshare", "-pf", "--mount-proc"]
        running = self.running(inside)
        init, = children(running.pid)
        # An orphan may end after its server has answered.
        until = time.time() + 20
        while "Z" in children(init).values() and time.time() < until:
            time.sleep(0.01)
        zombies = [pid for pid, state in children(init).items() if state == "Z"]
        running.stdin.write(b"exit\n")
        running.stdin.flush()
        running.wait()
        self.assertEqual((running.returncode, zombies), (0, []))
        running = self.running(inside)
        os.kill(list(children(running.pid))[0], signal.SIGTERM)
        running.wait()
        self.assertEqual(running.returncode, 128 + signal.SIGTERM)


class Failures(Bench):
    def fails(self, words, script, modes="", arguments=(), out=b"", **more):
        """Runs a script that must fail with these words, one a line; its standard error."""
        status, printed, err = self.master(script, arguments, modes, **more)
        told = [line for line in err.split(b"\n") if line.startswith(grading.LAB_WORDS)]
        self.assertEqual((status, told, printed), (1, words, out), err)
        return err

    def test_a_wrong_command_does_not_end_the_run(self):
        self.fails([b"Invalid command: 0 dance"], b"0 start 1 10000\n0 dance\n0 alive\n", out=b"alive 0\n")

    def test_a_server_that_does_not_run_is_told(self):
        for verb in (b"get", b"alive", b"broadcast x", b"crash"):
            self.fails([b"Master or testcase error!"], b"0 " + verb + b"\n")

    def test_a_process_that_dies_at_once_is_told_at_once(self):
        began = time.time()
        err = self.fails([b"Master or testcase error!"], b"0 start 1 10000\n", "0:dies", ["--start-limit", "60"])
        self.assertIn(b"status 3", err)
        self.assertLess(time.time() - began, 30)

    def test_a_missing_process_file_is_told(self):
        os.remove(self.path("process"))
        err = self.fails([b"Master or testcase error!"], b"0 start 1 10000\n")
        self.assertIn(b"No such file", err)

    def test_a_server_that_never_listens_meets_the_start_limit(self):
        err = self.fails([b"Master or testcase error!"], b"0 start 1 10000\n0 get\n", "0:deaf",
                         ["--start-limit", "0.2"])
        self.assertIn(b"not operational after 0.2 s: it does not accept", err)

    def test_a_server_that_others_do_not_list_is_not_operational(self):
        err = self.fails([], PAIR + b"0 alive\n", "0:alone", ["--start-limit", "2"], out=b"alive 0\n")
        self.assertIn(b"server 1 is not operational after 2 s: not listed by server 0", err)

    def test_a_server_that_does_not_list_others_is_not_operational(self):
        err = self.fails([], PAIR, "1:alone", ["--start-limit", "2"])
        self.assertIn(b"server 1 is not operational after 2 s: it does not list", err)

    def test_a_crash_that_is_not_noticed_fails_the_run_and_goes_on(self):
        err = self.fails([], PAIR + b"1 crash\n0 alive\n", "0:forgetful", out=b"alive 0,1\n")
        self.assertIn(b"server 1 is still listed after 1 s by server 0", err)

    def test_a_port_that_is_taken_is_told(self):
        err = self.fails([b"Invalid port: 10000"], b"0 start 2 10000\n1 start 2 10000\n")
        self.assertIn(b"something already listens on " + self.host.encode() + b":10000", err)
        self.assertIn(b"; CHATROOM_HOST=127.0.0.2 gives the grid an address of its own\n", err)

    def test_a_link_port_that_is_taken_is_told(self):
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind((self.host, 3456))
        listener.listen(1)
        err = self.fails([b"Master or testcase error!"], b"1 start 2 10000\n", "1:dies", CHATROOM_BASE_PORT="3455")
        self.assertIn(b"something listens on its link port, " + self.host.encode() + b":3456; CHATROOM_HOST=", err)

    def test_a_standard_error_that_is_full_does_not_hold_up_the_run(self):
        source, sink = os.pipe()
        self.addCleanup(os.close, source)
        # Full as a whole, and with less room than one message needs.
        for room in (0, 100):
            fcntl.fcntl(sink, fcntl.F_SETFL, fcntl.fcntl(sink, fcntl.F_GETFL) | os.O_NONBLOCK)
            try:
                while True:
                    os.write(sink, b"x")
            except OSError:
                pass
            os.read(source, room)
            fcntl.fcntl(sink, fcntl.F_SETFL, fcntl.fcntl(sink, fcntl.F_GETFL) & ~os.O_NONBLOCK)
            began = time.time()
            running = subprocess.Popen([sys.executable, self.path("master.py")], stdin=subprocess.PIPE, stderr=sink,
                                       stdout=subprocess.PIPE, env=self.environment("0:dies"))
            timer = threading.Timer(40, running.kill)
            timer.start()
            out, _ = running.communicate(b"0 start 1 10000\n" * 50)
            timer.cancel()
            self.assertEqual((running.returncode, out), (1, b""))
            self.assertLess(time.time() - began, 40)
        os.close(sink)

    def test_a_reader_that_takes_nothing_meets_the_time_limit(self):
        source, sink = os.pipe()
        self.addCleanup(os.close, source)
        script = b"0 start 1 10000\n0 broadcast " + b"x" * 300000 + b"\n0 get\n"
        running = subprocess.Popen([sys.executable, self.path("master.py"), "--timeout", "3"], stdin=subprocess.PIPE,
                                   stdout=sink, stderr=subprocess.PIPE, env=self.environment())
        os.close(sink)
        timer = threading.Timer(40, running.kill)
        timer.start()
        _, err = running.communicate(script)
        timer.cancel()
        self.assertEqual(running.returncode, 1)
        self.assertTrue(err.startswith(b"Timeout!"), err)
        self.assertEqual(self.living(), [])

    def test_a_stopall_that_does_not_end_is_told(self):
        self.write("stopall", "#!/bin/sh\nexec sleep 600\n", 0o755)
        err = self.fails([], b"0 start 1 10000\n")
        self.assertIn(b"./stopall did not end within 10 s and was killed", err)

    def test_a_second_start_is_told(self):
        self.fails([b"Invalid pid: 0"], b"0 start 2 10000\n0 start 2 10001\n")

    def test_a_reply_that_is_cut_is_told(self):
        self.fails([b"Invalid Response: messages ha"], b"0 start 1 10000\n0 get\n0 alive\n", "0:cut",
                   out=b"alive 0\n")

    def test_a_reply_of_no_known_kind_is_told(self):
        self.fails([b"Invalid Response: what?"], b"0 start 1 10000\n0 get\n0 alive\n", "0:garbage",
                   out=b"alive 0\n")

    def test_a_refused_broadcast_does_not_answer_the_next_get(self):
        self.fails([b"Invalid Response: error not today"], b"0 start 1 10000\n0 broadcast x\n0 get\n",
                   "0:refuses", out=b"messages \n")

    def test_a_refused_last_broadcast_is_told_at_the_exit(self):
        self.fails([b"Invalid Response: error not today"] * 2,
                   b"0 start 1 10000\n0 broadcast x\n0 broadcast y\n", "0:refuses")

    def test_a_server_that_ends_by_itself_is_told_and_can_start_again(self):
        script = PAIR + b"1 get\n1 get\n1 start 2 10001\n1 alive\n"
        err = self.fails([b"Master or testcase error!"] * 2, script, "1:quits", out=b"alive 0,1\n")
        self.assertIn(b"server 1 has ended by itself with status 7", err)

    def test_a_server_that_ends_unnoticed_is_told_at_the_exit_or_the_next_start(self):
        script = PAIR + b"1 get\nsleep 1000\n"
        for more, out in ((b"", b""), (b"1 start 2 10001\n1 alive\n", b"alive 0,1\n")):
            err = self.fails([b"Master or testcase error!"], script + more, "1:fades",
                             out=b"messages \n" + out)
            self.assertIn(b"server 1 has ended by itself with status 7", err)

    def test_a_server_that_does_not_end_in_good_order_is_told(self):
        err = self.fails([b"Master or testcase error!"], PAIR, "1:sulks")
        self.assertIn(b"server 1 was told to end, and did with status 7", err)

    def test_no_answer_is_a_timeout_that_ends_the_run(self):
        script = b"0 start 1 10000\n0 get\n0 alive\n"
        self.fails([b"Timeout!"], script, "0:mute", ["--timeout", "2"])
        self.fails([b"Timeout!"], script, "0:mute", CHATROOM_TIMEOUT="2")

    def test_a_sleep_past_the_limit_is_a_timeout(self):
        self.fails([b"Timeout!"], b"sleep 600000\n", arguments=["--timeout", "0.2"])

    def test_a_reader_that_leaves_ends_the_run_in_silence(self):
        began = time.time()
        self.assertEqual(self.redirected(["master.py"], "", b"0 start 1 10000\n0 get\nsleep 60000\n"),
                         (1, b""))
        self.assertLess(time.time() - began, 50)
        self.assertEqual(self.living(), [])

    def test_a_standard_stream_that_is_of_no_use_is_told_in_one_sentence(self):
        for redirection, said in (
                ("<&-", b"standard input is closed: give it a file, such as /dev/null"),
                (">&-", b"standard output is closed: give it a file, such as /dev/null"),
                (">/dev/full", b"cannot print: No space left on device"),
                ("0>/dev/null", b"cannot read commands: Bad file descriptor")):
            self.assertEqual(self.redirected(["master.py"], redirection, b"0 start 1 10000\n0 get\n"),
                             (1, b"master.py: " + said + b"\n"))
        self.assertEqual(self.living(), [])

    def test_errors_that_nobody_reads_are_in_the_status(self):
        self.assertEqual(self.redirected(["master.py"], "2>/dev/full", b"0 dance\nsleep 0\n"), (1, b""))

    def test_wrong_options_have_status_2(self):
        for arguments in (["--timeout", "0"], ["--start-limit", "soon"], ["loud"]):
            self.assertEqual(self.master(b"", arguments)[0], 2)

    def test_a_failed_build_is_told(self):
        self.write("build", "#!/bin/sh\necho no compiler\nexit 1\n", 0o755)
        status, out, err = self.master(b"0 start 1 10000\n")
        self.assertEqual((status, out), (1, b""))
        self.assertIn(b"./build runs first", err)
        self.assertIn(b"no compiler", err)

    def test_what_is_missing_is_built_first(self):
        self.write("build", "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nmkdir -p target/release\n"
                            "echo made\n: > target/release/chatroom\n", 0o755)
        status, out, err = self.master(b"0 start 1 10000\n0 alive\n")
        self.assertEqual((status, out), (0, b"alive 0\n"))
        self.assertIn(b"made", err)
        self.assertEqual(self.master(b"")[2], b"")


class Grading(Bench):
    def setUp(self):
        Bench.setUp(self)
        os.mkdir(self.path("cases"))

    def case(self, name, script, output=None, errors=None):
        for ending, text in ((".input", script), (".output", output), (".errors", errors)):
            if text is not None:
                self.write(os.path.join("cases", name + ending), text)

    def grade(self, *arguments, **more):
        return self.run_tool("grading.py", [self.path("cases")] + list(arguments), **more)

    def test_correct_cases_are_told_in_order_also_when_run_at_once(self):
        for name, pause in (("b", 1), ("a", 300), ("d", 1), ("c", 100)):
            self.case(name, "sleep %d\n0 start 1 10000\n0 get\n" % pause, "\n messages \n\n")
        for jobs in ("1", "4"):
            status, out, err = self.grade("--jobs", jobs)
            self.assertEqual(out, b"a correct\nb correct\nc correct\nd correct\n4 passed, 0 failed\n", err)
            self.assertEqual(status, 0)

    def test_a_folder_may_have_any_name(self):
        os.rename(self.path("cases"), self.path("[a]*"))
        self.write(os.path.join("[a]*", "one.input"), "0 start 1 10000\n0 alive\n")
        self.write(os.path.join("[a]*", "one.output"), "alive 0\n")
        status, out, err = self.run_tool("grading.py", [self.path("[a]*")])
        self.assertEqual((status, out), (0, b"one correct\n1 passed, 0 failed\n"), err)

    def test_a_wrong_case_shows_the_difference(self):
        self.case("right", "0 start 1 10000\n0 alive\n", "alive 0")
        self.case("wrong", "0 start 1 10000\n0 alive\n", "alive 0,1")
        status, out, _ = self.grade()
        self.assertEqual(status, 1)
        lines = out.decode("ascii").splitlines()
        self.assertEqual(lines[:2], ["right correct", "wrong wrong"])
        self.assertIn("    -alive 0,1", lines)
        self.assertIn("    +alive 0", lines)
        self.assertEqual(lines[-1], "1 passed, 1 failed")

    def test_what_was_printed_is_kept(self):
        self.case("one", "0 start 1 10000\n0 alive\n0 dance\n", "alive 0")
        self.grade()
        with open(self.path("test_output", "one.output"), "rb") as kept:
            self.assertEqual(kept.read(), b"alive 0\n")
        with open(self.path("test_output", "one.stderr"), "rb") as kept:
            self.assertIn(b"Invalid command: 0 dance", kept.read())

    def test_expected_errors_must_be_reported(self):
        self.case("told", "0 dance\n", "", "Invalid command: 0 dance\n")
        self.case("untold", "sleep 0\n", "", "Invalid command: 0 dance\n")
        _, out, _ = self.grade()
        self.assertTrue(out.startswith(b"told correct\nuntold wrong\n"), out)

    def test_a_status_counts_only_when_strict(self):
        self.case("one", "0 dance\n", "")
        self.assertEqual(self.grade()[0], 0)
        self.assertEqual(self.grade("--strict")[0], 1)

    def test_a_missing_output_file_is_wrong(self):
        self.case("one", "sleep 0\n")
        status, out, _ = self.grade()
        self.assertEqual(status, 1)
        self.assertIn(b"one.output is missing", out)

    def test_one_case_can_be_chosen_and_repeated(self):
        self.case("one", "sleep 0\n", "")
        self.case("two", "sleep 0\n", "")
        status, out, _ = self.grade("--case", "two", "--repeat", "3")
        self.assertEqual((status, out), (0, b"two correct\n" * 3 + b"3 passed, 0 failed\n"))

    def test_no_case_at_all_is_no_success(self):
        self.assertEqual(self.grade()[0], 1)
        self.case("one", "sleep 0\n", "")
        self.assertEqual(self.grade("--case", "other")[0], 1)

    def test_the_runtime_reaches_the_servers(self):
        self.write("process", "#!/bin/sh\necho \"$CHATROOM_RUNTIME $CHATROOM_HOST\" >&2\nexit 1\n", 0o755)
        self.case("one", "0 start 1 10000\n", "")
        self.grade("--runtime", "smol")
        with open(self.path("test_output", "one.stderr"), "rb") as kept:
            self.assertTrue(kept.read().startswith(b"smol 127."))

    def test_what_the_grader_cannot_do_is_told_in_one_sentence(self):
        self.case("one", "sleep 0\n", "")
        for number in ("0", "-1", "x"):
            status, _, err = self.grade("--jobs", number)
            self.assertEqual(status, 2)
            self.assertIn(b"expected a number from 1\n", err)
        grader = ["grading.py", self.path("cases")]
        self.assertEqual(self.redirected(grader, ""), (1, b""))
        self.assertEqual(self.redirected(grader, ">/dev/full"),
                         (1, b"grading.py: cannot print: No space left on device\n"))
        self.assertEqual(self.redirected(grader, ">&-")[0], 1)
        status, _, err = self.grade(CHATROOM_BASE_PORT="x")
        self.assertEqual((status, err.splitlines()[-1]),
                         (2, b"grading.py: error: CHATROOM_BASE_PORT must be a number"))
        os.rename(self.path("test_output"), self.path("kept"))
        self.write("test_output", "")
        status, _, err = self.grade("--repeat", "2")
        self.assertEqual((status, err.count(b"\n")), (1, 1), err)
        self.assertIn(b"which cannot be made: Not a directory", err)

    def test_a_grader_that_is_told_to_end_leaves_no_server(self):
        self.case("one", PAIR + b"sleep 60000\n", "")
        self.case("two", PAIR + b"sleep 60000\n", "")
        for which, times in ((signal.SIGINT, 6), (signal.SIGTERM, 3), (signal.SIGQUIT, 1)):
            grader = subprocess.Popen([sys.executable, self.path("grading.py"), self.path("cases"), "--jobs", "2"],
                                      stdout=subprocess.PIPE, env=self.environment())
            self.addCleanup(grader.stdout.close)
            until = time.time() + 30
            while len(self.living()) < 4 and time.time() < until:
                time.sleep(0.02)
            for _ in range(times):
                grader.send_signal(which)
                time.sleep(0.001)
            grader.wait()
            self.assertEqual(grader.returncode, 128 + which)
            self.assertEqual(self.living(), [])

    def test_addresses_in_use_are_passed_over(self):
        one, two = grading.Addresses(3000), grading.Addresses(3000)
        held = [addresses.take() for addresses in (one, two, one, two)]
        self.assertEqual(len(set(host for host, _ in held)), 4)
        for _, holder in held:
            holder.close()


class Scripts(unittest.TestCase):
    def test_every_script_of_the_lab_has_its_output(self):
        names = os.listdir(os.path.join(ROOT, "tests"))
        scripts = [name for name in names if name.endswith(".input")]
        self.assertGreaterEqual(len(scripts), 40)
        for name in scripts:
            self.assertIn(name[:-len("input")] + "output", names)


if __name__ == "__main__":
    unittest.main()
