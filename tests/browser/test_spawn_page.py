"""The page where a server is chosen: readable for everyone, in every window, with and without JavaScript."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.user import User
from tests.components.hub import stop_server

RADIOS = """
return [...document.querySelectorAll('.nbp-choices input[type=radio]')].map(radio => ({
    name: radio.value, allowed: !radio.disabled, checked: radio.checked,
    labels: [...radio.labels].map(label => label.textContent.trim()),
    about: radio.getAttribute('aria-describedby').split(' ')
        .map(id => document.getElementById(id).textContent).join(' '),
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
CONTRASTS = """
const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const pixel = (...layers) => {
    for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = rgb => {
    const [r, g, b] = rgb.map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
};
const found = {};
let looked = 0;
for (const one of document.querySelectorAll('.nbp-choices *')) {
    const words = [...one.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join('');
    if (!words || !one.checkVisibility() || one.tagName === 'STYLE') continue;
    const behind = [];
    for (let at = one; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const below = light(pixel(...behind)), above = light(pixel(...behind, getComputedStyle(one).color));
    const ratio = (Math.max(below, above) + .05) / (Math.min(below, above) + .05);
    looked += 1;
    if (ratio < 4.5) found[words.slice(0, 40)] = [ratio.toFixed(2), getComputedStyle(one).color, behind.at(-1)];
}
return [found, looked];
"""


def unfold(user: User) -> None:
    """Show what is refused, where it is folded."""
    if not user.see("[data-nbp=others]").get_property("open"):
        user.click("[data-nbp=others] > summary")


def described(user: User, role: str) -> dict[str, str]:
    """Name and description of everything that has a role, as Chromium tells a screen reader."""
    found = user.driver.execute("executeCdpCommand", {"cmd": "Accessibility.getFullAXTree", "params": {}})
    nodes = [one for one in found["value"]["nodes"] if not one["ignored"] and one["role"]["value"] == role]
    return {one["name"]["value"]: one.get("description", {}).get("value", "") for one in nodes}


def test_a_refused_choice_says_why_and_offers_the_page_again(user: User) -> None:
    """What is refused has no radio; asked for by the URL, the sentence stands above the choices."""
    user.log_in("ben")
    unfold(user)
    user.click("[data-profile=gpu]")
    assert not user.driver.find_elements("css selector", "[data-profile=gpu] input")
    assert user.see("[data-profile=cpu] input").is_selected()
    user.go("/hub/spawn?opt-profile=gpu")
    assert "not-allowed: no rule allows you the profile 'gpu'" in user.text(".spawn-error-msg")
    assert user.see("[data-profile=cpu] input").is_selected()
    assert user.servers() == {}


def test_every_choice_has_a_name_and_what_it_gives_in_words(user: User) -> None:
    """A screen reader hears each choice's title, then what it is; the reason and all the rest are on the card."""
    user.log_in("ben")
    radios = {radio["name"]: radio for radio in user.script(RADIOS)}
    assert [name for name, radio in radios.items() if radio["allowed"]] == ["cpu", "lost", "wordy"]
    assert [name for name, radio in radios.items() if radio["checked"]] == ["cpu"]
    for name, radio in radios.items():
        assert len(radio["labels"]) == 1, name
        assert radio["labels"][0], name
        assert "1 GiB" in radio["about"], name
        assert "of memory" in radio["about"], name
        assert "Why: allowed by " in radio["card"], name
    assert "Everyday work" in radios["cpu"]["about"]
    assert "/scratch (read and write, where it exists)" in radios["cpu"]["card"]
    assert "/cvmfs (read only)" in radios["cpu"]["card"]
    assert "GPUs" not in radios["cpu"]["card"]


def test_what_is_refused_stands_last_with_reason_and_whom_to_ask(user: User) -> None:
    """Words, not colour, say that it cannot be had; it can be folded away, and its names can be read then."""
    user.log_in("ben")
    summary = "[data-nbp=others] > summary"
    assert user.text(summary) == "3 more that you cannot start, and why"
    gpu, closed, huge = (user.text(f"[data-profile={name}]") for name in ("gpu", "closed", "huge"))
    assert "Not allowed" in gpu
    assert "no rule allows you the profile 'gpu'" in gpu
    assert "Write to the support desk." in closed
    assert "Not available" in huge
    assert "of memory is asked for" in huge
    assert all("Whom to ask: the support desk" in one for one in (gpu, closed, huge))
    user.click(summary)
    assert user.text(summary) == "3 more that you cannot start, and why: One GPU, Closed, Huge"
    assert not user.driver.find_element("css selector", "[data-profile=gpu]").is_displayed()


def test_what_a_screen_reader_is_told(user: User) -> None:
    """Radios and disclosures have names of their own, the group has one, facts are rows of a table with headers."""
    user.log_in("ada")
    radios = described(user, "radio")
    assert list(radios)[:3] == ["CPU", "One GPU", "Lost storage"]
    assert "GPUs 1 Memory 1 GiB Cores 1 Left to give out 1 of 1 GPU" in " ".join(radios["One GPU"].split())
    assert "What to start at Example Computing Centre" in described(user, "group")
    disclosures = described(user, "DisclosureTriangle")
    assert "Why: allowed by rule 'gpu users' for One GPU" in disclosures
    assert len(disclosures) == len(radios) + 1
    user.click("[data-profile=gpu] details summary")
    assert {"What you get", "Decided by"} <= described(user, "columnheader").keys()
    assert {"Memory: 1 GiB", "/cvmfs: read only"} <= described(user, "rowheader").keys()


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
    """The arrow keys go from one allowed choice to the next; Enter folds what is refused."""
    user.log_in("ben")
    user.see("[data-nbp=others] > summary").send_keys(Keys.ENTER)
    assert not user.driver.find_element("css selector", "[data-profile=gpu]").is_displayed()
    user.see("[data-profile=cpu] input").send_keys(Keys.ARROW_DOWN)
    assert user.see("[data-profile=lost] input").is_selected()
    user.see("[data-profile=lost] input").send_keys(Keys.ARROW_UP)
    assert user.see("[data-profile=cpu] input").is_selected()


def test_the_keyboard_opens_the_reasons(user: User) -> None:
    """From a radio, Tab leads to its card's reasons, and Enter opens them."""
    user.log_in("ben")
    user.see("[data-profile=cpu] input").send_keys(Keys.TAB)
    user.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert "Allowed: yes profile cpu (site.yaml:2)" in user.text("[data-profile=cpu] table")


def test_a_click_anywhere_on_a_card_chooses_it_and_the_reasons_open_by_themselves(user: User) -> None:
    """The whole card is the button, but for its reasons, which can be opened and read without choosing it."""
    user.log_in("ada")
    user.click("[data-profile=gpu]")
    assert user.see("[data-profile=gpu] input").is_selected()
    user.click("[data-profile=lost] summary")
    told = user.text("[data-profile=lost] table")
    assert "Memory: 1 GiB defaults (site.yaml:" in told
    assert "/lost: read and write profile lost (site.yaml:6)" in told
    assert user.see("[data-profile=gpu] input").is_selected()


@pytest.mark.parametrize("width", [400, 320])
def test_a_narrow_window_needs_no_sideways_scrolling(user: User, width: int) -> None:
    """Titles, images and descriptions longer than the window break into lines."""
    user.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    user.log_in("ben")
    unfold(user)
    for name in ("cpu", "wordy"):
        user.click(f"[data-profile={name}] details summary")
    assert user.script(WIDTHS) == {"window": width, "page": 0, "form": 0, "wide": []}


def test_the_cards_follow_the_hubs_theme(user: User) -> None:
    """In the light and the dark theme the cards have the page's own colours; chosen and refused ones differ."""
    user.log_in("ben")
    unfold(user)
    user.click("[data-profile=cpu] details summary")
    first = user.script(COLOURS)
    user.click("#dark-theme-toggle")
    user.wait(lambda: user.script(COLOURS)["theme"] != first["theme"], "the other theme")
    second = user.script(COLOURS)
    for found in (first, second):
        assert found["card"] == found["page"]
        assert found["label"] == found["words"]
        assert len({found["card"], found["chosen"], found["refused"]}) == 3
    assert first["page"] != second["page"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(user: User, theme: str) -> None:
    """Each word of the form has at least the contrast of 4.5 to 1 that WCAG 2.2 asks for, in both themes."""
    assert user.hub.api("POST", "users/eve/server", json={"user_options": {"profile": "gpu"}}).status < 300
    user.cdp(
        "Emulation.setEmulatedMedia",
        features=[
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ],
    )
    user.log_in("ada")
    unfold(user)
    user.click("[data-profile=gpu] details summary")
    assert user.script("return document.documentElement.dataset.bsTheme") == theme
    assert user.see("[data-profile=gpu] .badge").is_displayed()
    faint, looked = user.script(CONTRASTS)
    assert faint == {}
    assert looked > 40


def test_what_another_holds_is_not_free_and_may_be_asked_for_all_the_same(user: User) -> None:
    """One takes the only GPU: the other's page says so with admission's own sentence, until it is given back."""
    user.log_in("ada")
    assert user.text("[data-profile=gpu] [data-nbp=free]").startswith("Left to give out\n1 of 1 GPU, ")
    assert user.hub.api("POST", "users/eve/server", json={"user_options": {"profile": "gpu"}}).status < 300
    user.wait(lambda: user.hub.api("GET", "users/eve").json["servers"][""]["ready"], "eve's server")
    user.go("/hub/spawn")
    card = user.text("[data-profile=gpu]")
    assert "Full now" in card
    assert "1 of 1 GPU of this machine is taken" in card
    assert "0 of 1 GPU, " in card
    assert "Full now 1 of 1 GPU of this machine is taken." in " ".join(described(user, "radio")["One GPU"].split())
    assert "Full now" not in user.text("[data-profile=cpu]")
    user.click("[data-profile=gpu] label")
    assert user.see("[data-profile=gpu] input").is_selected()
    user.leave_by("#spawn_form [type=submit]")
    assert "full: 1 of 1 GPU of this machine is taken" in user.text(".spawn-error-msg")
    stop_server(user.hub, "eve")
    user.go("/hub/spawn")
    assert "Full now" not in user.text("[data-profile=gpu]")


def test_a_used_up_quota_is_said_on_the_page_with_the_way_to_ones_servers(user: User) -> None:
    """Two servers are all one may have: the third's page says which they are and leads to where they are stopped."""
    for name in ("one", "two"):
        assert user.hub.api("POST", f"users/ben/servers/{name}").status < 300
    user.log_in("ben", "/hub/spawn/ben/three")
    card = user.text("[data-profile=cpu]")
    assert "Your quota is used up" in card
    assert "you hold 2 and ask for 1 more, your quota is 2 servers; stop one of: 'one', 'two'." in card
    user.leave_by("[data-profile=cpu] [data-nbp=obstacle] a")
    assert user.driver.current_url == f"{user.hub.url}/hub/home"


def test_what_one_had_last_is_chosen_and_stands_first_unless_it_has_gpus(user: User) -> None:
    """Who comes back each day starts at once; but what is scarce is asked for each time."""
    user.log_in("eve")
    orders = {}
    for profile in ("wordy", "gpu"):
        assert user.hub.api("POST", "users/eve/server", json={"user_options": {"profile": profile}}).status < 300
        stop_server(user.hub, "eve")
        user.go("/hub/spawn")
        radios = user.script(RADIOS)
        orders[profile] = [radio["name"] for radio in radios]
        assert [radio["name"] for radio in radios if radio["checked"]] == orders[profile][:1]
    assert orders == {"wordy": ["wordy", "cpu", "gpu", "lost"], "gpu": ["cpu", "gpu", "lost", "wordy"]}


def test_without_javascript_one_can_log_in_choose_and_start(user: User) -> None:
    """Login, reading, choosing and starting need no script.

    What does not work then is JupyterHub's and JupyterLab's own: no button stops a server, and JupyterLab itself does
    not appear.
    """
    user.cdp("Emulation.setScriptExecutionDisabled", value=True)
    user.log_in("ada")
    assert "allowed by rule 'gpu users'" in user.text("[data-profile=gpu]")
    user.click("[data-profile=gpu] details summary")
    assert "Allowed: yes gpu users (site.yaml:" in user.text("[data-profile=gpu] table")
    unfold(user)
    assert user.see("[data-profile=closed]").is_displayed()
    user.click("[data-profile=gpu] label")
    user.leave_by("#spawn_form [type=submit]")
    servers = user.wait(lambda: user.hub.api("GET", "users/ada").json["servers"], "a server")
    assert servers[""]["state"]["profile"] == "gpu"
    user.wait(lambda: user.hub.api("GET", "users/ada").json["servers"][""]["ready"], "the server to be ready")
    user.go("/hub/spawn-pending/ada")
    user.wait(lambda: user.driver.current_url.startswith(f"{user.hub.url}/user/ada/"), "the way to the server")
