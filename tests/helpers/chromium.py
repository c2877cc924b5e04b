"""A headless Chromium, driven over the DevTools protocol as its user drives it."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import pytest
from helpers.waiting import wait_until

from embedded.server import ServerProcess

CALL_SECONDS = 60.0
_OPTIONS = (
    "--headless",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-US",
    # The certificates of tests are of an authority that only the tests know.
    "--ignore-certificate-errors",
    "about:blank",
)
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "Home": 36}
_TEXTS = {"Enter": "\r", "Space": " "}
SHIFT, CTRL = 8, 2
# The role of the document, which has the focus as well as an element in it.
_DOCUMENT = "RootWebArea"
# Reports what the page's policy has stopped, as an error of the console.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error("stopped by the policy:", event.violatedDirective, event.blockedURI);
});
"""

Result = TypeVar("Result")


def chromium_path() -> str:
    """Return the path of Chromium; skip the tests where it is not installed."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    return path


class Chromium:
    """A browser with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        """Start Chromium.

        Args:
            profile: An empty folder.
        """
        port_file = profile / "DevToolsActivePort"
        root = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no sandbox
        self._process = ServerProcess(
            "Chromium",
            [chromium_path(), *root, *_OPTIONS[:-1], f"--user-data-dir={profile}", _OPTIONS[-1]],
            profile / "chromium.log",
            lambda: port_file.exists() and port_file.read_text().count("\n") == 1,
            environment={"PATH": os.environ["PATH"], "HOME": str(profile), "LC_ALL": "C.UTF-8"},
        )
        self._process.start()
        port, path = port_file.read_text().split("\n")
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tabs: dict[str, Tab] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chromium", daemon=True)
        self._thread.start()
        self._socket = self._run(self._connect(f"ws://127.0.0.1:{port}{path}"))
        self._reading = asyncio.run_coroutine_threadsafe(self._read(), self._loop)

    def __enter__(self) -> Self:
        """Return the browser."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the browser."""
        self._run(self._close())
        self._reading.result(CALL_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._process.stop()

    def open(self, url: str, *, width: int = 900, height: int = 900) -> Tab:
        """Open a page in a new tab, with storage that no other tab sees."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = Tab(self, attached["sessionId"], context)
        self._tabs[attached["sessionId"]] = tab
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            tab.call(f"{domain}.enable")
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=_REPORT_VIOLATIONS)
        tab.resize(width, height)
        tab.go(url)
        return tab

    def call(self, method: str, session_id: str = "", **parameters: Any) -> dict[str, Any]:
        """Return the result of a command of the DevTools protocol."""
        return self._run(self._call(method, session_id, parameters))

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _connect(self, url: str) -> aiohttp.ClientWebSocketResponse:
        self._session = aiohttp.ClientSession()
        return await self._session.ws_connect(url, max_msg_size=0)

    async def _call(
        self, method: str, session_id: str, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = answering = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session_id} if session_id else {}))
        answer = await answering
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            content = json.loads(message.data)
            if "id" in content:
                self._answers.pop(content["id"]).set_result(content)
            elif tab := self._tabs.get(content.get("sessionId", "")):
                tab.take(content["method"], content["params"])

    async def _close(self) -> None:
        await self._socket.close()
        await self._session.close()


class Tab:
    """A tab with a page."""

    def __init__(self, browser: Chromium, session_id: str, context: str) -> None:
        self._browser = browser
        self._session_id = session_id
        self._context = context
        self.faults: list[str] = []
        """What went wrong in the page: exceptions, errors it reports, and what its policy stopped.

        That a server was not reached, or answered with an error, is not a fault of the page.
        """

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a command of the DevTools protocol for this tab."""
        return self._browser.call(method, self._session_id, **parameters)

    def take(self, method: str, event: dict[str, Any]) -> None:
        """Take an event of the DevTools protocol."""
        if method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in {"error", "warning"}:
            self.faults.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded":
            entry = event["entry"]
            if entry["level"] in {"error", "warning"} and entry["source"] != "network":
                self.faults.append(json.dumps(entry))

    def close(self) -> None:
        """Close the tab; the page must have had no fault."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)
        assert self.faults == []

    def go(self, url: str) -> None:
        """Load a page, and wait until it has run its scripts."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, json.dumps(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> Any:
        """Wait until an expression is true in the page, and return its value."""
        found: list[Any] = []

        def holds() -> bool:
            # While the tab loads another page, there is nothing to ask.
            with suppress(AssertionError):
                found.append(self.evaluate(condition))
                return bool(found[-1])
            return False

        wait_until(holds, condition)
        return found[-1]

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until an element can be seen and has this text in it."""
        self.wait_for(f"""(() => {{
          const found = [...document.querySelectorAll({json.dumps(selector)})];
          return found.some((each) => each.checkVisibility()
            && each.textContent.includes({json.dumps(text)}));
        }})()""")

    def text(self, selector: str) -> str:
        """Return the text of the first element that a selector finds."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def click(self, selector: str) -> None:
        """Click with the mouse on the first element that a selector finds, once it can be seen."""
        place = self.wait_for(f"""(() => {{
          const found = document.querySelector({json.dumps(selector)});
          if (!found?.checkVisibility()) {{
            return null;
          }}
          found.scrollIntoView({{ block: "center", behavior: "instant" }});
          const box = found.getBoundingClientRect();
          return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def fill(self, selector: str, text: str) -> None:
        """Replace the text of an input."""
        self.click(selector)
        self.evaluate("document.activeElement.select()")
        self.write(text)

    def write(self, text: str) -> None:
        """Write a text into the element that has the focus, instead of its selection."""
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.evaluate("document.execCommand('delete')")

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key."""
        parameters: dict[str, Any] = {
            "key": " " if key == "Space" else key,
            "code": key,
            "windowsVirtualKeyCode": _KEYS[key],
            "modifiers": modifiers,
        }
        text = {"text": _TEXTS[key]} if key in _TEXTS and not modifiers else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **parameters, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def focused(self) -> str:
        """Return the name that a screen reader has for the element with the focus."""
        return next(
            (name for role, name, has_focus in self._nodes() if has_focus and role != _DOCUMENT),
            "",
        )

    def names(self) -> set[tuple[str, str]]:
        """Return the role and the name of everything that a screen reader finds."""
        return {(role, name) for role, name, _ in self._nodes()}

    def _nodes(self) -> list[tuple[str, str, bool]]:
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (
                node["role"]["value"],
                node.get("name", {}).get("value", ""),
                any(
                    each["name"] == "focused" and each["value"]["value"]
                    for each in node.get("properties", [])
                ),
            )
            for node in nodes
            if not node["ignored"]
        ]

    def resize(self, width: int, height: int, *, is_mobile: bool = False) -> None:
        """Give the tab another size, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_mobile,
        )

    def prefer(self, colour_scheme: str) -> None:
        """Let the user prefer "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": colour_scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self) -> bytes:
        """Return what can be seen, as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        return base64.b64decode(shot["data"])
