"""Make the pictures of the documents: the demo's site, seen in a real Chromium as its users see it."""

from __future__ import annotations

import argparse
import base64
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo import ensure_bubblewrap, free_port, make_demo_site, start_hub, wait_until_up
from machine_tools import SUITE, install
from steps import StepError, say

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # for what this shares with the tests: tests/components

import dask_pictures  # noqa: E402
import login_pictures  # noqa: E402

from tests.components import MissingComponent  # noqa: E402
from tests.components.browser import browser  # noqa: E402
from tests.components.keeper import KeeperError, keeper  # noqa: E402
from tests.components.proxy import proxy_command  # noqa: E402

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

DESKTOP = (1200, 800)
LOW = (1200, 480)
FLAT = (1200, 400)
PHONE = (390, 844)
LIMIT = 60.0
"""Seconds until what is waited for must show."""
CONFIG = f"""
c = get_config()
load_subconfig({str(CHECKOUT / "hub_config" / "demo" / "jupyterhub_config.py")!r})
c.LocalSpawner.gpus = ["GPU-0101", "GPU-0102"]
c.LocalSpawner.gpu_model = "K80"


def never_answers(spawner):
    if spawner.user.name == "gina":  # hers is the picture of a start that is under way
        spawner.cmd = ["sleep", "600"]


c.Spawner.pre_spawn_hook = never_answers
"""
TELL = """
const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)[1];
const left = 5400, stopAt = new Date(Date.now() + left * 1000).toISOString();
return fetch('/user/alice/api/nbplatform/notice', {method: 'PUT', headers: {'X-XSRFToken': xsrf}, body: JSON.stringify({
    seconds_left: left, stop_at: stopAt, reason: 'idle', why: 'Nobody has used it for 2 days and 22 hours.',
    extend: 21600, extended: false, idle: false})}).then(answer => answer.status)
"""
"""Tells a server what the idle culler tells it; whatever the person does, the notice stays."""


class NotSeenError(StepError):
    """A page did not show what a picture is to show."""


@dataclass
class Visitor:
    """Somebody in front of a browser.

    Attributes:
        driver: the browser.
        url: of the hub.
        passwords: everybody's.
    """

    driver: WebDriver
    url: str
    passwords: Mapping[str, str]

    def cdp(self, command: str, **parameters: Any) -> Any:
        """Send a command of the Chrome DevTools protocol; returns its answer."""
        return self.driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})["value"]

    def window(self, size: tuple[int, int], *, dark: bool = False) -> None:
        """Choose the window: its size in pixels, and whether the person likes dark pages."""
        width, height = size
        phone = size == PHONE
        self.cdp("Emulation.setScrollbarsHidden", hidden=True)
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        likes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": key, "value": likes[key]} for key in likes])

    def be(self, name: str, page: str) -> None:
        """Log in as somebody, afresh, and go to a page of the hub."""
        self.cdp("Network.clearBrowserCookies")
        self.driver.get(f"{self.url}/hub/login?next={page}")
        script = "document.querySelector('[name={}]').value = arguments[0]"
        self.driver.execute_script(script.format("username"), name)
        self.driver.execute_script(script.format("password"), self.passwords[name])
        self.driver.execute_script("document.querySelector('form [type=submit]').click()")
        self.wait(lambda: "/hub/login" not in self.driver.current_url, f"the login of {name}")

    def sees(self, css: str, words: str = "") -> None:
        """Wait until an element is shown, with these words."""
        code = """
        return [...document.querySelectorAll(arguments[0])].some(
            one => one.checkVisibility() && one.innerText.includes(arguments[1]))"""
        self.wait(lambda: self.driver.execute_script(code, css, words), f"{words or 'something'} in {css}")

    def wait(self, what: Callable[[], object], name: str) -> None:
        """Wait until something is true.

        Raises:
            NotSeenError: it is not; the message names it and the page.
        """
        from selenium.common.exceptions import WebDriverException

        limit = time.monotonic() + LIMIT
        while time.monotonic() < limit:
            with contextlib.suppress(WebDriverException):  # the page is just changing
                if what():
                    return
            time.sleep(0.1)
        raise NotSeenError(f"waited in vain for {name} at {self.driver.current_url}")

    def start(self, profile: str) -> None:
        """Choose a profile on the spawn page and press Start."""
        self.sees(f"[data-profile={profile}]")
        code = "document.querySelector(`[data-profile=${arguments[0]}] input`).click()"
        self.driver.execute_script(code, profile)
        self.driver.execute_script("document.querySelector('#spawn_form [type=submit]').click()")

    def show(self, css: str) -> None:
        """Open what an element is folded in and scroll until it is in the middle of the window."""
        code = """
        const one = document.querySelector(arguments[0]);
        for (let at = one; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
        one.scrollIntoView({block: 'center', behavior: 'instant'});"""
        self.driver.execute_script(code, css)

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        self.driver.execute_script("document.activeElement?.blur(); return document.fonts.ready")
        return base64.b64decode(self.cdp("Page.captureScreenshot", format="png")["data"])


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        lead: leads a visitor to what is seen.
        site: where that is: a key of ``SITES``.
        size: of the window and the picture, in pixels.
        dark: for somebody who likes dark pages.
    """

    lead: Callable[[Visitor], None]
    site: str = "demo"
    size: tuple[int, int] = DESKTOP
    dark: bool = False


# What leads to each picture: as somebody, to where there is something to see.


def spawn_page(visitor: Visitor) -> None:
    """What alice may start, and why."""
    visitor.be("alice", "/hub/spawn")
    visitor.sees("[data-profile=cpu]", "CPU")


def why(visitor: Visitor) -> None:
    """The same, with the rules that decided opened."""
    spawn_page(visitor)
    visitor.show("[data-profile=cpu] details table, [data-profile=cpu] details li")


def refused(visitor: Visitor) -> None:
    """Mallory's GPU profile, refused with the rule's own words."""
    visitor.be("mallory", "/hub/spawn")
    visitor.sees("#spawn_form")
    visitor.show("[data-profile=gpu]")
    visitor.sees("[data-profile=gpu]", "suspended")


def starting(visitor: Visitor) -> None:
    """The page of a start that is under way."""
    visitor.be("gina", "/hub/spawn")
    visitor.start("cpu")
    visitor.sees("#progress-message", "Waiting")
    visitor.driver.execute_script("document.querySelector('#progress-details').open = true")


def running(visitor: Visitor) -> None:
    """Start alice's server, unless it runs, and wait for her JupyterLab."""
    visitor.be("alice", "/hub/spawn")
    if "/hub/spawn" in visitor.driver.current_url:
        visitor.start("cpu")
    visitor.wait(lambda: "/user/alice/" in visitor.driver.current_url, "alice's server")


def home(visitor: Visitor) -> None:
    """The home page with a server that runs."""
    running(visitor)
    visitor.driver.get(f"{visitor.url}/hub/home")
    visitor.sees("[data-server]", "Open")


def lab(visitor: Visitor) -> None:
    """JupyterLab, and who one is in it."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    running(visitor)
    visitor.driver.get(f"{visitor.url}/user/alice/lab/tree/welcome.ipynb")
    visitor.sees("#jp-main-statusbar", "Idle")
    for _ in range(3):  # the title, a text, and the first cell: id
        ActionChains(visitor.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    visitor.sees(".jp-OutputArea-output", "uid=")
    visitor.sees(".jp-InputPrompt", "[1]:")
    visitor.sees("#jp-main-statusbar", "Idle")


def notice(visitor: Visitor) -> None:
    """JupyterLab with the notice that the server will be stopped."""
    running(visitor)
    visitor.driver.get(f"{visitor.url}/user/alice/lab/tree/welcome.ipynb")
    visitor.sees("#jp-main-statusbar", "Idle")
    visitor.wait(lambda: visitor.driver.execute_script(TELL) == 204, "the notice")
    visitor.sees(".nbplatform-idle button", "Stops in 1 h 30 min")
    visitor.sees(".Toastify__toast", "Keep it running")
    slid_in = "return document.querySelector('.Toastify__toast').getBoundingClientRect().right < innerWidth"
    visitor.wait(lambda: visitor.driver.execute_script(slid_in), "the notice in full")


def dark(visitor: Visitor) -> None:
    """The spawn page for those who like it dark."""
    visitor.be("alice", "/hub/spawn")
    visitor.sees("[data-profile=cpu]", "CPU")
    theme = "return document.documentElement.dataset.bsTheme"
    if visitor.driver.execute_script(theme) != "dark":
        visitor.driver.execute_script("document.querySelector('#dark-theme-toggle').click()")
    visitor.wait(lambda: visitor.driver.execute_script(theme) == "dark", "the dark theme")


PICTURES = {
    "spawn-page": Picture(spawn_page),
    "spawn-page-why": Picture(why),
    "dark": Picture(dark, dark=True),
    "refused": Picture(refused),
    "starting": Picture(starting, size=LOW),
    "phone": Picture(spawn_page, size=PHONE),
    "home": Picture(home, size=FLAT),
    "lab": Picture(lab),
    "notice": Picture(notice, size=LOW),
    "keycloak-login": Picture(login_pictures.at_keycloak, "keycloak", (800, 720)),
    "keycloak-home": Picture(login_pictures.logged_in, "keycloak", FLAT),
    "keycloak-not-linked": Picture(login_pictures.not_linked, "keycloak", FLAT),
    "dask": Picture(dask_pictures.panel, "slurm"),
}
"""By the name of its file, without ``.png``; in the order in which they are made."""


def main(arguments: Sequence[str]) -> int:
    """Make the pictures; returns the exit status."""
    options = parse(arguments)
    install(SUITE)
    try:
        for path in make(options.to, options.names or list(PICTURES)):
            sys.stdout.write(f"{path}\n")
    except (StepError, MissingComponent, KeeperError) as error:
        say(str(error))
        return 1
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ends the process with status 2 on bad ones."""
    parser = argparse.ArgumentParser(prog="scripts/pictures", description=__doc__)
    parser.add_argument(
        "--to",
        type=lambda text: Path(text).absolute(),
        default=CHECKOUT / "docs" / "pictures",
        metavar="DIR",
        help="where (default: docs/pictures in the checkout)",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these (default: all): {', '.join(PICTURES)}")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in PICTURES]:
        parser.error(f"no picture has the name {unknown[0]}; there are {', '.join(PICTURES)}")
    return options


def make(to: Path, names: Sequence[str]) -> Iterator[Path]:
    """Make some pictures and yield the path of each.

    Args:
        to: a folder, made if need be.
        names: keys of ``PICTURES``; those of one site are made one after the other.

    Raises:
        StepError: the hub does not start, or a page does not show what it should.
        MissingComponent: this machine has no Chromium, no proxy for the hub, or no Keycloak.
    """
    to.mkdir(parents=True, exist_ok=True)
    for place, visiting in SITES.items():
        there = [name for name in names if PICTURES[name].site == place]
        if not there:
            continue
        with visiting() as visitor:
            for name in there:
                say(f"making the picture {name}")
                visitor.window(PICTURES[name].size, dark=PICTURES[name].dark)
                PICTURES[name].lead(visitor)
                (to / f"{name}.png").write_bytes(visitor.picture())
                yield to / f"{name}.png"


@contextlib.contextmanager
def visiting_demo() -> Iterator[Visitor]:
    """A hub with the demo's site, and somebody who visits it; both end with the block."""
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(browser())
        ensure_bubblewrap()
        proxy = proxy_command()
        keep = stack.enter_context(keeper("pictures"))
        site = make_demo_site(keep.folder, stack)
        config = keep.folder / "hub" / "jupyterhub_config.py"
        config.write_text(CONFIG)
        port = free_port(0)
        wait_until_up(start_hub(keep, site, port, proxy, config), port)
        yield Visitor(driver, f"http://127.0.0.1:{port}", site.passwords)


@contextlib.contextmanager
def visiting_keycloak() -> Iterator[Visitor]:
    """A hub whose people log in through Keycloak, and somebody who visits it; all end with the block."""
    with browser() as driver, login_pictures.login_site() as site:
        yield Visitor(driver, site.url, {})


@contextlib.contextmanager
def visiting_slurm() -> Iterator[Visitor]:
    """A JupyterLab of a user of Slurm's, and somebody who visits it; all end with the block."""
    with browser() as driver, dask_pictures.panel_site() as lab:
        yield Visitor(driver, lab.url, {})


SITES = {"demo": visiting_demo, "keycloak": visiting_keycloak, "slurm": visiting_slurm}
"""Where pictures are made, by name."""


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
