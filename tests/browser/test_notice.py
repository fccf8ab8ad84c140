"""The notice of a coming stop in a real JupyterLab: seen, heard, answered, and gone when it is void."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.test_journey import see_the_lab
from tests.browser.test_spawn_page import CONTRASTS
from tests.browser.user import User
from tests.components.hub import Hub, start_server
from tests.components.servers import Door

HOUR = 3600
WHY = "Nobody has used it for 1 day"
ITEM = ".nbplatform-idle button"
TOAST = ".Toastify__toast"
KEEP = f"{TOAST} .jp-toast-button[title='Keep it running']"
CLOSE = f"{TOAST} .jp-Notification-Toast-Close"
DIALOG = ".jp-Dialog"
HOSTILE = "Idle <img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>"
PAGE_CONFIG = "return JSON.parse(document.getElementById('jupyter-config-data').textContent)"
THEMES = "lab/api/settings/@jupyterlab/apputils-extension:themes"
ASKED = "return performance.getEntriesByType('resource').filter(one => one.name.includes({!r})).length"


@pytest.fixture
def door(hub: Hub) -> Door:
    """The culler's way to ada's server, which runs."""
    if "ada" not in {user["name"] for user in hub.api("GET", "users").json}:
        hub.api("POST", "users/ada")
    assert start_server(hub, "ada")[-1].get("ready"), hub.log_text()
    return Door(hub, "ada", "", None, None)


def tell(door: Door, seconds_left: float | None = 2 * HOUR, **more: object) -> None:
    """Put a notice up, as the culler does."""
    stop_at = None if seconds_left is None else (datetime.now(UTC) + timedelta(seconds=seconds_left)).isoformat()
    notice = {"reason": "idle", "why": WHY, "extend": 6 * HOUR, "extended": False, "idle": True, **more}
    door.ask("PUT", "api/nbplatform/notice", {"seconds_left": seconds_left, "stop_at": stop_at, **notice})


def activity(door: Door) -> Any:
    """What the server says of itself."""
    return door.ask("GET", "api/nbplatform/activity")


def asked(user: User, path: str = "/api/nbplatform/notice") -> int:
    """How often the page has asked for something so far."""
    return int(user.script(ASKED.format(path)))


def asks_again(user: User, path: str, times: int) -> None:
    """Wait until the page has asked for something so many times more."""
    before = asked(user, path)
    user.wait(lambda: asked(user, path) >= before + times, path)


def open_lab(user: User, page: str = "lab") -> None:
    """Log in and open ada's JupyterLab; it has asked for the notice, and found none, when this returns."""
    # What another test left open is not opened again.
    user.log_in("ada", f"/user/ada/{page}?reset" if page == "lab" else f"/user/ada/{page}")
    if page == "lab":
        see_the_lab(user)
    user.see("#jp-main-statusbar")
    user.wait(lambda: asked(user) > 0, "the first question")


def gone(user: User, css: str) -> None:
    """Wait until nothing of the kind is shown."""
    user.wait(lambda: not [one for one in user.driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()], css)


def test_a_notice_is_shown_and_answered_and_goes(user: User, door: Door) -> None:
    """Nothing is shown before; then the time counts down, *Keep it running* moves the stop; all ends with it."""
    open_lab(user)
    gone(user, f"{ITEM}, {TOAST}")
    before = activity(door)["last_action"]
    tell(door)
    assert user.see_text(ITEM, "Stops") in ("Stops in 2 h", "Stops in 1 h 59 min")
    assert user.see_text(TOAST, WHY).startswith("This server will be stopped at ")
    assert user.script("return document.querySelector('.nbplatform-idle [role=status]').textContent") == "Stops in 2 h"
    user.click(KEEP)
    said = user.see_text(TOAST, "This server is kept running until ")
    assert "Keep it running" not in said
    assert user.see_text(ITEM, "Stops") in ("Stops in 8 h", "Stops in 7 h 59 min")
    after = activity(door)
    assert after["extend_asked"] is not None
    assert after["last_action"] == before
    door.ask("DELETE", "api/nbplatform/notice")
    gone(user, f"{ITEM}, {TOAST}")


def test_whoever_comes_back_sees_the_notice_go(user: User, door: Door) -> None:
    """A new file is the work of a person: the server takes the notice away, and the page with it."""
    open_lab(user)
    tell(door)
    user.see_text(ITEM, "Stops")
    user.click('.jp-LauncherCard[data-category="Other"][title*="text file"]')
    gone(user, f"{ITEM}, {TOAST}")
    assert door.ask("GET", "api/nbplatform/notice") == {"notice": None}


def test_an_open_page_alone_is_nobody(user: User, door: Door) -> None:
    """What JupyterLab asks and saves by itself leaves the notice standing, and the last action as old as it was."""
    open_lab(user)
    before = activity(door)["last_action"]
    tell(door)
    for path in ("/lab/api/workspaces/default", "/api/contents", "/api/kernels", "/api/sessions"):
        asks_again(user, path, 2)
    assert activity(door)["last_action"] == before
    assert door.ask("GET", "api/nbplatform/notice")["notice"]["why"] == WHY
    user.see(ITEM)


def test_the_words_of_others_are_text_and_the_keyboard_is_enough(user: User, door: Door) -> None:
    """No markup in a reason acts, in the notice, the tooltip or the dialogue, which the keyboard opens and answers."""
    open_lab(user)
    tell(door, why=HOSTILE)
    assert HOSTILE in user.see_text(TOAST, "Idle")
    user.script(f"document.querySelector('{ITEM}').focus()")
    ActionChains(user.driver).send_keys(Keys.ENTER).perform()
    said = user.see_text(DIALOG, HOSTILE)
    assert "It is not stopped if you go on working in it." in said
    assert "“Keep it running” puts the stop off by 6 h, once." in said
    assert "Your files stay." in said
    assert HOSTILE in str(user.see(ITEM).get_attribute("title"))
    assert user.script(f"return document.querySelectorAll('{TOAST} img, {DIALOG} img, {DIALOG} script').length") == 0
    assert user.script("return window.hacked ?? null") is None
    ActionChains(user.driver).send_keys(Keys.ENTER).perform()
    user.see_text(TOAST, "This server is kept running until ")
    assert activity(door)["extend_asked"] is not None


def test_a_refusal_is_told_in_the_servers_words(user: User, door: Door) -> None:
    """What the page does not know yet it is told when it asks; it is left with what stands."""
    open_lab(user)
    tell(door)
    user.see(KEEP)
    user.cdp("Network.enable")
    user.cdp("Network.setBlockedURLs", urls=["*/api/nbplatform/notice*"])
    door.ask("DELETE", "api/nbplatform/notice")
    user.click(KEEP)
    said = user.see_text(f"{TOAST}[class*=error]", "The stop was not put off: ")
    assert "no stop is planned: there is nothing to put off" in said
    user.cdp("Network.setBlockedURLs", urls=[])
    tell(door, why="Another reason", extend=0)
    assert "Keep it running" not in user.see_text(TOAST, "Another reason")


def test_a_server_that_cannot_be_reached_is_told_and_asked_again(user: User, door: Door) -> None:
    """The button stays beside the failure, and works when the way is free."""
    open_lab(user)
    tell(door)
    user.see(KEEP)
    user.cdp("Network.enable")
    user.cdp("Network.setBlockedURLs", urls=["*/api/nbplatform/extend*"])
    user.click(KEEP)
    user.see_text(f"{TOAST}[class*=error]", "The stop was not put off: the server cannot be reached.")
    assert user.see_text(ITEM, "Stops") in ("Stops in 2 h", "Stops in 1 h 59 min")
    user.cdp("Network.setBlockedURLs", urls=[])
    user.click(KEEP)
    user.see_text(TOAST, "This server is kept running until ")


def test_the_last_minutes_are_told_again(user: User, door: Door) -> None:
    """A notice that was closed comes back once when ten minutes are left, and no earlier for the same stop."""
    open_lab(user)
    tell(door, 615)
    user.see(TOAST)
    before = asked(user)
    tell(door, 620, why=f"{WHY} and a little")
    user.wait(lambda: asked(user) > before, "another question")
    user.click(CLOSE)
    gone(user, TOAST)
    assert f"{WHY} and a little" in user.see_text(TOAST, "This server will be stopped at ")
    assert user.see_text(ITEM, "Stops in") == "Stops in 10 min"


# id, notice, what the notification says, whether there is a countdown
OTHER_NOTICES: list[tuple[str, dict[str, object], str, bool]] = [
    ("put off already", {"extended": True}, WHY, True),
    ("cannot be put off", {"extend": 0, "reason": "max_age", "idle": False}, WHY, True),
    ("no stop is planned", {"seconds_left": None, "reason": "not-allowed", "idle": False}, "A notice", False),
]


def test_what_cannot_be_put_off_has_no_button(user: User, door: Door) -> None:
    """The button is only where it does something; without a stop there is nothing to count down."""
    open_lab(user, "doc")
    for name, notice, said, counts in OTHER_NOTICES:
        tell(door, **notice)  # type: ignore[arg-type]
        assert "Keep it running" not in user.see_text(TOAST, said), name
        assert bool(user.driver.find_element(By.CSS_SELECTOR, ITEM).is_displayed()) == counts, name
        door.ask("DELETE", "api/nbplatform/notice")
        gone(user, f"{ITEM}, {TOAST}")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_the_time_left_is_readable(user: User, door: Door, theme: str) -> None:
    """At least 4.5 to 1 in each theme, with hours and with minutes left."""
    door.ask("PUT", THEMES, {"raw": f'{{"theme": "{theme}"}}'})
    open_lab(user)
    user.wait(lambda: user.script("return document.body.dataset.jpThemeName") == theme, theme)
    for seconds, words in ((2 * HOUR, "Stops in 2 h"), (300, "Stops in 5 min")):
        tell(door, seconds)
        user.see_text(ITEM, words)
        faint, looked = user.script(CONTRASTS.replace(".nbp-choices *", ITEM))
        assert (faint, looked) == ({}, 1)


def test_the_lab_asks_nobody_about_news(user: User, door: Door) -> None:
    """JupyterLab's own prompt is off in these servers, and the extension is among those that the page loads."""
    open_lab(user)
    config = user.script(PAGE_CONFIG)
    assert "nbplatform-idle" in [one["name"] for one in config["federated_extensions"]]
    assert "@jupyterlab/apputils-extension:announcements" in config["disabledExtensions"]
    tell(door)
    assert WHY in user.see_text(TOAST, "stopped")
    assert len(user.driver.find_elements(By.CSS_SELECTOR, TOAST)) == 1
