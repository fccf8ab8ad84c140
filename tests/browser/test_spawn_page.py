"""The page where a server is chosen: readable for everyone, in every window, with and without JavaScript."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.user import User

RADIOS = """
return [...document.querySelectorAll('.nbp-choices input[type=radio]')].map(radio => ({
    name: radio.value, allowed: !radio.disabled, checked: radio.checked,
    labels: [...radio.labels].map(label => label.textContent.trim()),
    about: document.getElementById(radio.getAttribute('aria-describedby'))?.textContent ?? null,
    card: radio.closest('[data-profile]').innerText,
}))
"""
STRUCTURE = """
const form = document.querySelector('#spawn_form');
const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
return {
    legends: [...form.querySelectorAll('fieldset > legend:first-child')].map(one => one.textContent.trim()),
    strayRadios: form.querySelectorAll('input[type=radio]').length
        - form.querySelectorAll('fieldset input[type=radio]').length,
    headingsInLabels: form.querySelectorAll('label :is(h1, h2, h3, h4, h5, h6)').length,
    headings: [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]
        .filter(one => one.checkVisibility()).map(one => one.tagName),
    twice: ids.filter((id, at) => ids.indexOf(id) !== at),
}
"""
WIDTHS = """
const page = document.scrollingElement, form = document.querySelector('#spawn_form');
const wide = [...form.querySelectorAll('*')].filter(one => one.getBoundingClientRect().right > innerWidth);
return {window: innerWidth, page: page.scrollWidth - page.clientWidth, form: form.scrollWidth - form.clientWidth,
    wide: wide.map(one => one.outerHTML.slice(0, 80))}
"""
COLOURS = """
const of = (css, what) => getComputedStyle(document.querySelector(css))[what];
return {
    theme: document.documentElement.dataset.bsTheme, page: of('body', 'backgroundColor'), words: of('body', 'color'),
    card: of('[data-profile=wordy]', 'backgroundColor'), label: of('[data-profile=wordy] label', 'color'),
    chosen: of('[data-profile=cpu]', 'backgroundColor'), refused: of('[data-profile=gpu]', 'backgroundColor'),
}
"""


def test_a_refused_choice_says_why_and_offers_the_page_again(user: User) -> None:
    """The radio of what is refused cannot be chosen; asked for by the URL, the sentence stands above the choices."""
    user.log_in("ben")
    assert not user.see("[data-profile=gpu] input").is_enabled()
    user.click("[data-profile=gpu] label")
    assert user.see("[data-profile=cpu] input").is_selected()
    user.go("/hub/spawn?opt-profile=gpu")
    assert "not-allowed: no rule allows you the profile 'gpu'" in user.text(".spawn-error-msg")
    assert user.see("[data-profile=cpu] input").is_selected()
    assert user.servers() == {}


def test_every_choice_has_a_name_and_a_reason_in_words(user: User) -> None:
    """A screen reader hears each choice's title, then why; colour is never the only sign of a refusal."""
    user.log_in("ben")
    radios = {radio["name"]: radio for radio in user.script(RADIOS)}
    assert [name for name, radio in radios.items() if radio["allowed"]] == ["cpu", "lost", "wordy"]
    assert [name for name, radio in radios.items() if radio["checked"]] == ["cpu"]
    for name, radio in radios.items():
        assert len(radio["labels"]) == 1, name
        assert radio["labels"][0], name
        assert radio["about"] is not None, name
        assert ("Why: allowed by " in radio["card"]) == radio["allowed"], name
    assert "/scratch (if it is there)" in radios["cpu"]["card"]
    assert "GPUs at once" not in radios["cpu"]["card"]
    assert "Not allowed" in radios["gpu"]["card"]
    assert "no rule allows you the profile 'gpu'" in radios["gpu"]["about"]
    assert "Not allowed" in radios["closed"]["card"]
    assert "Write to the support desk." in radios["closed"]["about"]
    assert "Not available" in radios["huge"]["card"]
    assert "of memory is asked for" in radios["huge"]["about"]


def test_the_choices_are_one_group_with_a_name(user: User) -> None:
    """One fieldset with a legend that names the site; labels hold no headings, heading levels are not jumped."""
    user.log_in("ben")
    found = user.script(STRUCTURE)
    assert found == {
        "legends": ["What to start at Example Computing Centre"],
        "strayRadios": 0,
        "headingsInLabels": 0,
        "headings": ["H1"],
        "twice": [],
    }


def test_the_keyboard_reaches_what_is_allowed_and_nothing_else(user: User) -> None:
    """The arrow keys go from one allowed choice to the next, over the refused ones."""
    user.log_in("ben")
    user.see("[data-profile=cpu] input").send_keys(Keys.ARROW_DOWN)
    assert user.see("[data-profile=lost] input").is_selected()
    user.see("[data-profile=lost] input").send_keys(Keys.ARROW_UP)
    assert user.see("[data-profile=cpu] input").is_selected()


def test_a_click_anywhere_on_a_card_chooses_it_and_the_reasons_open_by_themselves(user: User) -> None:
    """The whole card is the button, but for its reasons, which can be opened and read without choosing it."""
    user.log_in("ada")
    user.click("[data-profile=gpu]")
    assert user.see("[data-profile=gpu] input").is_selected()
    user.click("[data-profile=lost] summary")
    assert "Memory: defaults (site.yaml:" in user.text("[data-profile=lost] details")
    assert user.see("[data-profile=gpu] input").is_selected()


@pytest.mark.parametrize("width", [400, 320])
def test_a_narrow_window_needs_no_sideways_scrolling(user: User, width: int) -> None:
    """Titles, images and descriptions longer than the window break into lines."""
    user.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    user.log_in("ben")
    assert user.script(WIDTHS) == {"window": width, "page": 0, "form": 0, "wide": []}


def test_the_cards_follow_the_hubs_theme(user: User) -> None:
    """In the light and the dark theme the cards have the page's own colours; chosen and refused ones differ."""
    user.log_in("ben")
    first = user.script(COLOURS)
    user.click("#dark-theme-toggle")
    user.wait(lambda: user.script(COLOURS)["theme"] != first["theme"], "the other theme")
    second = user.script(COLOURS)
    for found in (first, second):
        assert found["card"] == found["page"]
        assert found["label"] == found["words"]
        assert len({found["card"], found["chosen"], found["refused"]}) == 3
    assert first["page"] != second["page"]


def test_without_javascript_one_can_log_in_choose_and_start(user: User) -> None:
    """Login, reading, choosing and starting need no script.

    What does not work then is JupyterHub's and JupyterLab's own: the hub's banner asks for JavaScript on every page,
    the waiting page shows no steps and does not go on by itself (loading it again does), no button stops a server,
    and JupyterLab itself does not appear.
    """
    user.cdp("Emulation.setScriptExecutionDisabled", value=True)
    user.log_in("ada")
    assert user.see("#noscript").text.startswith("JupyterHub requires JavaScript.")
    assert "allowed by rule 'gpu users'" in user.text("[data-profile=gpu]")
    user.click("[data-profile=gpu] label")
    user.leave_by("#spawn_form [type=submit]")
    servers = user.wait(lambda: user.hub.api("GET", "users/ada").json["servers"], "a server")
    assert servers[""]["state"]["profile"] == "gpu"
    user.wait(lambda: user.hub.api("GET", "users/ada").json["servers"][""]["ready"], "the server to be ready")
    user.go("/hub/spawn-pending/ada")
    user.wait(lambda: user.driver.current_url.startswith(f"{user.hub.url}/user/ada/"), "the way to the server")
