"""The hub's pages hold together where there is little to tell: other spawners, servers nobody can ask about now."""

from __future__ import annotations

import pytest

from tests.components.hub import Hub, running_hub, start_server, stop_server
from tests.house.pages import code_blocks
from tests.hub.site import DOUBLES, PASSWORD, RULES, Site

OTHER = """
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = ["sleep", "600"]
c.Spawner.http_timeout = 600
c.SimpleLocalProcessSpawner.home_dir_template = "TOP/home-of-{username}"
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
"""


def test_a_server_of_another_spawner_has_the_hubs_own_home_page(own_site: Site) -> None:
    """A site with several spawners: what our pages cannot ask they leave to JupyterHub's, and nothing breaks."""
    config = own_site.config + OTHER.replace("TOP", str(own_site.top))
    with running_hub(config) as hub:
        session = hub.login("ben", PASSWORD)
        assert hub.api("POST", "users/ben/server").status == 202
        home = session.get("/hub/home")
        assert home.status == 200
        assert 'class="nbp-server"' not in home.text
        assert 'id="stop"' in home.text
        waiting = session.get("/hub/spawn-pending/ben")
        assert waiting.status == 200
        assert "Your server was asked for" in waiting.text


def test_a_server_that_the_hub_is_looking_for_is_told_of(own_site: Site) -> None:
    """After a restart of the hub a host may not answer: home says so, with what is known, and opens the server."""
    config = own_site.config + "c.JupyterHub.spawner_class = 'tests.hub.doubles.CannotBeAsked'\n"
    with running_hub(config, extra_env=DOUBLES, external_proxy=True) as hub:
        hub.api("POST", "users/ben")
        assert start_server(hub, "ben")[-1].get("ready")
        hub.restart()
        session = hub.login("ben", PASSWORD)
        home = session.get("/hub/home")
        assert home.status == 200
        assert "The hub was restarted and is looking whether it still runs." in home.text
        assert "1 GiB" in home.text
        assert '<a class="btn btn-primary" href="/user/ben/">Open</a>' in home.text
        waiting = session.get("/hub/spawn-pending/ben")
        assert "Looking for your server" in waiting.text
        assert "is looking whether your server still runs" in waiting.text
        assert '<div class="nbp-script" hidden>' in waiting.text  # JupyterHub cannot stop a server in this state
        assert "stop-server/ben" not in waiting.text


def test_home_without_a_server_is_the_hubs_own(own_site: Site) -> None:
    """No empty list of servers, and the button to start one."""
    with running_hub(own_site.config) as hub:
        page = hub.login("ben", PASSWORD).page("/hub/home")
        assert "nbp-running" not in page
        assert "Start" in page
        assert 'href="/hub/spawn/ben"' in page


LIMITS = {
    "idle": "It may be stopped after 3 days without activity.",
    "aged": "It may be stopped on ",
    "both": "without activity, at the latest on ",
    "cpu": "No time limit is set for it.",
}


def test_home_says_until_when(own_site: Site) -> None:
    """Each kind of limit has its sentence; a profile's title is text, whatever it holds."""
    rules = """\
  idle: {title: "<i>Idle</i>", allow: true, idle: {cull_after: 3d}}
  aged: {title: "Aged", allow: true, idle: {max_age: 7d}}
  both: {title: "Both", allow: true, idle: {cull_after: 3d, max_age: 7d}}
"""
    own_site.write_rules(RULES.replace("rules:\n", f"{rules}rules:\n", 1))
    with running_hub(own_site.config) as hub:
        hub.api("POST", "users/ben")
        session = hub.login("ben", PASSWORD)
        for profile, sentence in LIMITS.items():
            assert start_server(hub, "ben", options={"profile": profile})[-1].get("ready"), profile
            page = session.page("/hub/home")
            assert sentence in page, profile
            assert "<i>" not in page
            assert ("also while it is used" in page) == (profile == "aged")
            stop_server(hub, "ben")


def test_a_sites_own_page_extends_ours(own_site: Site) -> None:
    """The page that the documents show, in a folder before ours, adds its sentence and loses nothing."""
    (page,) = [block.text for block in code_blocks("docs/how-to/pages.md") if block.language == "html"]
    folder = own_site.top / "templates"
    folder.mkdir()
    (folder / "home.html").write_text(page)
    config = own_site.config + f"c.JupyterHub.template_paths = [{str(folder)!r}, *template_paths]\n"
    with running_hub(config) as hub:
        hub.api("POST", "users/ben")
        assert start_server(hub, "ben")[-1].get("ready")
        shown = hub.login("ben", PASSWORD).page("/hub/home")
        assert "Maintenance is on the first Tuesday of each month." in shown
        assert 'class="nbp-server"' in shown
        assert "Named Servers" in shown


# who asks, the address, whether the form has its token; the answer's status and what runs afterwards
FORMS = {
    "their own": ("ben", "/hub/stop-server/ben", True, 302, []),
    "a server that does not run": ("ada", "/hub/stop-server/ada", True, 302, ["ben"]),
    "an administrator's": ("eve", "/hub/stop-server/ben", True, 302, []),
    "another user's": ("ada", "/hub/stop-server/ben", True, 404, ["ben"]),
    "forged on another page": ("ben", "/hub/stop-server/ben", False, 403, ["ben"]),
    "no such server": ("ben", "/hub/stop-server/ben/third", True, 404, ["ben"]),
    "no such user": ("eve", "/hub/stop-server/nobody", True, 404, ["ben"]),
}


@pytest.mark.parametrize(("who", "path", "token", "status", "left"), FORMS.values(), ids=FORMS)
def test_the_form_stops_what_its_sender_may_stop(
    hub: Hub, who: str, path: str, token: bool, status: int, left: list[str]
) -> None:
    """The way without JavaScript is as closed as the REST API: own servers, with the page's token."""
    assert start_server(hub, "ben")[-1].get("ready")
    session = hub.login(who, PASSWORD)
    data = {} if token else {"_xsrf": "forged"}
    assert session.post(path, data, redirects=False).status == status
    running = [user["name"] for user in hub.api("GET", "users").json if user["servers"]]
    assert running == left


def test_the_form_cannot_be_sent_by_a_link(hub: Hub) -> None:
    """What is followed, or fetched ahead by a browser, stops nothing; who is not logged in is asked to."""
    assert start_server(hub, "ben")[-1].get("ready")
    assert hub.login("ben", PASSWORD).get("/hub/stop-server/ben").status == 405
    visitor = hub.visit()
    visitor.get("/hub/login")
    assert visitor.post("/hub/stop-server/ben", redirects=False).status in (302, 403)
    assert list(hub.api("GET", "users/ben").json["servers"]) == [""]
