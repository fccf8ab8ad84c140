"""Home, the waiting page and refusals in a real browser: in words, in every window, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from selenium.webdriver.common.by import By

from tests.browser.conftest import browsing
from tests.browser.test_spawn_page import CONTRASTS
from tests.browser.user import User
from tests.components.hub import Hub, running_hub, start_server, stop_server
from tests.components.need import need
from tests.hub.conftest import temporary_site
from tests.hub.site import DOUBLES, RULES

HOSTILE = "<b>mine</b><script>alert(1)</script> " + "W" * 60
PROFILES = """\
  late: {title: "Late", allow: true}
  fetched: {title: "Fetched", allow: true}
  silent: {title: "Silent", allow: true}
  dies: {title: "Dies", allow: true}
  pondered: {title: "Pondered"}
"""
LIMITS = "defaults:\n  idle: {cull_after: 3d, cull_after_gpu: 1d, max_age: 14d}\n"
SITE_RULES = RULES.replace("rules:\n", f"{PROFILES}rules:\n", 1).replace("defaults:\n", LIMITS)
CONFIG = """
c.JupyterHub.spawner_class = 'tests.hub.doubles.AsItsProfile'
c.NbplatformSpawner.support = "help@example.org"
"""
WIDTHS = """
const page = document.scrollingElement;
return {window: innerWidth, sideways: page.scrollWidth - page.clientWidth}
"""
COLOURS = """
const of = (css, what) => getComputedStyle(document.querySelector(css))[what];
return {page: of('body', 'backgroundColor'), words: of('body', 'color'),
    card: of('.nbp-server', 'backgroundColor'), text: of('.nbp-server p', 'color')}
"""
TIMES = "return [...document.querySelectorAll('.nbp-server time')].map(one => [one.dateTime, one.textContent])"
SECTION = "#nbp-running"
HEARD = """
addEventListener('DOMContentLoaded', () => {
    const said = document.querySelector('#progress-said');
    if (said) new MutationObserver(() => {
        const heard = JSON.parse(sessionStorage.heard ?? '[]');
        sessionStorage.heard = JSON.stringify([...heard, said.textContent]);
    }).observe(said, {childList: true});
});
"""
"""What listens from the first moment of each page: a start may be quicker than a test that looks at it."""
LISTENED = "return JSON.parse(sessionStorage.heard ?? '[]')"


@pytest.fixture(scope="module")
def pages_hub() -> Iterator[Hub]:
    """A hub whose servers behave as their profile says."""
    with temporary_site() as site:
        site.write_rules(SITE_RULES)
        with need(running_hub(site.config + CONFIG, extra_env=DOUBLES)) as hub:
            for name in ("ada", "ben"):
                hub.api("POST", f"users/{name}")
            yield hub


@pytest.fixture
def hub(pages_hub: Hub) -> Iterator[Hub]:
    """The hub of this module; every server that a test left is stopped."""
    yield pages_hub
    for user in pages_hub.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(pages_hub, user["name"], name)


@pytest.fixture
def user(hub: Hub, tmp_path: Path) -> Iterator[User]:
    """Somebody who opens a browser."""
    with browsing(hub, tmp_path) as user:
        yield user


def choose(user: User, profile: str) -> None:
    """Start a profile from the spawn page."""
    user.click(f"[data-profile={profile}] label")
    user.leave_by("#spawn_form [type=submit]")


def without_javascript(user: User) -> None:
    """From now on no page's script runs."""
    user.cdp("Emulation.setScriptExecutionDisabled", value=True)


def banners(user: User) -> list[str]:
    """What the hub's banner says, where it is shown."""
    return [one.text for one in user.driver.find_elements(By.ID, "noscript") if one.is_displayed()]


# The waiting page


def test_the_waiting_page_goes_on_without_javascript(user: User) -> None:
    """It shows the steps so far, loads itself anew and leads to the server; nothing asks for JavaScript meanwhile."""
    without_javascript(user)
    user.log_in("ben")
    choose(user, "late")
    find = user.driver.find_element

    def last_look() -> list[object] | None:
        """All of one page: it is loaded anew meanwhile, and then asked again."""
        steps = find(By.ID, "progress-log").text.splitlines()
        if steps[-1:] != ["Waiting for your server to answer"]:
            return None
        return [find(By.TAG_NAME, "h1").text, steps, find(By.ID, "stop-server-btn").is_displayed(), banners(user)]

    steps = [
        "Deciding what you may have",
        "Looking for a place for Late",
        "Starting your server on this machine",
        "Waiting for your server to answer",
    ]
    assert user.wait(last_look, "the last step") == ["Your server is starting", steps, False, []]
    user.wait(lambda: user.driver.current_url.startswith(f"{user.hub.url}/user/ben/"), "the way to the server")


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_refusal_while_one_waits_becomes_a_page_in_words(user: User, script: bool) -> None:
    """The waiting page turns into the refusal by itself, with a way back to the choices."""
    if not script:
        without_javascript(user)
    user.log_in("ben")
    user.go("/hub/spawn?opt-profile=pondered")
    user.see_text("h1", "Not started")
    said = user.text(".nbp-notice")
    assert "not-allowed: no rule allows you the profile 'pondered'" in said
    assert "What you can do: choose something else, or ask help@example.org, with this sentence." in said
    assert user.see(".nbp-notice a").get_attribute("href") == "mailto:help@example.org"
    assert user.driver.title == "Not started"
    user.leave_by("#start")
    assert user.see("[data-profile=cpu] input").is_selected()
    assert user.hub.api("GET", "users/ben").json["servers"] == {}


def test_a_failed_start_shows_the_log_as_text(user: User) -> None:
    """The end of the server's log stands apart, as it was written; no markup in it acts."""
    user.log_in("ben")
    choose(user, "dies")
    user.see_text("h1", "Not started")
    assert user.text(".nbplatform-log") == "<b>the disk is full</b>"
    assert "The server ended with 1" in user.text(".nbplatform-failure")
    assert "send this page to help@example.org" in user.text(".nbplatform-failure")


def test_the_waiting_page_can_be_heard(user: User) -> None:
    """A screen reader is told each new step, politely, and how far the bar is."""
    user.log_in("ben")
    choose(user, "silent")
    user.see_text("#progress-message", "Waiting for your server to answer")
    user.cdp("Accessibility.enable")
    tree = user.driver.execute("executeCdpCommand", {"cmd": "Accessibility.getFullAXTree", "params": {}})
    nodes = {node["role"]["value"]: node for node in tree["value"]["nodes"] if not node["ignored"] and "role" in node}
    bar = nodes["progressbar"]
    assert bar["name"]["value"] == "How far the start is"
    assert float(bar["value"]["value"]) == 60
    live = {one["name"]: one["value"].get("value") for one in nodes["status"]["properties"]}
    assert live["live"] == "polite"


def test_a_button_can_be_used_only_when_it_does_something(user: User) -> None:
    """Where the page's script has not come, or comes late, no click is taken that nothing would answer."""
    user.log_in("ben")
    choose(user, "silent")
    user.see_text("#progress-message", "Waiting for your server to answer")
    user.cdp("Network.enable")
    user.cdp("Network.setBlockedURLs", urls=["*/jhapi.js*"])
    for page, button in (("/hub/spawn-pending/ben", "#stop-server-btn"), ("/hub/home", ".nbp-stop")):
        user.go(page)
        assert not user.see(button).is_enabled()
    user.cdp("Network.setBlockedURLs", urls=[])
    for page, button in (("/hub/spawn-pending/ben", "#stop-server-btn"), ("/hub/home", ".nbp-stop")):
        user.go(page)
        user.wait(lambda button=button: user.see(button).is_enabled(), "a button that can be used")


def test_giving_up_stops_the_server_that_is_starting_and_no_other(user: User) -> None:
    """The button of a named server's waiting page leaves the default server alone, and leads home."""
    assert start_server(user.hub, "ben", {"profile": "cpu"})[-1].get("ready")
    user.log_in("ben", "/hub/spawn/ben/second")
    choose(user, "silent")
    user.see_text("#progress-message", "Waiting for your server to answer")
    user.click("#stop-server-btn")
    user.wait(lambda: user.driver.current_url.endswith("/hub/home"), "the home page")
    user.wait(lambda: list(user.servers()) == [""], "the end of the start")


# Home


def test_home_tells_of_each_running_server(user: User) -> None:
    """Where it runs, since when, what it holds and until when; the hub's own two buttons do not say it twice."""
    start_two(user.hub)
    user.log_in("ada", "/hub/home")
    assert user.text(SECTION) == "Your servers"
    default = user.text("[data-server='']")
    for words in ("One GPU", "this machine", "1 GiB", "1 GPU (GPU-0001)", "less than a minute ago"):
        assert words in default
    assert "It may be stopped after 1 day without activity, at the latest on " in default
    assert "It may be stopped after 3 days without activity, at the latest on " in user.text("[data-server=second]")
    assert not user.driver.find_element(By.ID, "stop").is_displayed()
    open_links = user.driver.find_elements(By.CSS_SELECTOR, ".nbp-server a.btn-primary")
    assert [link.get_attribute("href") for link in open_links] == [
        f"{user.hub.url}/user/ada/",
        f"{user.hub.url}/user/ada/second/",
    ]


def test_a_servers_name_is_text_and_breaks_into_lines(user: User) -> None:
    """Users choose the names; one that is markup or wider than a phone is shown as it is written."""
    start_two(user.hub)
    user.log_in("ada", "/hub/home")
    assert user.text("[data-server=second] h3") == HOSTILE
    assert user.driver.find_elements(By.CSS_SELECTOR, ".nbp-server :is(b, script)") == []
    for width in (390, 320):
        user.cdp("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=True)
        user.go("/hub/home")
        user.see(SECTION)
        assert user.script(WIDTHS) == {"window": width, "sideways": 0}


def test_times_are_those_of_the_readers_zone(user: User) -> None:
    """The page carries UTC; the browser says the same moment in its own time zone, also an odd one."""
    assert start_server(user.hub, "ben", {"profile": "cpu"})[-1].get("ready")
    user.cdp("Emulation.setLocaleOverride", locale="en-GB")
    user.log_in("ben", "/hub/home")
    for zone in ("Asia/Tokyo", "America/New_York", "Pacific/Chatham"):
        user.cdp("Emulation.setTimezoneOverride", timezoneId=zone)
        user.go("/hub/home")
        user.wait(lambda: "UTC" not in user.text(".nbp-server dl"), "times of the zone")
        times = user.script(TIMES)
        assert len(times) == 2
        for moment, shown in times:
            there = datetime.fromisoformat(moment).astimezone(ZoneInfo(zone))
            assert shown == there.strftime("%-d %B %Y at %H:%M")


def test_home_without_javascript_stops_servers_and_says_what_it_cannot_do(user: User) -> None:
    """Everything can be read, times are in UTC, no button is there that would do nothing, and a form stops a server."""
    start_two(user.hub)
    without_javascript(user)
    user.log_in("ada", "/hub/home")
    assert " UTC (less than a minute ago)" in user.text("[data-server='']")
    assert "servers can be started, stopped and looked at here; to add one" in user.text(".nbp-notice")
    shown = [one.is_displayed() for one in user.driver.find_elements(By.CSS_SELECTOR, ".nbp-stop")]
    assert shown == [False, False]
    assert not user.driver.find_element(By.CSS_SELECTOR, ".new-server-name").is_displayed()
    assert banners(user) == []
    user.leave_by("[data-server=second] [data-nbp=stop-form]")
    assert user.driver.current_url == f"{user.hub.url}/hub/home"
    assert list(user.servers()) == [""]


def test_home_without_javascript_puts_a_stop_off(user: User) -> None:
    """What the idle culler announced is read there, with why, and the button gives more time, once."""
    start_two(user.hub)
    without_javascript(user)
    about = {"user": "ada", "server": "second", "reason": "idle", "why": "<b>idle</b> for 2 days", "extend": 21600}
    board = {"notices": [{**about, "stop_at": "2100-01-01T08:00:00+00:00"}]}
    assert user.hub.api("PUT", "nbplatform/idle", json=board).status == 200
    user.log_in("ada", "/hub/home")
    notice = "[data-server=second] [data-nbp=notice]"
    assert "It will be stopped on 1 January 2100, 08:00 UTC: <b>idle</b> for 2 days." in user.text(notice)
    assert not user.driver.find_elements(By.CSS_SELECTOR, "[data-server=''] [data-nbp=notice]")
    user.leave_by("[data-nbp=extend]")
    assert user.driver.current_url == f"{user.hub.url}/hub/home"
    assert "1 January 2100, 14:00 UTC" in user.text(notice)
    assert "You have put this off" in user.text(notice)
    assert not user.driver.find_elements(By.CSS_SELECTOR, "[data-nbp=extend]")
    user.hub.api("PUT", "nbplatform/idle", json={})


def test_without_javascript_a_start_is_given_up_by_a_form(user: User) -> None:
    """The waiting page's form ends the start, and the next one is judged anew."""
    without_javascript(user)
    user.log_in("ben")
    choose(user, "silent")
    user.see_text("#progress-message", "Waiting for your server to answer")
    user.click("[data-nbp=stop-form]")
    user.wait(lambda: user.driver.current_url == f"{user.hub.url}/hub/home", "the home page")
    user.wait(lambda: user.servers() == {}, "the end of the start")
    assert not user.driver.find_elements(By.CSS_SELECTOR, "[data-server]")


def test_an_image_that_is_fetched_is_told_by_its_percentage(user: User) -> None:
    """One line of the list changes in place; a screen reader hears each tenth of it and not each per cent."""
    user.log_in("ben")
    user.cdp("Page.addScriptToEvaluateOnNewDocument", source=HEARD)
    choose(user, "fetched")
    user.wait(lambda: user.driver.current_url.startswith(f"{user.hub.url}/user/ben/"), "the way to the server")
    heard = [one for one in user.script(LISTENED) if one.startswith("Fetching")]
    assert 2 <= len(heard) <= 12, heard


def test_a_server_is_stopped_from_its_card(user: User) -> None:
    """The card goes when the server is gone; the others stay, and the default one can be started again."""
    start_two(user.hub)
    user.log_in("ada", "/hub/home")
    user.click("[data-server=''] .nbp-stop")
    user.wait(lambda: list(user.servers()) == ["second"], "the end of the default server")
    user.wait(lambda: not user.driver.find_elements(By.CSS_SELECTOR, "[data-server='']"), "a page without it")
    assert user.text("#start") == "Start My Server"
    assert user.text(SECTION) == "Your server"


def test_a_starting_server_is_on_the_home_page(user: User) -> None:
    """Its card leads back to the waiting page and stops it; nothing is said yet of its time."""
    user.log_in("ben")
    choose(user, "silent")
    user.see_text("#progress-message", "Waiting for your server to answer")
    user.go("/hub/home")
    card = user.text("[data-server='']")
    assert "It is starting." in card
    assert "may be stopped" not in card
    user.leave_by("[data-server=''] a")
    assert "/hub/spawn-pending/ben" in user.driver.current_url
    user.go("/hub/home")
    user.click("[data-server=''] .nbp-stop")
    user.wait(lambda: user.servers() == {}, "the end of the start")


def test_the_pages_follow_the_hubs_theme(user: User) -> None:
    """In the light and the dark theme the cards have the page's own colours, and all words can be read."""
    assert start_server(user.hub, "ben", {"profile": "cpu"})[-1].get("ready")
    user.log_in("ben", "/hub/home")
    user.see(SECTION)
    first = user.script(COLOURS)
    assert_words_can_be_read(user)
    user.click("#dark-theme-toggle")
    user.wait(lambda: user.script(COLOURS)["page"] != first["page"], "the other theme")
    assert_words_can_be_read(user)
    for found in (first, user.script(COLOURS)):
        assert (found["card"], found["text"]) == (found["page"], found["words"])
    stop_server(user.hub, "ben")
    user.go("/hub/spawn?opt-profile=pondered")
    user.see(".nbp-notice")
    assert_words_can_be_read(user)


def assert_words_can_be_read(user: User) -> None:
    """Whatever words our part of the page shows differ enough from what is behind them."""
    faint, looked_at = user.script(CONTRASTS.replace(".nbp-choices *", ".nbp-page *"))
    assert faint == {}
    assert looked_at >= 3


def start_two(hub: Hub) -> None:
    """Ada's default server with the GPU, and a second one with a hostile name."""
    assert start_server(hub, "ada", {"profile": "gpu"})[-1].get("ready")
    if hub.api("PUT", "users/ada/servers/second", json={"display_name": HOSTILE}).status not in (200, 201, 204):
        assert "second" in hub.api("GET", "users/ada?include_stopped_servers=true").json["servers"]
    assert start_server(hub, "ada", server_name="second")[-1].get("ready")
