# -*- coding: utf-8 -*-
"""What master.py and grading.py do for the lab paxos: its commands, and what a case expects."""
import os
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, TOP)

import grading      # noqa: E402
import master       # noqa: E402
import paxos_lab    # noqa: E402


class Parsed(object):
    """A master of the lab as far as it reads commands."""
    parse = paxos_lab.Paxos.__dict__["parse"]


class Commands(unittest.TestCase):
    def parse(self, line):
        command = Parsed().parse(line)
        return command.verb, command.pid, command.text

    def test_each_command_is_read(self):
        for line, parsed in [
                (b"0 msg 7 hello", ("msg", 0, b"msg 7 hello")),
                (b"-1 waitForAck 7", ("wait_for_ack", -1, b"7")),
                (b"3 waitForAck 7", ("wait_for_ack", 3, b"7")),
                (b"2 get chatLog", ("chat_log", 2, None)),
                (b"1 crash", ("crash", 1, None)),
                (b"1 crashAfterP1b", ("arm", 1, b"crashAfterP1b")),
                (b"1 crashP1a", ("arm", 1, b"crashP1a")),
                (b"1 crashP2a  0 2", ("arm", 1, b"crashP2a 0 2")),
                (b"1 crashDecision 0", ("arm", 1, b"crashDecision 0"))]:
            self.assertEqual(self.parse(line), parsed)

    def test_what_is_no_command_is_refused(self):
        for line in [b"0 msg 7", b"0 msg 7 two words", b"0 msg x y", b"-1 msg 7 a", b"-1 crash",
                     b"0 get", b"0 get all", b"1 crashAfterP1b 2", b"1 crashP1a x", b"1 crash 2",
                     b"x crash", b"1 broadcast a"]:
            self.assertRaises(master.LabError, self.parse, line)


class Expected(unittest.TestCase):
    def faults(self, printed):
        text = b"{'count': 2, 'mandatory': 'A,B', 'optional': 'C'}\n"
        self.assertTrue(grading.LogsExpected.reads(text))
        return grading.LogsExpected(text).faults(printed)

    def test_equal_logs_with_all_mandatory_words_are_right(self):
        self.assertEqual(self.faults(b"chatLog A,B\nchatLog A,B\n"), [])
        self.assertEqual(self.faults(b"chatLog B,C,A\nchatLog B,C,A\n"), [])

    def test_each_fault_is_told(self):
        for printed, words in [
                (b"chatLog A,B\n", "1 logs were printed: expected 2"),
                (b"chatLog A,B\nchatLog B,A\n", "two logs differ"),
                (b"chatLog A\nchatLog A\n", "the log lacks B"),
                (b"chatLog A,B,D\nchatLog A,B,D\n", "nobody said D"),
                (b"messages A,B\nmessages A,B\n", "no log")]:
            faults = self.faults(printed)
            self.assertTrue(any(words in fault for fault in faults), faults)

    def test_an_empty_log_is_a_log(self):
        expected = grading.LogsExpected(b"{'count': 1, 'mandatory': '', 'optional': ''}")
        self.assertEqual(expected.faults(b"chatLog \n"), [])

    def test_other_outputs_are_compared_as_they_are(self):
        self.assertFalse(grading.LogsExpected.reads(b"messages a\n"))


if __name__ == "__main__":
    unittest.main()
