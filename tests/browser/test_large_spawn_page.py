"""The spawn page of a large site: thirty profiles, twelve hosts, and words that nobody should write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import browsing
from tests.browser.test_spawn_page import WIDTHS, described, unfold
from tests.browser.user import User
from tests.components.hub import Hub, running_hub
from tests.components.need import need
from tests.hub.conftest import temporary_site
from tests.hub.site import DOUBLES, PASSWORD, RULES, Site

SCRIPT = '<script>document.title = "taken"</script>"><img src=x onerror="document.title = \'taken\'">'
LONG = "Donaudampfschiffahrtsgesellschaft" * 12
RTL = "العمل اليومي (GPU)"
TURNED = "\u202eGPU lla"
"""A character that turns the writing round, and is never turned back; rules may not hold it, settings may."""
SUPPORT = f"{SCRIPT} support@example.org"
HELP = f"Read https://docs.example.org/{'very-long-' * 40} first.\n\n{SCRIPT}\n\n{LONG}\n\n{RTL}\n\n{TURNED}"
STATES = ("slow", "silent", "half-silent", "kubernetes", "broken", "toobig")
PROFILES = {
    "cpu": {"title": "CPU", "description": "Everyday work"},
    "script": {"title": SCRIPT, "description": SCRIPT, "image": "registry/x:1"},
    "long": {"title": LONG, "description": LONG, "image": "registry/" * 20},
    "rtl": {"title": RTL, "description": RTL},
    **{name: {"title": name} for name in STATES},
    "toobig": {"title": "Too big", "memory": "40G"},
    **{f"p{number:02}": {"title": f"Profile {number}"} for number in range(20)},
}
REFUSED = {
    "no-script": {"title": SCRIPT, "message": f"{SCRIPT} https://ml.example.org", "description": LONG},
    "no-rtl": {"title": RTL, "message": RTL},
    "no-long": {"title": LONG},
    "no": {"title": "No"},
}
MINE = f"""\
c.JupyterHub.spawner_class = "tests.browser.doubles.TwelveHosts"
c.NbplatformSpawner.site_name = {SCRIPT!r}
c.NbplatformSpawner.help_text = {HELP!r}
c.NbplatformSpawner.support = {SUPPORT!r}
"""
FOREIGN = """
const form = document.querySelector('#spawn_form');
return {
    title: document.title, elements: form.querySelectorAll('script, img, iframe, [onerror]').length,
    links: [...new Set([...form.querySelectorAll('a')].map(link => link.protocol))].sort(),
}
"""
IN_SIGHT = """
const box = css => document.querySelector(css).getBoundingClientRect();
const start = box('#spawn_form [type=submit]'), first = box('.nbp-allowed label');
return {start: start.top >= 0 && start.bottom <= innerHeight, first: first.top >= 0 && first.bottom <= start.top};
"""
COVERED = """
const one = document.activeElement, box = one.getBoundingClientRect();
const bar = document.querySelector('#spawn_form > .feedback-container');
return {inForm: Boolean(one.closest('.nbp-choices')), inBar: bar.contains(one),
    covered: !bar.contains(one) && box.bottom > bar.getBoundingClientRect().top};
"""


def rules() -> str:
    """The small site's rules with many profiles more, before and behind its own."""
    lines = [f"  {name}: {json.dumps({**what, 'allow': 'true'})}" for name, what in PROFILES.items()]
    lines += [f"  {name}: {json.dumps(what)}" for name, what in REFUSED.items()]
    text = "\n".join(lines).replace('"true"', "true")
    return f"profiles:\n{text}\n" + RULES[RULES.index("rules:\n") :].replace("[gpu]", "[p00]")


@pytest.fixture(scope="module")
def large_site() -> Iterator[Site]:
    """A site with many profiles and wild words."""
    with temporary_site() as site:
        site.write_rules(rules())
        yield site


@pytest.fixture(scope="module")
def large_hub(large_site: Site) -> Iterator[Hub]:
    """Its hub."""
    with need(running_hub(large_site.config + MINE, extra_env=DOUBLES)) as hub:
        yield hub


@pytest.fixture
def visitor(large_hub: Hub, tmp_path: Path) -> Iterator[User]:
    """Somebody who opens a browser."""
    with browsing(large_hub, tmp_path) as user:
        yield user


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (320, 568)])
def test_start_is_in_sight_whatever_the_list(visitor: User, width: int, height: int) -> None:
    """With thirty profiles, too, the first screen of what can be chosen has the chosen one and Start."""
    visitor.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    visitor.log_in("ben")
    visitor.script("document.querySelector('[data-profile]').scrollIntoView()")
    assert visitor.script(IN_SIGHT) == {"start": True, "first": True}
    assert visitor.see("[data-profile=cpu] input").is_selected()
    visitor.script("window.scrollTo(0, document.body.scrollHeight / 2)")
    assert visitor.script(IN_SIGHT)["start"]


def test_the_bar_with_start_covers_nothing_that_the_keyboard_reaches(visitor: User) -> None:
    """Whatever Tab goes to is in sight (WCAG 2.4.11), on a small screen as well."""
    visitor.cdp("Emulation.setDeviceMetricsOverride", width=390, height=600, deviceScaleFactor=1, mobile=False)
    visitor.log_in("ben")
    visitor.see("[data-profile=cpu] input").send_keys(Keys.TAB)
    seen = []
    for _ in range(60):
        seen.append(visitor.script(COVERED))
        if seen[-1]["inBar"]:
            break
        visitor.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert seen[-1]["inBar"]
    assert sum(one["inForm"] for one in seen) > 30
    assert [one for one in seen if one["covered"]] == []


def test_a_long_list_of_what_is_refused_is_folded(visitor: User) -> None:
    """Who just wants a notebook does not scroll past it; its names, shortened, are there to be read."""
    visitor.log_in("ben")
    assert not visitor.see("[data-nbp=others]").get_property("open")
    told = visitor.text("[data-nbp=others] > summary")
    assert told.startswith("4 more that you cannot start, and why: <script>")
    assert told.endswith(", 1 more")
    visitor.see("[data-nbp=others] > summary").send_keys(Keys.ENTER)
    assert "no rule allows you the profile 'no'" in visitor.text("[data-profile=no]")


def test_words_of_a_site_are_never_markup(visitor: User) -> None:
    """Titles, descriptions, messages, help and support are text; only web and mail addresses are links."""
    visitor.log_in("ben")
    unfold(visitor)
    assert visitor.script(FOREIGN) == {"title": "JupyterHub", "elements": 0, "links": ["https:", "mailto:"]}
    for css in ("legend", "[data-nbp=help]", "[data-profile=script]", "[data-profile=no-script]"):
        assert '<script>document.title = "taken"</script>' in visitor.text(css), css
    assert f"Whom to ask: {SUPPORT}" in visitor.text("[data-profile=no-script]")


@pytest.mark.parametrize("width", [400, 320])
def test_long_words_make_no_narrow_window_scroll_sideways(visitor: User, width: int) -> None:
    """Titles, messages, addresses and help without a blank break into lines."""
    visitor.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    visitor.log_in("ben")
    unfold(visitor)
    for name in ("script", "long", "rtl"):
        visitor.click(f"[data-profile={name}] details summary")
    assert visitor.script(WIDTHS) == {"window": width, "page": 0, "form": 0, "wide": []}


def test_each_text_runs_in_its_own_direction(visitor: User) -> None:
    """Arabic runs from the right, what stands beside it does not."""
    visitor.log_in("ben")
    unfold(visitor)
    runs = "return getComputedStyle(document.querySelector(arguments[0])).direction"
    of = {
        css: visitor.driver.execute_script(runs, css)
        for css in (
            "[data-profile=rtl] label",
            "[data-profile=rtl] .nbp-about",
            "[data-profile=rtl] dl",
            "[data-profile=no-rtl] strong",
            "legend",
            "[data-profile=cpu] label",
        )
    }
    assert list(of.values()) == ["rtl", "rtl", "ltr", "rtl", "ltr", "ltr"]


def test_what_is_live_is_told_and_what_is_unknown_is_never_a_number(visitor: User) -> None:
    """Hosts that do not answer, or not in time, count as unknown; pools without hosts say nothing."""
    visitor.log_in("ben")
    free = {
        name: [one.text.replace("\n", " ") for one in visitor.driver.find_elements("css selector", css)]
        for name, css in ((name, f"[data-profile={name}] [data-nbp=free]") for name in ("cpu", *STATES))
    }
    assert free == {
        "cpu": ["Left to give out 384 of 384 GiB of memory"],
        "slow": [],
        "silent": ["Left to give out not known"],
        "half-silent": ["Left to give out 192 of 192 GiB of memory, 6 of 12 hosts do not answer"],
        "kubernetes": [],
        "broken": [],
        "toobig": ["Left to give out 384 of 384 GiB of memory"],
    }
    now = {name: visitor.see(f"[data-profile={name}]").get_attribute("data-obstacle") for name in ("cpu", *STATES)}
    assert now == {
        "cpu": None,
        "slow": None,
        "silent": "unreachable",
        "half-silent": None,
        "kubernetes": None,
        "broken": "unreachable",
        "toobig": "full",
    }
    assert "no host of pool cpu takes servers now" in visitor.text("[data-profile=silent]")
    assert "the cluster does not answer; try again later." in visitor.text("[data-profile=broken]")
    told = described(visitor, "radio")["Too big"]
    assert "Full now 40 GiB of memory is asked for, the emptiest host of pool cpu has 32 GiB left." in " ".join(
        told.split()
    )


def test_a_backend_is_asked_once_for_each_profile_and_not_waited_for(large_hub: Hub) -> None:
    """Hosts once for each allowed profile, what all servers hold once; what is too slow is left out, and logged."""
    session = large_hub.login("ben", PASSWORD)
    begin = len(large_hub.log_text())
    page = session.page("/hub/spawn")
    log = large_hub.log_text()[begin:]
    assert page.count('type="radio"') == len(PROFILES) == 30
    asked = re.findall(r"asked for the hosts of (\S+)", log)
    assert sorted(asked) == sorted(PROFILES)
    assert log.count("asked for all holdings") == 1
    assert "the spawn page of ben does not say what is free" in log
