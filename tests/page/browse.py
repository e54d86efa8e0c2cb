"""Reads the status page as a person would, in a real browser: browse.py BROWSER FOLDER [--screenshot FILE]"""

from __future__ import annotations

import base64
import pathlib
import re
import struct
import subprocess
import sys

from devtools import Browser, until
from forward import Forward

#: The picture in the README weighs no more.
MOST_BYTES = 150_000
#: Its width, in pixels.
WIDTH = 1100


class Node:
    """The played node, with the real watchdog in it."""

    def __init__(self, folder: str) -> None:
        command = [f"{folder}/examples/page", f"{folder}/rustbalance-watchdog"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.socket = self._said()

    def _said(self) -> str:
        line = self.process.stdout.readline()
        assert line, "the played node ended"
        return line.strip()

    def make(self, word: str) -> None:
        """Has something happen in the node."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self._said() == "done"

    def close(self) -> None:
        """Ends it, and the watchdog with it."""
        self.process.stdin.close()
        self.process.wait(60)


def text(browser: Browser) -> str:
    return browser.evaluate("document.body.innerText")


def follows(browser: Browser) -> bool:
    return browser.evaluate("document.getElementById('note').className") == "good"


def it_is_live(browser: Browser, node: Node, url: str) -> None:
    """What happens in the node is in the page, which is not loaded again for it."""
    browser.open(url)
    until("the first event is there", lambda: follows(browser))
    until("the daemons were asked", lambda: text(browser).count("8 of 8 hold it") == 2 and "delta" in text(browser))
    assert "drained" not in text(browser) and "behind:" not in text(browser), text(browser)
    browser.evaluate("window.mark = 'the same page'")
    node.make("drain")
    until("the drained node is shown", lambda: "drained: takes no new clients" in text(browser))
    until("the HSDir that is behind is shown", lambda: "behind: has an older one" in text(browser))
    node.make("hang")
    until("what was done is shown", lambda: "tries to kill the standby tor" in text(browser))
    until("what came of it is shown", lambda: "over: the standby tor" in text(browser))
    assert browser.evaluate("window.mark") == "the same page", "it was loaded again"


def the_ring_is_drawn(browser: Browser) -> None:
    """Each relay has its mark, its label and its row; those who cannot see are told."""
    rings = browser.evaluate(
        "[...document.querySelectorAll('svg')].map(ring => [ring.querySelectorAll('text.name').length,"
        " ring.querySelectorAll('.verified,.accepted,.behind').length, ring.getBoundingClientRect().width])"
    )
    assert len(rings) == 2 and rings[0][2] > rings[1][2], f"the one that clients fetch is the larger one: {rings}"
    assert all(labels == 8 and marks == 16 for labels, marks, _ in rings), rings
    outside = browser.evaluate(
        "[...document.querySelectorAll('svg')].flatMap(ring => {const all = ring.getBoundingClientRect();"
        " return [...ring.querySelectorAll('*')].map(it => it.getBoundingClientRect()).filter(it =>"
        " it.left < all.left || it.right > all.right || it.top < all.top || it.bottom > all.bottom)}).length"
    )
    assert outside == 0, f"{outside} pieces are outside of the picture"
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    images = [it["name"]["value"] for it in tree if it.get("role", {}).get("value") in ("image", "img")]
    assert any(re.search(r"period \d+: 7 of 8 responsible relays", name) for name in images), images


def nothing_comes_from_elsewhere(browser: Browser, url: str) -> None:
    """The page asks for itself and its events, and the browser has nothing to say against it."""
    assert browser.asked_for() == {url, f"{url}events"}, browser.asked_for()
    assert not browser.complaints(), browser.complaints()


def it_says_when_it_is_old(browser: Browser, node: Node, forward: Forward) -> Forward:
    """When the way to the node is cut that is shown, and when it is back the page goes on by itself."""
    forward.close()
    until("that is shown", lambda: "may be old" in text(browser))
    again = Forward(node.socket, forward.port)
    until("it follows again", lambda: follows(browser))
    return again


def injected_markup_does_nothing(browser: Browser) -> None:
    """Even if a name became markup: no script of it runs, and nothing is fetched."""
    browser.evaluate(
        "document.getElementById('live').innerHTML ="
        " '<img src=x onerror=\"window.bad = 1\"><iframe srcdoc=\"<script>top.bad = 1</script>\"></iframe>'"
    )
    browser.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.bad = 1'}))"
    )
    fetched = browser.evaluate("fetch('http://127.0.0.1:9/').then(() => 'fetched', error => error.name)")
    assert fetched == "TypeError", fetched
    assert browser.evaluate("window.bad === undefined"), "the policy does not hold"
    until("the policy's refusals are told", lambda: len(browser.complaints()) >= 2)


def without_script(browser: Browser, url: str) -> None:
    """It is whole, and reads itself again."""
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(url)
    loaded = browser.count("Page.loadEventFired")
    document = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    html = browser.call("DOM.getOuterHTML", nodeId=document)["outerHTML"]
    assert "alpha holds the lease" in html and html.count("<svg") == 2, html
    until("it was read again", lambda: browser.count("Page.loadEventFired") > loaded)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def pictures(browser: Browser, url: str, wanted: str | None) -> None:
    """It is legible in both schemes and on a telephone; the light one is the README's picture."""
    backs = {}
    for scheme in ("dark", "light"):
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", features=media)
        backs[scheme] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert backs == {"dark": "rgb(22, 22, 22)", "light": "rgb(255, 255, 255)"}, backs
    for width in (400, WIDTH):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.open(url)
        until("it follows", lambda: follows(browser))
        wide = browser.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} pixels do not fit into {width}"
    height = browser.evaluate("document.querySelectorAll('h3')[1].getBoundingClientRect().top + scrollY")
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    shot = browser.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    png = base64.b64decode(shot["data"])
    assert struct.unpack(">II", png[16:24])[0] == WIDTH, "not the picture that was asked for"
    assert len(png) > 50_000, f"the picture has {len(png)} bytes: there is next to nothing on it"
    if wanted:
        # A page has few colours.
        png = subprocess.run(["pngquant", "64", "-"], input=png, stdout=subprocess.PIPE, check=True).stdout
        assert len(png) < MOST_BYTES, f"the picture has {len(png)} bytes"
        pathlib.Path(wanted).write_bytes(png)
        print(f"{wanted}: {len(png)} bytes")


def main(program: str, folder: str, screenshot: str | None) -> None:
    node = Node(folder)
    try:
        forward = Forward(node.socket)
        url = f"http://127.0.0.1:{forward.port}/"
        browser = Browser(program)
        try:
            it_is_live(browser, node, url)
            the_ring_is_drawn(browser)
            pictures(browser, url, screenshot)
            nothing_comes_from_elsewhere(browser, url)
            forward = it_says_when_it_is_old(browser, node, forward)
            without_script(browser, url)
            browser.open(url)
            injected_markup_does_nothing(browser)
        finally:
            browser.close()
    finally:
        node.close()
    print("the status page: all as it should be")


if __name__ == "__main__":
    program, folder, *rest = sys.argv[1:]
    assert not rest or (len(rest) == 2 and rest[0] == "--screenshot"), __doc__
    main(program, folder, rest[1] if rest else None)
