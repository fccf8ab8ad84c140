"""From the login page to a cell that ran as the user, and back, as a user of a browser sees it."""

from __future__ import annotations

import os

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from nbplatform_spawners.hosts.local_machine import probe_machine
from tests.browser.user import User
from tests.hub.site import ACCOUNTS, GROUPS, PASSWORD, Site

CELL = (
    "!id; ls /home /sps; touch ~/of-a-cell /sps/atlas/of-a-cell /cvmfs/of-a-cell; cat /cvmfs/software; echo at its end"
)
COMMAND = "id -u > ~/of-a-terminal; mv ~/of-a-terminal ~/of-a-whole-terminal"
UID, _, _ = ACCOUNTS["ada"]
STATUS_BAR = "return document.querySelector('#jp-main-statusbar').textContent"  # it has no room on a phone
PHONE: dict[str, object] = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


def test_from_login_to_a_cell_that_runs_as_the_user(user: User, site: Site) -> None:
    """A user logs in, sees what they may have and why, gets a JupyterLab, runs a cell and a command, stops it all.

    ``id``, ``ls`` and ``touch`` show the account's uid, gid, groups, storage and rights.
    """
    if probe_machine().mode == "plain":
        pytest.skip("this machine gives servers no view of their own: user namespaces are forbidden")
    user.go("/")
    refused_logins_look_the_same(user)
    user.fill_login("ada", PASSWORD)
    choose_what_is_allowed(user)
    user.leave_by("#spawn_form [type=submit]")
    see_the_lab(user)
    assert user.driver.current_url.startswith(f"{user.hub.url}/user/ada/lab")
    a_cell_runs_as_ada(user, site)
    a_terminal_runs_as_ada(user, site)
    stop_from_the_home_page(user, "One GPU")


def see_the_lab(user: User) -> None:
    """Wait until JupyterLab can be used."""
    user.see(".jp-LabShell .jp-Launcher")
    user.wait(lambda: not user.script("return document.querySelector('#jupyterlab-splash')"), "the end of the splash")


def refused_logins_look_the_same(user: User) -> None:
    """A wrong password and an unknown name get one and the same sentence."""
    sentences = []
    for name in ("ada", "nobody-here"):
        user.fill_login(name, "wrong battery")
        sentences.append(user.text(".login_error"))
    assert sentences == ["Invalid username or password"] * 2


def choose_what_is_allowed(user: User) -> None:
    """The cards say what may be had and why, and what not and why not; another than the first is chosen."""
    assert "allowed by profile cpu (site.yaml:2)" in user.text("[data-profile=cpu]")
    assert "/sps/atlas" in user.text("[data-profile=cpu]")
    assert "allowed by rule 'gpu users'" in user.text("[data-profile=gpu]")
    refused = user.text("[data-profile=closed]")
    assert "Not allowed" in refused
    assert "Write to the support desk." in refused
    assert user.see("[data-profile=cpu] input").is_selected()
    user.click("[data-profile=gpu] label")
    assert user.see("[data-profile=gpu] input").is_selected()


def a_cell_runs_as_ada(user: User, site: Site) -> None:
    """The launcher's first card opens a notebook; its first cell shows who and where one is."""
    user.click('.jp-LauncherCard[data-category="Notebook"]')
    user.see_text("#jp-main-statusbar", "Python 3 (ipykernel) | Idle")  # what is run before is lost
    user.click(".jp-NotebookPanel .jp-Cell .cm-content")
    ActionChains(user.driver).send_keys(CELL).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    seen = user.see_text(".jp-NotebookPanel .jp-OutputArea", "at its end")
    assert f"uid={UID}(ada) gid={GROUPS['users']}(users)" in seen
    listed = seen.partition("/home:")[2].partition("touch:")[0]
    assert listed.split() == ["ada", "/sps:", "atlas"]
    assert "touch: cannot touch '/cvmfs/of-a-cell': Read-only file system" in seen
    assert seen.count("cannot touch") == 1
    assert "read me" in seen
    assert_made_by_ada(site, "home/ada/of-a-cell", "users")
    if os.getuid() == 0:
        assert f"groups={GROUPS['users']}(users),{GROUPS['atlas']}(atlas)" in seen
        assert_made_by_ada(site, "sps/atlas/of-a-cell", "atlas")


def a_terminal_runs_as_ada(user: User, site: Site) -> None:
    """A terminal beside the notebook is the same user's; what is shown is a picture, so a file tells."""
    user.click(".lm-DockPanel .lm-TabBar-addButton")
    user.click('.jp-LauncherCard[data-category="Other"][title*="terminal"]')
    user.click(".jp-Terminal .xterm-screen")
    ActionChains(user.driver).send_keys(COMMAND, Keys.ENTER).perform()
    made = site.top / "home/ada/of-a-whole-terminal"
    user.wait(made.exists, "the file that the terminal makes")
    assert made.read_text().strip() == str(UID)
    assert_made_by_ada(site, "home/ada/of-a-whole-terminal", "users")


def assert_made_by_ada(site: Site, path: str, group: str) -> None:
    """Seen from outside, the owner is the account where the hub is root, else the hub's own user."""
    found = (site.top / path).stat()
    expected = (UID, GROUPS[group]) if os.getuid() == 0 else (os.getuid(), os.getgid())
    assert (found.st_uid, found.st_gid) == expected


def stop_from_the_home_page(user: User, profile: str) -> None:
    """The home page tells what runs and stops it, and says that it can be started again."""
    user.go("/hub/home")
    name = user.script("return window.jhdata.user")
    assert profile in user.text("[data-server='']")
    user.click("[data-server=''] .nbp-stop")
    user.wait(lambda: user.text("#start") == "Start My Server", "the server's end on the page")
    assert user.hub.api("GET", f"users/{name}").json["servers"] == {}


def test_on_a_phone_from_login_to_a_cell_and_back(user: User) -> None:
    """In a narrow window one logs in, chooses, computes and stops; JupyterLab's side bar is closed for it."""
    if probe_machine().mode == "plain":
        pytest.skip("this machine gives servers no view of their own: user namespaces are forbidden")
    user.cdp("Emulation.setDeviceMetricsOverride", **PHONE)
    user.go("/")
    user.fill_login("ben", PASSWORD)
    user.click("[data-profile=cpu] label")
    user.leave_by("#spawn_form [type=submit]")
    see_the_lab(user)
    user.click(".jp-SideBar.jp-mod-left [data-id=filebrowser]")
    user.click('.jp-LauncherCard[data-category="Notebook"]')
    user.wait(lambda: "| Idle" in user.script(STATUS_BAR), "an idle kernel")
    user.click(".jp-NotebookPanel .jp-Cell .cm-content")
    ActionChains(user.driver).send_keys("!id").key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    user.see_text(".jp-NotebookPanel .jp-OutputArea", f"uid={ACCOUNTS['ben'][0]}(ben) gid={GROUPS['users']}(users)")
    stop_from_the_home_page(user, "CPU")


def test_without_javascript_the_way_leads_to_the_server_and_ends_it(user: User) -> None:
    """On a phone and without JavaScript: log in, read, choose, start; the waiting page goes on by itself.

    There the way ends for a while: JupyterLab is a program in JavaScript, so nothing can be computed in its page.  The
    server's home page says how it is doing, and stops it.
    """
    user.cdp("Emulation.setDeviceMetricsOverride", **PHONE)
    user.cdp("Emulation.setScriptExecutionDisabled", value=True)
    user.log_in("ada")
    choose_what_is_allowed(user)
    user.leave_by("#spawn_form [type=submit]")
    user.wait(lambda: user.driver.current_url.startswith(f"{user.hub.url}/user/ada/lab"), "the way to the server")
    user.go("/hub/home")
    assert "One GPU" in user.text("[data-server='']")
    assert not user.driver.find_element("id", "noscript").is_displayed()
    user.leave_by("[data-server=''] [data-nbp=stop-form]")
    user.wait(lambda: user.text("#start") == "Start My Server", "the server's end on the page")
    assert user.hub.api("GET", "users/ada").json["servers"] == {}


def test_the_waiting_page_tells_each_step_and_stops_a_start(user_of_a_silent_server: User) -> None:
    """While a server does not answer yet, the page says what was done and what is waited for; its button gives up."""
    user = user_of_a_silent_server
    user.log_in("ben")
    user.leave_by("#spawn_form [type=submit]")
    user.see_text("#progress-message", "Waiting for your server to answer")
    assert user.driver.current_url.startswith(f"{user.hub.url}/hub/spawn-pending/ben")
    assert user.text("#progress-log").splitlines()[-4:] == [
        "Deciding what you may have",
        "Looking for a place for CPU",
        "Starting your server on this machine",
        "Waiting for your server to answer",
    ]
    user.click("#stop-server-btn")
    user.wait(lambda: user.servers() == {}, "the end of the start")
