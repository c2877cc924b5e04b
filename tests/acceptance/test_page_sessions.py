"""The demo page in a real browser, where authentication is on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from helpers.chromium import Chromium, chromium_path
from helpers.page import Visitor

from ops.system import System

# Holds back the answer that says whom the user follows, which views need, until answer() is called.
HOLD_FOLLOWS = """
  const real = window.fetch;
  window.fetch = async (url, options) => {
    if (!url.pathname.startsWith("/following/")) {
      return await real(url, options);
    }
    await new Promise((resolve) => { window.answer = resolve; });
    return { ok: true, json: async () => ({ users: [], next_page_token: "" }) };
  };
"""


@pytest.fixture
def visitor(
    tmp_path_factory: pytest.TempPathFactory, start_system: Callable[..., System]
) -> Iterator[Visitor]:
    """Yield somebody who has just opened the page; at the end it has had no fault."""
    chromium_path()
    system = start_system(auth=True, FANFARE_DEMO_PAGE="on", FANFARE_WATCH_HEARTBEAT_SECONDS="2")
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        visitor = Visitor(browser, system.settings)
        yield visitor
        visitor.tab.close()


def test_sessions_refresh_and_end(visitor: Visitor) -> None:
    """A session is refreshed by itself, and its end is told."""
    tab = visitor.tab
    assert visitor.url.startswith("https://")
    visitor.sign_up()
    visitor.post("with a token")
    tab.evaluate(HOLD_FOLLOWS)
    visitor.look_at("people")
    tab.wait_for("window.answer !== undefined")
    tab.click("#sign-out")
    tab.wait_for_text("h2", "Sign in")
    tab.evaluate("answer(), new Promise((resolve) => setTimeout(resolve))")
    assert not tab.evaluate("document.querySelector('#view-people').checkVisibility()")
    assert json.loads(tab.evaluate("sessionStorage.fanfare"))["session"] is None
    right, visitor.password = visitor.password, visitor.password[:-1]
    visitor.sign_in()
    tab.wait_for_text("#sign-in .form-error", "wrong")
    visitor.password = right
    visitor.sign_in()
    visitor.wait_for_state("live")

    def break_token(name: str) -> None:
        tab.evaluate(f"""(() => {{
          const kept = JSON.parse(sessionStorage.fanfare);
          kept.session.{name} = "x" + kept.session.{name};
          sessionStorage.fanfare = JSON.stringify(kept);
        }})()""")
        tab.go(visitor.url)

    break_token("access_token")
    visitor.wait_for_state("live")
    visitor.post("with a new token")
    break_token("refresh_token")
    tab.evaluate("""
      sessionStorage.fanfare = sessionStorage.fanfare.replace('"access_token":"', '$&x');
      location.hash = "#/people"; // a view whose calls fail as well
      location.reload();
    """)
    tab.wait_for_text("#notice", "Your session has ended. Sign in again.")
