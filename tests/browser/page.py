"""Uses the simulator's diagrams as a reader would: `page.py PAGES [SHOTS]`."""

import json
import pathlib
import re
import sys
import unittest

from driver import Browser

PAGES = pathlib.Path(sys.argv[1]).resolve()
SHOTS = pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None
# How long a page with 100,000 events may take until it can be used, in ms. It needs about a tenth.
USABLE = 20000

# The lightness of the canvas' corner, and how many colours are on it.
COLOURS = """
const view = document.getElementById("view");
const points = view.getContext("2d").getImageData(0, 0, view.width, view.height).data;
const found = new Set();
for (let at = 0; at < points.length; at += 4) found.add(points[at] << 16 | points[at + 1] << 8 | points[at + 2]);
return [points[0] + points[1] + points[2], found.size];
"""


# How long a key takes until what it asked for is drawn, in ms.
FRAME = """
const done = arguments[0], begin = performance.now();
document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "%s", bubbles: true }));
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begin)));
"""


def recording(name):
    page = (PAGES / name).read_text(encoding="utf-8")
    return json.loads(re.search(r'id="recording">(.*?)</script>', page, re.S).group(1))


def groups(data):
    """How many events there are of each kind."""
    counts = {}
    for kind in data["kind"]:
        word = data["words"][kind]
        counts[word] = counts.get(word, 0) + 1
    return counts


class Diagram(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser()) if hasattr(cls, "enterClassContext") else Browser().__enter__()
        if not hasattr(cls, "enterClassContext"):
            cls.addClassCleanup(cls.browser.__exit__)

    def show(self, name, scheme="light"):
        self.browser.open("about:blank")
        self.browser.prefer(scheme)
        self.browser.logged()
        file, mark, event = name.partition("#")
        self.browser.open((PAGES / file).as_uri() + mark + event)
        if file.endswith(".html"):
            self.browser.until("return document.body.dataset.ready || document.body.dataset.error", "the page is ready")

    def shoot(self, name):
        if SHOTS:
            SHOTS.mkdir(parents=True, exist_ok=True)
            # Two frames, so that what was asked for is drawn.
            self.browser.call("POST", "/execute/async", {"args": [], "script":
                "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(1)));"})
            self.browser.shoot(SHOTS / (name + ".png"))

    def said(self, id):
        return self.browser.run("return document.getElementById('%s').textContent" % id)

    def picked(self):
        found = re.match(r"event (\d+) selected", self.said("status"))
        return int(found.group(1)) if found else None

    def shown(self):
        return int(re.search(r"(\d+) of \d+ events shown", self.said("status")).group(1))

    def search(self, words):
        """Searches, and waits until all of the words were looked for."""
        self.browser.type("#search", words)
        self.browser.until("return document.getElementById('matches').dataset.of === %s" % json.dumps(words), "the search")
        self.assertGreater(int(self.said("matches").split()[0]), 0)

    def healthy(self):
        self.assertEqual(self.browser.logged(), [], "the browser complains")
        self.assertIsNone(self.browser.run("return document.body.dataset.error || null"))
        self.assertEqual(self.browser.run("return performance.getEntriesByType('resource').length"), 0,
                         "the page fetched something")

    def test_a_violation_is_shown_first_and_keys_step_from_event_to_event(self):
        data = recording("small.html")
        events = data["violation"]["events"]
        self.show("small.html")
        self.assertEqual(self.picked(), events[-1])
        self.assertIn(data["violation"]["text"], self.said("alarm"))
        self.assertEqual(self.browser.run("return document.querySelectorAll('#alarm b').length"), 0)
        self.shoot("small-light")
        self.browser.press("j")
        self.assertEqual(self.picked(), events[-1] + 1)
        self.browser.press("down", "down", "k")
        self.assertEqual(self.picked(), events[-1] + 2)
        self.browser.press("g")
        self.assertEqual(self.picked(), 0)
        self.browser.press("v")
        self.assertEqual(self.picked(), events[0])
        self.browser.press("V")
        self.assertEqual(self.picked(), events[-1])
        self.browser.press("G")
        self.assertEqual(self.picked(), len(data["at"]) - 1)
        self.browser.press("J")
        self.assertEqual(self.picked(), len(data["at"]) - 1, "there is no event after the last")
        self.browser.click("#culprits button")
        self.assertEqual(self.picked(), events[0])
        self.assertIn("breaks the property", self.said("live"))
        self.healthy()

    def test_an_arrow_is_followed_from_its_receipt_to_its_sending_and_back(self):
        data = recording("small.html")
        arrows = [data["arrows"][at:at + 5] for at in range(0, len(data["arrows"]), 5)]
        # A sending that was read in one piece.
        senders, readers = [a[1] for a in arrows], [a[2] for a in arrows]
        at, reader = next((a[1], a[2]) for a in arrows if a[0] == 0 and senders.count(a[1]) == 1 and readers.count(a[2]) == 1)
        self.show("small.html#%d" % reader)
        self.assertEqual(self.picked(), reader)
        self.browser.press("c")
        self.assertEqual(self.picked(), at)
        self.browser.press("e")
        self.assertEqual(self.picked(), reader)
        self.assertIn("vector clock", self.said("event"))
        self.browser.press("x")
        self.assertTrue(self.browser.run("return document.getElementById('cone').checked"))
        self.shoot("small-cone")
        self.healthy()

    def test_filters_hide_kinds_lanes_and_what_does_not_match(self):
        data, counts = recording("small.html"), groups(recording("small.html"))
        everything = len(data["at"])
        self.show("small.html")
        if self.shown() < everything:
            self.browser.click("#groups label:nth-child(7)")
        self.assertEqual(self.shown(), everything)
        self.browser.click("#groups label:nth-child(4)")
        left = everything - counts["sent"] - counts["received"]
        self.assertEqual(self.shown(), left)
        self.browser.click("#groups label:nth-child(4)")
        self.assertEqual(self.shown(), everything)
        self.browser.click("#lanes-menu summary")
        self.browser.click("#lanes label:nth-child(3)")
        self.assertEqual(self.shown(), everything - data["lane"].count(1))
        self.browser.click("#lanes label:nth-child(3)")
        self.browser.click("h1")
        self.search("farewell -sent")
        found = int(self.said("matches").split()[0])
        words = [w.lower() for w in data["words"]]
        hits = sum("farewell" in words[t] and words[k] != "sent" and "sent" not in words[t]
                   for t, k in zip(data["text"], data["kind"]))
        self.assertEqual(found, hits)
        self.assertEqual(self.shown(), everything)
        self.browser.click("label:has(#only)")
        self.assertEqual(self.shown(), found)
        self.browser.click("#match-next")
        self.assertIn("farewell", self.said("event"))
        self.shoot("small-only")
        self.healthy()

    def test_lanes_without_events_and_failed_dials_are_shown_when_asked_for(self):
        self.show("wide.html")
        wide = recording("wide.html")
        failed = sum(wide["words"][k] == "dial-failed" for k in wide["kind"])
        self.assertGreater(failed, 0)
        hidden = len(wide["at"]) - self.shown()
        self.assertGreaterEqual(hidden, 2 * failed, "dials, and what became of them")
        self.browser.click("#groups label:nth-child(7)")
        self.assertEqual(self.shown(), len(wide["at"]))
        heads = "return [...document.querySelectorAll('#heads span')].map((head) => head.textContent)"
        self.assertNotIn("server19", self.browser.run(heads), "it never starts")
        self.browser.click("#lanes-menu summary")
        self.assertIn("server19", self.said("lanes"))
        # More lanes than fit: the words keep their place, and the lanes move.
        words = "return [...document.querySelectorAll('#heads span')].pop().getBoundingClientRect()"
        place = self.browser.run(words)
        self.assertLess(place["right"], self.browser.run("return document.getElementById('view').clientWidth"))
        self.assertNotIn("s18", self.browser.run(heads))
        self.browser.press("G", "J")
        self.browser.run("document.getElementById('stage').dispatchEvent(new WheelEvent('wheel', { deltaX: 5000 }))")
        self.browser.until(heads + ".includes('s18')", "the last lane comes in sight")
        self.assertEqual(self.browser.run(words)["left"], place["left"])
        self.shoot("wide")
        self.browser.call("POST", "/window/rect", {"width": 390, "height": 844})
        try:
            self.show("wide.html")
            self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth - innerWidth"), 0)
            place = self.browser.run(words)
            self.assertGreater(self.browser.run("return document.getElementById('view').clientWidth") - place["left"], 120)
            self.shoot("wide-phone")
            self.show("small.html", "dark")
            self.shoot("small-phone-dark")
        finally:
            self.browser.call("POST", "/window/rect", {"width": 1440, "height": 900})
        self.healthy()

    def test_the_logs_of_the_servers_that_matter_come_first(self):
        data = recording("small.html")
        self.show("small.html")
        self.browser.press("g")
        first = self.browser.run("return document.querySelector('#logs h3').textContent")
        blamed = {data["lanes"][data["lane"][i]] for i in data["violation"]["events"]}
        self.assertIn(first.split(" ")[0], blamed)

    def test_a_jump_to_a_hidden_event_opens_the_filters_that_hide_it(self):
        self.show("small.html")
        for group in range(1, 7):
            self.browser.click("#groups label:nth-child(%d)" % group)
        self.assertEqual(self.shown(), 0)
        self.browser.click("#culprits button")
        self.assertEqual(self.picked(), recording("small.html")["violation"]["events"][0])
        self.assertGreater(self.shown(), 0)
        self.healthy()

    def test_hostile_texts_stay_texts(self):
        self.show("small.html")
        self.assertEqual(self.browser.run("return document.title"), "A small run")
        self.search("</script>")
        self.browser.click("#match-next")
        self.assertIn("</script><script>", self.said("event"))
        self.assertEqual(self.browser.run("return document.querySelectorAll('script').length"), 2)
        self.healthy()

    def test_logs_stand_as_they_were_at_the_selected_event(self):
        data = recording("small.html")
        at, entry = data["log"][len(data["log"]) // 2]
        self.show("small.html#%d" % at)
        self.assertEqual(self.browser.run("return document.querySelector('#logs .now').textContent"), entry)
        self.browser.press("g")
        self.assertEqual(self.browser.run("return document.querySelectorAll('#logs li').length"), 0)
        self.healthy()

    def test_it_zooms_shows_true_time_and_explains_its_keys(self):
        self.show("small.html")
        before = self.browser.run(COLOURS)[1]
        self.assertGreater(before, 50, "the canvas is as good as empty")
        self.browser.press("+", "+", "-", "0")
        self.shoot("small-fit")
        self.browser.press("t")
        self.assertTrue(self.browser.run("return document.getElementById('by-time').checked"))
        self.shoot("small-time")
        self.browser.press("0", "+", "+", "t")
        self.browser.press("?")
        self.assertTrue(self.browser.run("return document.getElementById('help').open"))
        self.shoot("small-help")
        self.browser.press("escape")
        self.assertFalse(self.browser.run("return document.getElementById('help').open"))
        self.browser.point("#map", 0, -200)
        self.browser.point("#view", 0, 0)
        self.assertNotEqual(self.picked(), recording("small.html")["violation"]["events"][-1])
        self.healthy()

    def test_it_follows_the_choice_of_light_or_dark(self):
        self.show("small.html", "light")
        light = self.browser.run(COLOURS)[0]
        self.browser.prefer("dark")
        self.browser.until(COLOURS.replace("found.size];", "found.size][0] < 200;"), "the canvas is dark")
        self.assertGreater(light, 600)
        self.shoot("small-dark")
        self.healthy()

    def test_a_hundred_thousand_events_are_soon_usable(self):
        data = recording("large.html")
        self.assertGreaterEqual(len(data["at"]), 100000)
        self.show("large.html", "dark")
        ready = int(self.browser.run("return document.body.dataset.ready"))
        print("\n%d events: usable after %d ms" % (len(data["at"]), ready))
        self.assertLess(ready, USABLE)
        self.browser.press("G", "k")
        self.assertEqual(self.picked(), len(data["at"]) - 2)
        self.browser.press("g", "j")
        self.assertEqual(self.picked(), 1)
        for key, what in (("0", "all of it drawn"), ("j", "a step")):
            took = self.browser.call("POST", "/execute/async", {"script": FRAME % key, "args": []})
            print("%s after %d ms" % (what, took))
            self.assertLess(took, USABLE)
        self.browser.press("0")
        self.shoot("large-fit")
        self.browser.press("t")
        self.shoot("large-time-near")
        self.browser.press("0")
        self.shoot("large-time")
        self.browser.press("t")
        self.search("delivered text")
        self.browser.click("label:has(#only)")
        self.browser.click("#fit")
        self.shoot("large-only")
        self.browser.click("#groups label:nth-child(6)")
        self.assertEqual(self.shown(), 0)
        self.browser.click("#groups label:nth-child(6)")
        self.assertGreater(self.shown(), 1000)
        self.healthy()

    def test_the_picture_is_well_formed_and_follows_light_and_dark(self):
        for name, rows in (("small.svg", None), ("large.svg", 2000)):
            self.show(name)
            self.assertEqual(self.browser.run("return document.documentElement.nodeName"), "svg")
            self.assertEqual(self.browser.run("return document.querySelectorAll('parsererror, script').length"), 0)
            words = self.browser.run("return document.querySelectorAll('text.words').length")
            if rows:
                self.assertEqual(words, rows)
            fill = "return getComputedStyle(document.querySelector('.page')).fill"
            light = self.browser.run(fill)
            self.shoot(name.replace(".", "-"))
            self.browser.prefer("dark")
            self.assertNotEqual(self.browser.run(fill), light)
            self.shoot(name.replace(".", "-") + "-dark")
            self.assertEqual(self.browser.logged(), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
