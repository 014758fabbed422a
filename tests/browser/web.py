"""A page of another origin in a real browser tries to command a live server: `web.py BINARY`.

The page is read from one loopback address, the servers listen on another. Every way that the page
has to send bytes there is tried, with `broadcast` and `crash` in them wherever the browser lets the
page choose them. Each time both servers must stay alive, nothing may have been broadcast, and the
log must have the reason why the connection was closed."""

import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from driver import PATIENCE, Browser

BINARY = pathlib.Path(os.environ.get("CHATROOM_TEST_BINARY") or sys.argv[1]).resolve()
# Addresses that no other run has: for the servers, and for the page.
HOST, ELSEWHERE = ("127.%d.%d.%d" % (64 | os.getpid() >> 8 & 63, os.getpid() & 255, last) for last in (1, 2))
MASTERS, BASE = 20000, 3000
REASON = "an HTTP request: this is no web server"
# What the servers would obey if they read on past the request's first lines.
COMMANDS = "broadcast from a web page\r\ncrash\r\n"


class Page(http.server.BaseHTTPRequestHandler):
    """An empty page, and a place to come back to."""

    def do_GET(self):
        body = b"<!doctype html><title>elsewhere</title><p>A page of another origin."
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server:
    """One of two servers, with its log in a file."""

    def __init__(self, number, folder):
        self.port = MASTERS + number
        self.file = pathlib.Path(folder) / str(number)
        # With every default, whatever the environment says.
        plain = {name: value for name, value in os.environ.items() if not name.startswith("CHATROOM_")}
        with self.file.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BINARY), "serve", str(number), "2", str(self.port), "--host", HOST, "--base-port", str(BASE)],
                stdin=subprocess.DEVNULL, stderr=log, env=plain)

    def log(self):
        return self.file.read_text(encoding="utf-8")

    def ask(self, command):
        """A server's answer; empty if there is none."""
        try:
            with socket.create_connection((HOST, self.port), PATIENCE) as master:
                master.sendall(command.encode() + b"\n")
                return master.makefile(encoding="utf-8", newline="\n").readline().rstrip("\n")
        except OSError:
            return ""

    def until(self, holds, what):
        end = time.monotonic() + PATIENCE
        while not holds():
            if self.process.poll() is not None:
                raise AssertionError("the server ended with status %d" % self.process.returncode)
            if time.monotonic() > end:
                raise AssertionError("waited in vain: %s; the log: %s" % (what, self.log()))
            time.sleep(0.01)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Web(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pages = http.server.ThreadingHTTPServer((ELSEWHERE, 0), Page)
        cls.addClassCleanup(cls.pages.server_close)
        cls.addClassCleanup(cls.pages.shutdown)
        threading.Thread(target=cls.pages.serve_forever, daemon=True).start()
        cls.browser = Browser().__enter__()
        cls.addClassCleanup(cls.browser.__exit__)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.servers = []
        for number in range(2):
            self.servers.append(Server(number, folder.name))
            self.addCleanup(self.servers[-1].end)
        for server in self.servers:
            server.until(lambda: server.ask("alive") == "alive 0,1", "the grid is whole")
        self.url = "http://%s:%d/" % (HOST, MASTERS)
        self.browser.open("http://%s:%d/" % (ELSEWHERE, self.pages.server_port))

    def attack(self, script):
        """Runs `script` in the page, with where to send in `url` and what in `commands`."""
        self.browser.run("const url = %s, commands = %s;\n%s" % (json.dumps(self.url), json.dumps(COMMANDS), script))

    def unharmed(self):
        """The first server closed what the page made the browser open, and obeyed nothing of it."""
        first = self.servers[0]
        first.until(lambda: REASON in first.log(), "the log has the reason")
        # An honest text comes after whatever the page could have broadcast, on both servers.
        self.assertEqual(first.ask("get"), "messages ")
        self.assertEqual(first.ask("broadcast honest\nget"), "messages honest")
        second = self.servers[1]
        second.until(lambda: second.ask("get") == "messages honest", "the honest text arrives")
        for server in self.servers:
            self.assertEqual(server.ask("alive"), "alive 0,1")
            self.assertEqual(server.ask("get"), "messages honest")
            self.assertIsNone(server.process.poll())

    def test_a_post_without_cors_is_not_obeyed(self):
        self.attack("fetch(url, { method: 'POST', mode: 'no-cors', body: commands }).catch(() => {});")
        self.unharmed()

    def test_a_post_that_would_read_the_reply_is_not_obeyed(self):
        self.attack("fetch(url, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: commands }).catch(() => {});")
        self.unharmed()

    def test_a_request_that_asks_before_is_not_obeyed(self):
        self.attack("fetch(url, { method: 'PUT', body: commands }).catch(() => {});")
        self.unharmed()

    def test_a_beacon_is_not_obeyed(self):
        self.attack("navigator.sendBeacon(url, commands);")
        self.unharmed()

    FORM = """
const form = document.createElement("form"), area = document.createElement("textarea");
form.method = "post"; form.action = url; form.enctype = "%s"; form.target = "%s";
area.name = "text"; area.value = "\\n" + commands;
form.append(area); document.body.append(form);
"""
    FRAME = """
const frame = document.createElement("iframe");
frame.name = "inside"; document.body.append(frame);
"""

    def test_a_form_of_plain_text_is_not_obeyed(self):
        self.attack(self.FRAME + self.FORM % ("text/plain", "inside") + "form.submit();")
        self.unharmed()

    def test_a_form_in_several_parts_is_not_obeyed(self):
        self.attack(self.FRAME + self.FORM % ("multipart/form-data", "inside") + "form.submit();")
        self.unharmed()

    def test_a_form_that_leaves_the_page_is_not_obeyed(self):
        # Deferred, so that the script's own answer still finds its page.
        self.attack(self.FORM % ("text/plain", "_self") + "setTimeout(() => form.submit());")
        self.unharmed()

    def test_a_navigation_is_not_obeyed(self):
        self.attack("setTimeout(() => { location = url + 'crash%0Abroadcast%20x%0A?a\\ncrash\\n'; });")
        self.unharmed()

    def test_a_picture_a_script_and_a_frame_are_not_obeyed(self):
        for tag in ("img", "script", "iframe"):
            self.attack("const made = document.createElement('%s'); made.src = url + 'crash'; document.body.append(made);" % tag)
        self.unharmed()

    def test_a_web_socket_is_not_obeyed(self):
        self.attack("new WebSocket(url.replace('http', 'ws')).onopen = function () { this.send(commands); };")
        self.unharmed()

    def test_the_port_for_links_delivers_nothing(self):
        first = self.servers[0]
        url = "http://%s:%d/" % (HOST, BASE)
        self.browser.run("fetch(%s, { method: 'POST', mode: 'no-cors', body: 'ping 1\\nmsg 1 from a web page\\n' }).catch(() => {});"
                         % json.dumps(url))
        first.until(lambda: "why=no identity" in first.log(), "the log has the reason")
        self.assertEqual(first.ask("get"), "messages ")
        self.assertEqual(self.servers[1].ask("alive"), "alive 0,1")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
