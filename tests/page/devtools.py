"""A Chromium without a window, told what to do over its pipe (the DevTools protocol)."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from typing import Any, Callable

#: Longer than anything takes here, also on a busy machine.
PATIENCE = 180.0


class Browser:
    """One browser with one tab. Its messages are kept: a test looks at them in the end."""

    def __init__(self, program: str) -> None:
        self.profile = tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True)
        read_by_it, self._write = os.pipe()
        self._read, written_by_it = os.pipe()
        arguments = [
            "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
            f"--user-data-dir={self.profile.name}",
        ]
        if os.geteuid() == 0:
            # Its sandbox refuses root; what it opens here is ours alone.
            arguments.append("--no-sandbox")
        # The protocol wants these very numbers.
        shell = f'exec "$@" 3<&{read_by_it} 4>&{written_by_it}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "-", program, *arguments, "about:blank"],
            pass_fds=(read_by_it, written_by_it), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(read_by_it)
        os.close(written_by_it)
        self.events: list[dict[str, Any]] = []
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._number = 0
        self._session: str | None = None
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _listen(self) -> None:
        rest = b""
        while data := os.read(self._read, 1 << 16):
            *messages, rest = (rest + data).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers.put(message)
                else:
                    self.events.append(message)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Has the browser do something, and gives its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        try:
            answer = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"the browser does not answer {method}") from None
        assert answer["id"] == self._number, answer
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Opens a page, and waits until it is there."""
        before = self.count("Page.loadEventFired")
        failure = self.call("Page.navigate", url=url).get("errorText")
        assert not failure, f"{url}: {failure}"
        until(f"{url} is loaded", lambda: self.count("Page.loadEventFired") > before)

    def count(self, method: str) -> int:
        """How often the browser has told of such an event."""
        return sum(event["method"] == method for event in self.events)

    def complaints(self) -> list[Any]:
        """What a developer would see in the console, exceptions and refusals by the page's policy among it."""
        told = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event["params"] for event in self.events if event["method"] in told]

    def asked_for(self) -> set[str]:
        """The addresses that were asked for, the empty icon left out."""
        requests = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        urls = {event["params"]["request"]["url"] for event in requests}
        return {url for url in urls if not url.startswith("data:")}

    def close(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.profile.cleanup()


def until(what: str, wanted: Callable[[], Any]) -> Any:
    """Waits until something is so, and gives it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := wanted()):
        assert time.monotonic() < deadline, f"it did not come to be that {what}"
        time.sleep(0.05)
    return found
