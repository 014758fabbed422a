"""Headless Chromium by the WebDriver protocol: as much of it as the tests need, and no package."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1440,900",
]
# What a driver calls an element, and the keys that have no character.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"down": "\ue015", "up": "\ue013", "left": "\ue012", "right": "\ue014", "escape": "\ue00c", "enter": "\ue007"}
# How long anything may take on a busy machine, in seconds.
PATIENCE = 60


class Browser:
    """One browser with one window."""

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="browser-")
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        port = None
        for line in self.process.stdout:
            port = re.search(r"started successfully on port (\d+)", line)
            if port:
                break
        if not port:
            raise RuntimeError("chromedriver did not start")
        self.base = "http://127.0.0.1:" + port.group(1)
        options = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": FLAGS + ["--user-data-dir=" + self.profile]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self.session = ""
        found = self.call("POST", "", {"capabilities": {"alwaysMatch": options}})
        self.session = "/" + found["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self.call("DELETE", "")
        except (OSError, RuntimeError, AttributeError):
            pass
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + "/session" + self.session + path, data, {"Content-Type": "application/json"}, method=method)
        # Straight to this machine, whatever the environment says of proxies.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"].splitlines()[0]) from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script):
        """What a function with this body returns in the page."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def until(self, script, what):
        """Waits until the page's answer is true-like; returns it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError("waited in vain: " + what)

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.call("POST", "/element/%s/click" % self.find(selector), {})

    def type(self, selector, text):
        self.call("POST", "/element/%s/value" % self.find(selector), {"text": text})

    def press(self, *keys):
        """Presses keys one after the other on what has the focus."""
        actions = []
        for key in keys:
            key = KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def point(self, selector, x, y):
        """Clicks at a place in an element, measured from its middle."""
        where = {ELEMENT: self.find(selector)}
        self.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [
            {"type": "pointerMove", "origin": where, "x": x, "y": y}, {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0}]}]})

    def prefer(self, scheme):
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]}})

    def logged(self):
        """What the browser complained of since the last time, but for how the tests read a canvas."""
        return [line["message"] for line in self.call("POST", "/se/log", {"type": "browser"})
                if line["level"] in ("SEVERE", "WARNING") and "getImageData" not in line["message"]]

    def shoot(self, file):
        with open(file, "wb") as out:
            out.write(base64.b64decode(self.call("GET", "/screenshot")))
