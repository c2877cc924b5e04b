"""The page as somebody uses it in a browser."""

from __future__ import annotations

import itertools
import json
import uuid

from helpers.chromium import Chromium, Tab
from helpers.leaks import SECRET

from core.settings import Settings
from gateway.demo_page import page_address

_NUMBERS = itertools.count(1)


class Visitor:
    """Somebody who has opened the page in a tab of their own."""

    def __init__(self, browser: Chromium, settings: Settings, name: str = "") -> None:
        self.url = page_address(settings)
        self.tab: Tab = browser.open(self.url)
        self.name = name or f"visitor_{next(_NUMBERS)}_{uuid.uuid4().hex[:8]}"
        self.password = f"{SECRET}{uuid.uuid4().hex}"
        self.id = 0
        self.tab.wait_for_text("h2", "Create an account")

    def sign_up(self) -> Visitor:
        """Create an account, and wait until the timeline is live; return the visitor."""
        self.tab.fill("#sign-up-username", self.name)
        self.tab.fill("#sign-up-email", f"{self.name}@example.com")
        self.tab.fill("#sign-up-password", self.password)
        self.tab.click("#sign-up button")
        self.tab.wait_for_text("#who-name", self.name)
        self.wait_for_state("live")
        user = self.tab.evaluate("JSON.parse(sessionStorage.fanfare).user")
        self.id = int(user["id"])
        return self

    def sign_in(self) -> None:
        """Sign in with the name and the password."""
        self.tab.fill("#sign-in-username", self.name)
        self.tab.fill("#sign-in-password", self.password)
        self.tab.click("#sign-in button")

    def wait_for_state(self, state: str) -> None:
        """Wait until the timeline is in a state, such as live."""
        self.tab.wait_for(f"document.querySelector('#connection').dataset.state === '{state}'")

    def look_at(self, address: str) -> None:
        """Go to a view by its address, such as people."""
        self.tab.evaluate(f"location.hash = '#/{address}'")

    def post(self, content: str) -> None:
        """Write a post on the home view, and wait until it is posted."""
        self.tab.fill("#compose-content", content)
        self.tab.click("#compose button[type=submit]")
        self.tab.wait_for_text("#compose-done", "Posted.")

    def shown(self, selector: str = "#timeline") -> list[str]:
        """Return the texts of a list of posts, from its top."""
        texts: list[str] = self.tab.evaluate(
            f"[...document.querySelectorAll('{selector} > li .content')].map(p => p.textContent)"
        )
        return texts

    def wait_for_posts(self, *contents: str, selector: str = "#timeline") -> None:
        """Wait until a list has exactly these posts, from its top."""
        self.tab.wait_for(f"""JSON.stringify(
          [...document.querySelectorAll('{selector} > li .content')].map((p) => p.textContent)
        ) === JSON.stringify({json.dumps(contents)})""")
