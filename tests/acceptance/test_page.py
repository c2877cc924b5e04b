"""The page in a real browser: what people do with it, and what it shows when servers fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.write.v1 import write_pb2 as w
from helpers.chromium import CTRL, SHIFT, Chromium, chromium_path
from helpers.fanfare import Fanfare
from helpers.page import Visitor

from ops.system import System

# Where the pictures for the documents are written, if the variable is set.
IMAGES = os.environ.get("PAGE_IMAGES")
MAX_IMAGE_BYTES = 150_000
HOSTILE = [
    "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>",
    "&lt;b&gt; \"quoted\" 'text' {{harmed}} ${harmed} javascript:harmed",
    "\u202eright to left\u2066 never ended\u202d",
    "אבג 123 \u200f(x)\nגדה",
    "a" + "\u0301\u0323\u0489" * 90,
    "https://" + "long" * 60,
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Yield a browser."""
    chromium_path()
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def own(browser: Chromium, start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Yield clients of a system with the page."""
    _ = browser  # first, so that no system is started where there is no browser
    system = start_system(FANFARE_DEMO_PAGE="on", FANFARE_WATCH_HEARTBEAT_SECONDS="2")
    with Fanfare(system) as clients:
        yield clients


@pytest.fixture
def visitor(browser: Chromium, own: Fanfare) -> Iterator[Visitor]:
    """Yield somebody who has just opened the page; at the end it has had no fault."""
    visitor = Visitor(browser, own.settings)
    yield visitor
    visitor.tab.close()


def _user(visitor: Visitor) -> User:
    return User(id=visitor.id, username=visitor.name)


def test_somebody_signs_up_and_posts(visitor: Visitor, own: Fanfare) -> None:
    """The counter counts as the service does. One's own posts are edited and deleted."""
    tab = visitor.sign_up().tab
    tab.fill("#compose-content", "  e\u0301👋🏽\r\n ")
    assert tab.text("#compose-count") == "3 of 280"
    tab.fill("#compose-content", "x" * 281)
    assert tab.text("#compose-count") == "281 of 280, 1 too many"
    tab.click("#compose button[type=submit]")
    tab.wait_for_text("#compose .error", "must be at most 280 code points, has 281")
    assert tab.focused() == "What is happening?"
    visitor.post("  first\u00a0")
    assert tab.text("#compose-count") == "0 of 280"
    assert own.sql("SELECT content FROM tweets WHERE user_id = %s", visitor.id) == [("first",)]

    tab.click("#compose-done a")
    visitor.wait_for_posts("first", selector="#user-list")
    tab.click("#user-list .edit")
    tab.fill("#user-list textarea", "second")
    tab.click("#user-list form button[type=submit]")
    visitor.wait_for_posts("second", selector="#user-list")
    tab.wait_for_text("#user-list .edited", "edited")
    # So fast that the dialog is open again before it tells that it was closed.
    tab.evaluate("""["#user-list .delete", "#confirm-no", "#user-list .delete"].forEach(
      (selector) => document.querySelector(selector).click())""")
    tab.wait_for_text("#confirm-text", "second")
    tab.click("#confirm-yes")
    visitor.wait_for_posts(selector="#user-list")
    assert own.sql("SELECT content FROM tweets WHERE user_id = %s", visitor.id) == []


def test_a_taken_name_is_told_at_its_field(visitor: Visitor, own: Fanfare) -> None:
    """The field is marked and gets the focus; broken rules of several fields are told together."""
    tab = visitor.tab
    tab.fill("#sign-up-username", own.user().username.upper())
    tab.fill("#sign-up-email", f"{visitor.name}@example.com")
    tab.fill("#sign-up-password", visitor.password)
    tab.click("#sign-up button")
    tab.wait_for_text("#sign-up .error", "taken")
    assert tab.focused() == "Username"
    assert tab.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    tab.fill("#sign-up-username", "no spaces please")
    tab.fill("#sign-up-email", "nowhere")
    tab.click("#sign-up button")
    tab.wait_for("document.querySelectorAll('#sign-up .error:not([hidden])').length === 2")


def test_without_authentication_a_name_is_enough(visitor: Visitor, own: Fanfare) -> None:
    """The page says so, goes on as the user when it is loaded again, and ends with the user."""
    tab = visitor.tab
    tab.wait_for_text("#open-notice", "Authentication is off here")
    visitor.sign_up()
    tab.click("#sign-out")
    tab.wait_for("document.activeElement.id === 'access-heading'")
    tab.fill("#sign-in-username", f"no_{visitor.name}")
    tab.click("#sign-in button")
    tab.wait_for_text("#sign-in .form-error", "no user")
    tab.fill("#sign-in-username", visitor.name)
    tab.click("#sign-in button")
    visitor.wait_for_state("live")
    tab.go(visitor.url)
    visitor.wait_for_state("live")
    assert tab.text("#who-name") == visitor.name
    own.write.DeleteUser(w.DeleteUserRequest(user_id=visitor.id))
    tab.wait_for_text("#notice", f"There is no user {visitor.id}")
    tab.wait_for_text("h2", "Sign in")


def test_hostile_texts_are_texts(visitor: Visitor, own: Fanfare) -> None:
    """They are shown as they were written, do nothing, and stay in their own place."""
    author = own.user()
    visitor.sign_up()
    own.follow(_user(visitor), author)
    stored = [own.tweet(author, content).content for content in ["harmless", *HOSTILE]]
    visitor.wait_for_posts(*reversed(stored))
    tab = visitor.tab
    assert tab.evaluate("window.harmed === undefined && document.scripts.length") == 1
    places = tab.evaluate("""[...document.querySelectorAll("#timeline > li")].map((item) => {
      const place = (name) => {
        const box = item.querySelector(name).getBoundingClientRect();
        return [box.left, box.right, box.top - item.getBoundingClientRect().top];
      };
      return [place(".author"), place(".when")];
    })""")
    assert all(each == places[-1] for each in places)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_timeline_follows_what_others_do(visitor: Visitor, own: Fanfare) -> None:
    """Follows, new tweets, edits, removals and unfollows show without loading the page again."""
    author = own.user()
    own.tweet(author, "before")
    tab = visitor.sign_up().tab
    tab.wait_for_text("#timeline-empty", "Nothing here yet")
    visitor.look_at("people")
    tab.fill("#find-username", author.username)
    tab.click("#find button")
    tab.wait_for_text("#user-heading", author.username)
    visitor.wait_for_posts("before", selector="#user-list")
    tab.click("#user-follow button")
    tab.wait_for_text("#user-follow button", "Unfollow")
    tab.click("#user-nav [data-tab=followers]")
    tab.wait_for_text("#user-list .author", visitor.name)

    visitor.look_at("")
    visitor.wait_for_posts("before")
    second = own.tweet(author, "second")
    visitor.wait_for_posts("second", "before")
    tab.wait_for_text("#announcer", "new post")
    own.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=second.id, content="edited"))
    visitor.wait_for_posts("edited", "before")
    own.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=second.id))
    visitor.wait_for_posts("before")

    visitor.look_at(f"users/{author.id}")
    tab.click("#user-follow button")
    tab.wait_for_text("#user-follow button", "Follow")
    visitor.look_at("")
    visitor.wait_for_posts()
    tab.wait_for_text("#timeline-empty", "Nothing here yet")


def test_nothing_is_missing_after_the_read_service_was_killed(
    visitor: Visitor, own: Fanfare
) -> None:
    """The page says that it reconnects, and is live again with what happened meanwhile."""
    author = own.user()
    kept, deleted = own.tweet(author, "kept"), own.tweet(author, "deleted")
    visitor.sign_up()
    own.follow(_user(visitor), author)
    visitor.wait_for_posts("deleted", "kept")
    read = own.system.processes["read"]
    read.kill()
    try:
        visitor.wait_for_state("reconnecting")
        visitor.tab.wait_for_text("#connection", "You see the posts of")
        own.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=deleted.id))
        own.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=kept.id, content="edited"))
        own.tweet(author, "new")
        assert visitor.shown() == ["deleted", "kept"]
    finally:
        read.start()
    visitor.tab.evaluate("dispatchEvent(new Event('online'))")  # so that the test need not wait
    visitor.wait_for_state("live")
    assert visitor.tab.text("#connection") == "Live"
    visitor.wait_for_posts("new", "edited")


def test_a_tab_that_nobody_sees_gives_its_connection_back(visitor: Visitor, own: Fanfare) -> None:
    """It says so, and catches up when it is seen again."""
    author = own.user()
    tab = visitor.sign_up().tab
    own.follow(_user(visitor), author)

    def hide(*, is_hidden: bool) -> None:
        tab.evaluate(f"""
          Object.defineProperty(document, "hidden", {{ configurable: true, value: {is_hidden:d} }});
          document.dispatchEvent(new Event("visibilitychange"));
        """)

    tab.evaluate("""
      const real = window.setTimeout;
      window.setTimeout = (run, time) => real(run, time === 60_000 ? 0 : time);
    """)
    hide(is_hidden=True)
    visitor.wait_for_state("paused")
    own.tweet(author, "meanwhile")
    hide(is_hidden=False)
    visitor.wait_for_state("live")
    visitor.wait_for_posts("meanwhile")


def test_ones_own_follow_shows_while_the_worker_is_down(visitor: Visitor, own: Fanfare) -> None:
    """The stream is opened again with the consistency token of the command."""
    author = own.user()
    own.tweet(author, "before")
    visitor.sign_up()
    worker = own.system.processes["worker"]
    worker.stop()
    try:
        visitor.look_at(f"users/{author.id}")
        visitor.tab.click("#user-follow button")
        visitor.tab.wait_for_text("#user-follow button", "Unfollow")
        visitor.look_at("")
        visitor.wait_for_posts("before")
    finally:
        worker.start()


def test_a_post_whose_answer_is_lost_is_posted_once(visitor: Visitor, own: Fanfare) -> None:
    """The page tries again by itself with the same request_id."""
    tab = visitor.sign_up().tab
    tab.evaluate("""
      const real = window.fetch;
      window.calls = [];
      window.fetch = async (url, options) => {
        const response = await real(url, options);
        if (options.method !== "POST" || !url.pathname.endsWith("/tweets")) {
          return response;
        }
        window.calls.push(JSON.parse(options.body).request_id);
        if (window.calls.length < 3) {
          throw new TypeError("the answer is lost");
        }
        return response;
      };
    """)
    visitor.post("once")
    first, second, third = tab.evaluate("window.calls")
    assert first == second == third
    assert own.sql("SELECT content FROM tweets WHERE user_id = %s", visitor.id) == [("once",)]


def test_the_keyboard_is_enough(visitor: Visitor, own: Fanfare) -> None:
    """Everything is reached by Tab in a sensible order, and no step loses the focus."""
    tab = visitor.tab

    def go_to(name: str, *, modifiers: int = 0) -> None:
        passed: list[str] = []
        while not passed or passed[-1] != name:
            tab.press("Tab", modifiers)
            passed.append(tab.focused())
            assert len(passed) < 30, passed

    tab.press("Tab")
    assert tab.focused() == "Skip to the content"
    tab.press("Enter")
    go_to("E-mail address")
    go_to("Username", modifiers=SHIFT)
    for text in (visitor.name, f"{visitor.name}@example.com", visitor.password):
        tab.write(text)
        tab.press("Tab")
    tab.press("Enter")
    tab.wait_for_text("#who-name", visitor.name)
    tab.wait_for("document.activeElement.id === 'home-heading'")
    go_to("What is happening?")
    tab.write("by keyboard")
    tab.press("Enter", CTRL)
    tab.wait_for_text("#compose-done", "Posted.")
    assert tab.focused() == "What is happening?"
    go_to("Your posts")
    tab.press("Enter")
    tab.wait_for("document.activeElement.id === 'user-heading'")
    visitor.wait_for_posts("by keyboard", selector="#user-list")
    go_to("Edit")
    tab.press("Enter")
    assert tab.focused() == "Text"
    tab.press("Escape")
    assert tab.focused() == "Edit"
    go_to("Delete")
    tab.press("Space")
    assert tab.focused() == "Keep it"
    tab.press("Escape")
    assert tab.focused() == "Delete"
    tab.press("Enter")
    go_to("Delete")
    tab.press("Enter")
    visitor.wait_for_posts(selector="#user-list")
    tab.wait_for("document.activeElement.id === 'user-heading'")
    left = "SELECT 1 FROM tweets JOIN users ON users.id = user_id WHERE username = %s"
    assert own.sql(left, visitor.name) == []


def test_a_screen_reader_finds_its_way(visitor: Visitor, own: Fanfare) -> None:
    """There are landmarks, headings, labels, and regions that tell what has changed."""
    author = own.user()
    visitor.sign_up()
    own.follow(_user(visitor), author)
    own.tweet(author, "hello")
    visitor.wait_for_posts("hello")
    visitor.tab.wait_for_text("#timeline .author", author.username)
    names = visitor.tab.names()
    assert names >= {
        ("banner", ""),
        ("main", ""),
        ("navigation", "Pages"),
        ("heading", "Home"),
        ("heading", "Your timeline"),
        ("form", "New post"),
        ("textbox", "What is happening?"),
        ("button", "Post"),
        ("list", "Your timeline"),
        ("article", f"Post by {author.username}"),
        ("link", author.username),
        ("button", "Sign out"),
    }
    for role, name in names:
        assert name or role not in {"button", "link", "textbox", "heading", "image", "form"}, role
    visitor.look_at("people")
    visitor.tab.wait_for_text("#view-people h1", "People")
    visitor.tab.wait_for("document.querySelectorAll('#people > li').length > 1")
    buttons = [name for role, name in visitor.tab.names() if role == "button"]
    assert any(name.startswith(("Follow user_", "Unfollow user_")) for name in buttons)


def test_the_page_looks_right(browser: Chromium, own: Fanfare, tmp_path: Path) -> None:
    """It follows the user's preference for light or dark, and fits a narrow screen."""
    visitor = Visitor(browser, own.settings, "marie").sign_up()
    tab = visitor.tab
    people = {}
    for name, bio in (("ada", "Engines and numbers"), ("grace", ""), ("noor", "أكتب عن الطيور")):
        request = w.CreateUserRequest(
            username=name, bio=bio, email=f"{name}@example.com", password=visitor.password
        )
        people[name] = own.write.CreateUser(request).user
        own.follow(_user(visitor), people[name])
    own.tweet(people["ada"], "The engine weaves algebraical patterns, as the loom weaves leaves.")
    own.tweet(people["noor"], "رأيت اليوم سربًا من اللقالق فوق النهر.")
    edited = own.tweet(people["grace"], "Found a moth in relay 70")
    changed = "Found a moth in relay 70.\nFirst actual case of a bug being found."
    own.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=edited.id, content=changed))
    own.tweet(people["ada"], "<script>alert('a text, and nothing but a text')</script>")
    tab.wait_for("document.querySelectorAll('#timeline > li').length === 4")
    tab.wait_for("!document.querySelector('#timeline').textContent.includes('user ')")
    grounds, folder = [], Path(IMAGES) if IMAGES else tmp_path
    for scheme in ("light", "dark"):
        tab.prefer(scheme)
        grounds.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        picture = tab.screenshot()
        assert len(picture) < MAX_IMAGE_BYTES
        (folder / f"page-{scheme}.png").write_bytes(picture)
    assert grounds[0] != grounds[1]
    tab.resize(320, 640, is_mobile=True)
    tab.wait_for("innerWidth === 320")
    assert tab.evaluate("document.documentElement.scrollWidth") == 320
    tab.close()
