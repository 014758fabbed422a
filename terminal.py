# -*- coding: utf-8 -*-
"""What master.py needs for a person at a terminal, and only then.

The prompt with its history, Tab and Ctrl-C, the suggestion for a mistyped
command, and texts made harmless to look at. Python 2.7 and 3, as master.py;
readline is used where Python has it.
"""
from __future__ import print_function

import difflib
import os
import re
import signal
import sys

try:
    import readline
except ImportError:
    readline = None

PY2 = sys.version_info[0] == 2
HISTORY = "~/.chatroom_history"
VERBS = ("start", "get", "alive", "broadcast", "crash")
WORDS = ("sleep", "exit", "help")
# Other programs' words for ours.
MEANT = {"quit": "exit", "q": "exit", "bye": "exit", "stop": "crash", "kill": "crash", "?": "help",
         "say": "broadcast", "send": "broadcast", "log": "get", "wait": "sleep"}

# Controls, and the marks with which a text can be shown in another order than
# its bytes have (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069).
# Tab and newline stay.
HARMFUL = re.compile(u"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(data):
    """A text, as bytes, in which nothing is left that a terminal would obey.

    Bytes that are not UTF-8 are shown as well: some terminals take 0x80 to 0x9f
    for controls.
    """
    shown = []
    while data:
        try:
            good, data = data.decode("utf-8"), b""
            broken = b""
        except UnicodeDecodeError as error:
            good = data[:error.start].decode("utf-8")
            broken, data = data[error.start:error.end], data[error.end:]
        shown.append(HARMFUL.sub(lambda found: escape(ord(found.group())), good))
        shown.extend(escape(byte) for byte in bytearray(broken))
    return u"".join(shown).encode("utf-8")


def escape(code):
    return (u"\\x%02x" if code < 0x100 else u"\\u%04x") % code


def suggestion(line):
    """The command that a line was perhaps meant to be, as text; empty if none is near."""
    words = line.decode("utf-8", "replace").split()
    # The verb stands behind the id, or before it, as in `get 0`.
    at = 1 if len(words) > 1 and words[0].isdigit() else 0
    verb = words[at].lower()
    verb = verb if verb in VERBS + WORDS else MEANT.get(verb) or nearest(verb)
    if verb is None:
        return u""
    if verb in WORDS:
        return u"sleep MS" if verb == "sleep" else verb
    others = words[:at] + words[at + 1:]
    pid, n, port = [word if word.isdigit() else name for word, name in
                    zip((others + [u"", u"", u""])[:3], (u"ID", u"N", u"PORT"))]
    more = {"start": u" %s %s" % (n, port), "broadcast": u" TEXT"}
    return u"%s %s%s" % (pid, verb, more.get(verb, u""))


def nearest(word):
    """The word of ours that is most like this one, or None if none is much like it."""
    return (difflib.get_close_matches(word, VERBS + WORDS, 1) or [None])[0]


def completions(before, word, n, running):
    """What may stand for `word`, of which the beginning is typed, after the words `before`.

    `n` is the grid's size, 0 if it is not known yet; `running` are the ids that run.
    """
    if not before:
        found = ["%d " % pid for pid in range(max(n, 1))] + ["sleep ", "exit", "help"]
    elif len(before) == 1 and before[0].isdigit():
        verbs = VERBS[1:] if int(before[0]) in running else VERBS[:1]
        found = [verb + (" " if verb in ("start", "broadcast") else "") for verb in verbs]
    elif len(before) == 2 and before[1] == "start":
        found = ["%d " % n] if n else []
    elif len(before) == 3 and before[1] == "start" and before[0].isdigit():
        found = ["%d" % (10000 + int(before[0]))] if int(before[0]) <= 55535 else []
    else:
        found = []
    return [each for each in found if each.startswith(word)]


def typed(master):
    """The lines of a user, with a prompt and a history."""
    if readline:
        prepare(master)
    path = os.path.expanduser(HISTORY)
    try:
        if readline:
            readline.set_history_length(1000)
            readline.read_history_file(path)
    except (IOError, OSError):
        pass    # the first session has none
    try:
        cleared = False     # by Ctrl-C, without that a line was entered since
        while True:
            try:
                line = ask(master, "> ")
                cleared = False
            except EOFError:
                print()
                return
            except UnicodeDecodeError:
                master.fail("Invalid command: not in the terminal's encoding, %s" % sys.stdin.encoding)
                continue
            except KeyboardInterrupt:
                print()
                half = master.signals.typed
                if half or half is None and not cleared:
                    # Without readline nobody knows whether a line was begun.
                    cleared = True
                    if half is None:
                        print("Ctrl-C again or `exit` ends the session")
                    continue
                cleared = False
                if confirmed(master):
                    master.leave(signal.SIGINT)
                continue
            yield line
    finally:
        try:
            if readline:
                readline.write_history_file(path)
        except (IOError, OSError):
            pass    # a history that cannot be kept is no reason to fail


def ask(master, prompt):
    """One line, as bytes; Ctrl-C is a KeyboardInterrupt, Ctrl-D an EOFError."""
    signals = master.signals
    try:
        signals.interruptible = True
        line = raw_input(prompt) if PY2 else input(prompt)     # noqa: F821
    finally:
        signals.interruptible = False
    return line if PY2 else line.encode(sys.stdin.encoding, "surrogateescape")


def confirmed(master):
    """Whether the session shall end, which a grid that runs has to be asked for."""
    count = len(master.running())
    if not count:
        return True
    try:
        answer = ask(master, "End the grid of %d server%s? [y/N] " % (count, "s"[count == 1:]))
    except (EOFError, KeyboardInterrupt):
        print()
        return True
    except UnicodeDecodeError:
        return False
    if readline and answer.strip() and readline.get_current_history_length():
        readline.remove_history_item(readline.get_current_history_length() - 1)
    return answer.strip().lower() in (b"y", b"yes")


def prepare(master):
    """Has readline complete, and say what is typed when Ctrl-C comes."""
    found = []

    def complete(word, state):
        if state == 0:
            before = readline.get_line_buffer()[:readline.get_begidx()].split()
            running = [server.pid for server in master.running()]
            found[:] = completions(before, word, master.n, running)
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t")
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    master.signals.half_typed = readline.get_line_buffer
