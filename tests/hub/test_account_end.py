"""Accounts that end while their servers run: a time in which work can be saved, told and kept over a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.components.hub import Hub, running_hub, start_server
from tests.components.need import need
from tests.hub.site import PASSWORD, Site

ENDED = 'valid_until: "2020-06-30T00:00+02:00"'
GRACE = "c.IdentityMixin.account_check_interval = 1\nc.IdentityMixin.account_end_grace = {}\n"
OTHER = """
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = ["jupyterhub-singleuser"]
c.Spawner.args = ["--allow-root"]
c.SimpleLocalProcessSpawner.home_dir_template = "TOP/home-of-{username}"
"""


def until(what: Callable[[], Any]) -> Any:
    """Wait until something is true; what it is."""
    limit = time.monotonic() + 30
    while not (found := what()):
        assert time.monotonic() < limit
        time.sleep(0.1)
    return found


def servers(hub: Hub, user: str) -> dict[str, Any]:
    """The running servers of a user."""
    found: dict[str, Any] = hub.api("GET", f"users/{user}").json["servers"]
    return found


def rounds(hub: Hub) -> None:
    """Wait for the end of two account checks, the second of which began after this moment."""
    begin = len(hub.log_text())
    until(lambda: hub.log_text()[begin:].count("account check: asked about") >= 2)


def test_an_account_that_ends_has_its_grace(own_site: Site) -> None:
    """Told when and why, over a restart of the hub; taken back when it is good again; else stopped in time."""
    site = own_site
    log = f"c.JupyterHub.log_level = 'DEBUG'\nc.NbplatformSpawner.audit_file = '{site.top}/audit.json'\n"
    config = site.config + log
    with need(running_hub(config + GRACE.format(3600), external_proxy=True)) as hub:
        for user in ("ada", "ben"):
            hub.api("POST", f"users/{user}")
            assert start_server(hub, user)[-1].get("ready")
        session = hub.login("ada", PASSWORD)
        site.write_accounts(ada=ENDED)
        ends = until(lambda: servers(hub, "ada")[""]["state"].get("ends"))
        assert "it ended on 2020-06-30" in ends["why"]
        left = datetime.fromisoformat(ends["at"]) - datetime.now(UTC)
        assert timedelta(minutes=30) < left <= timedelta(hours=1)
        page = session.page("/hub/home")
        assert "It will be stopped on" in page
        assert "it ended on 2020-06-30T00:00+02:00." in page
        assert "extend-server" not in page

        hub.restart()
        rounds(hub)
        assert servers(hub, "ada")[""]["state"]["ends"] == ends
        assert "ends" not in servers(hub, "ben")[""]["state"]
        assert hub.log_text().count("will be stopped at") == 1
        site.write_accounts()
        until(lambda: "ends" not in servers(hub, "ada")[""]["state"])

        hub.restart(config + GRACE.format(1))
        site.write_accounts(ada=ENDED)
        until(lambda: not servers(hub, "ada"))
        assert servers(hub, "ben")[""]["ready"]
        site.write_accounts()
        page = " ".join(hub.login("ada", PASSWORD).page("/hub/home").split())
        assert "Your default server was stopped on <time" in page
        assert "it ended on 2020-06-30T00:00+02:00; your files are untouched." in page
    actions = [json.loads(line) for line in (site.top / "audit.json").read_text().splitlines()]
    (stop,) = [one for one in actions if one["event"]["action"] == "stop"]
    assert (stop["user"]["name"], stop["user"]["id"], stop["event"]["reason"]) == ("ada", "62101", "account")
    assert stop["nbplatform"]["profile"] == "cpu"


def test_servers_of_other_spawners_have_it_too(own_site: Site) -> None:
    """Their state is not ours to write in: the hub remembers the time."""
    config = own_site.config + OTHER.replace("TOP", str(own_site.top)) + GRACE.format(1)
    with need(running_hub(config)) as hub:
        hub.api("POST", "users/ada")
        assert start_server(hub, "ada")[-1].get("ready")
        own_site.write_accounts(ada=ENDED)
        until(lambda: not servers(hub, "ada"))
        hub.wait_for_log(
            r"ada will be stopped at \S+: account 'ada': it ended[^\n]*\n(.*\n)*.*is stopped: account 'ada'"
        )
        assert "Traceback" not in hub.log_text()
