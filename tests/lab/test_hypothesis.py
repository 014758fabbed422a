"""Random lines and streams through master.py's parser, by hypothesis.

Needs the package hypothesis (`pip install hypothesis`); skipped without it.
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import grading  # noqa: E402
import master  # noqa: E402

try:
    from hypothesis import example, given, strategies as st
except ImportError:
    st = None

if st is None:
    class Fuzzing(unittest.TestCase):
        @unittest.skip("hypothesis is not installed: `pip install hypothesis` adds these tests")
        def test_parser(self):
            self.fail("skipped above")
else:
    BLANK = st.text(alphabet=" \t", min_size=1, max_size=3).map(lambda text: text.encode("ascii"))
    TEXT = st.binary(min_size=1, max_size=60).map(
        lambda raw: raw.replace(b"\n", b"").rstrip(master.BLANKS)).filter(lambda raw: raw.strip(master.BLANKS))
    # Lines near to right ones find more than arbitrary bytes do.
    WORD = st.sampled_from([b"start", b"get", b"alive", b"broadcast", b"crash", b"sleep", b"exit", b"0",
                            b"1", b"-1", b"16", b"10000", b"65535", b"65536", b"1e9", b"\xff", b"x"])
    NEAR = st.lists(st.one_of(WORD, BLANK, st.binary(max_size=4)), max_size=8).map(b" ".join)

    class Fuzzing(unittest.TestCase):
        @given(st.one_of(NEAR, st.binary(max_size=80)))
        @example(b"\x1c get")
        @example(b"0 broadcast \x85")
        def test_any_line_is_a_command_or_an_error_in_the_labs_words(self, line):
            try:
                command = master.parse(line)
            except master.LabError as error:
                self.assertTrue(error.words.startswith(grading.LAB_WORDS[:3]))
            else:
                self.assertIn(command.verb, ("start", "get", "alive", "broadcast", "crash", "sleep", "exit"))
                if command.port is not None:
                    self.assertTrue(10000 <= command.port <= 65535 and command.pid < command.n)

        @given(st.integers(0, 10 ** 8), BLANK, TEXT)
        def test_a_broadcast_keeps_its_text(self, pid, blank, text):
            line = str(pid).encode("ascii") + blank + b"broadcast " + text
            self.assertEqual(master.parse(line), master.Command("broadcast", pid, text=text))

        @given(st.integers(0, 100), st.integers(1, 100), st.integers(0, 70000), BLANK)
        def test_a_start_is_taken_exactly_within_the_bounds(self, pid, n, port, blank):
            line = blank.join([str(pid).encode("ascii"), b"start", str(n).encode("ascii"), str(port).encode("ascii")])
            try:
                command = master.parse(line)
            except master.LabError:
                self.assertFalse(pid < n and 10000 <= port <= 65535)
            else:
                self.assertEqual(command, master.Command("start", pid, n=n, port=port))

        @given(st.lists(st.binary(max_size=12)))
        def test_lines_depend_on_the_stream_and_not_on_its_pieces(self, pieces):
            lines = master.Lines()
            for piece in pieces:
                lines.feed(piece)
            self.assertEqual(b"\n".join(list(lines.whole) + [lines.unfinished()]), b"".join(pieces))


if __name__ == "__main__":
    unittest.main()
