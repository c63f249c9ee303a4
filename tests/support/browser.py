"""A headless Chromium, driven over a pipe by its own debugging protocol: no driver, no port, no further library."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 120.0


class BrowserError(Exception):
    """The browser refused a command, a script failed, or something did not happen in time."""


class Browser:
    """One window of a browser; a context manager.

    :param folder: for its profile.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._rest = b""

    def __enter__(self) -> Browser:
        """Start it."""
        self._in, writes = os.pipe()
        reads, self._out = os.pipe()

        def as_the_browser_wants() -> None:
            high = os.dup(reads) + 10
            os.dup2(reads, high)
            os.dup2(writes, high + 1)
            os.dup2(high, 3)
            os.dup2(high + 1, 4)

        self._process = subprocess.Popen(
            [
                str(CHROMIUM),
                "--headless=new",
                "--remote-debugging-pipe",
                f"--user-data-dir={self._folder}",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--no-proxy-server",
                "--window-size=1280,900",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=as_the_browser_wants,  # noqa: PLW1509 - it starts no thread and takes no lock
            pass_fds=(3, 4),
        )
        os.close(reads)
        os.close(writes)
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a command and return its answer."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": dict(parameters or {})}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 16)
            if not part:
                raise BrowserError("the browser has ended")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", {"url": url})

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page, also of a promise."""
        answer = self.call("Runtime.evaluate", {"expression": script, "awaitPromise": True, "returnByValue": True})
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression is true; return its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(BrowserError):
                if value := self.run(script):
                    return value
            time.sleep(0.2)
        text = self.run(
            "document.body.innerText + (document.querySelector('iframe')?.contentDocument?.body.innerText || '')"
        )
        raise BrowserError(f"not within {seconds:g} s: {script}\n{self.run('location.href')}\n{text[:2000]}")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", {"text": text})

    def press(self, key: str) -> None:
        """Press a key."""
        code = {"key": key, "text": key if len(key) == 1 else "\r"}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown", **code})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", "key": key})

    def prefer(self, scheme: str) -> None:
        """Prefer light or dark pages."""
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def size(self, width: int, height: int) -> None:
        """Set the size of the window's inside."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)

    def screenshot(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", {"format": "png"})["data"])
