"""A real hub whose accounts are in a real LDAP server: identities, ends, and an outage in the middle of the work."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.components.hub import Answer, Hub, LoginRefused, run_cell, running_hub, start_server, stop_server
from tests.components.need import need
from tests.components.slapd import Slapd, group, person, slapd
from tests.hub.conftest import temporary_site
from tests.hub.site import ACCOUNTS, GROUPS, PASSWORD

from .site import accounts, settings_for, write_settings

AUTHENTICATOR = """
from jupyterhub.auth import DummyAuthenticator
from nbplatform_spawners.auth.mixin import IdentityMixin

class SiteAuthenticator(IdentityMixin, DummyAuthenticator):
    '''One password for everybody: who somebody is, is not the question here.'''

c.JupyterHub.authenticator_class = SiteAuthenticator
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allow_all = True
c.IdentityMixin.accounts = "{spec}"
c.IdentityMixin.directory_timeout = 5
"""
UNAVAILABLE = "the accounts of this site cannot be looked up now; try again in a few minutes"


@dataclass(frozen=True)
class World:
    """A hub and the directory that it asks."""

    hub: Hub
    server: Slapd


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The small site of the hub tests, its accounts in LDAP; nothing is cached."""
    people = [person(name, uid, GROUPS[primary]) for name, (uid, primary, _) in ACCOUNTS.items()]
    members = {name: [who for who, (_, _, groups) in ACCOUNTS.items() if name in groups] for name in GROUPS}
    entries = [
        *people,
        *(group(name, gid, members[name]) for name, gid in GROUPS.items()),
        person("old", 62110, GROUPS["users"], shadowExpire="18262"),
        person("shut", 62111, GROUPS["users"], nsAccountLock="TRUE"),
    ]
    with need(slapd(entries=entries)) as server, temporary_site() as site:
        locked = accounts(locked={"nsAccountLock": "true"})
        spec = write_settings(server.folder, settings_for(server, timeout="1s", accounts=locked))
        config = site.config + AUTHENTICATOR.format(password=PASSWORD, spec=spec)
        with need(running_hub(config)) as hub:
            yield World(hub, server)


def test_a_login_has_the_identity_of_the_directory(world: World) -> None:
    """It is what the server runs as, too: the spawner reads it from there."""
    world.hub.login("ada", PASSWORD)
    identity = world.hub.api("GET", "users/ada").json["auth_state"]["identity"]
    uid, _, groups = ACCOUNTS["ada"]
    assert (identity["uid"], identity["gid"]) == (uid, GROUPS["users"])
    assert identity["groups"] == {"users": GROUPS["users"], **{name: GROUPS[name] for name in groups}}
    assert start_server(world.hub, "ada")[-1].get("ready"), world.hub.log_text()
    stop_server(world.hub, "ada")


REFUSED = {
    "unknown": ("nobody", "account 'nobody': this site has no such account"),
    "ended": ("old", "account 'old': it ended on 2020-01-01T00:00+00:00"),
    "locked": ("shut", "account 'shut': it is locked in the directory"),
}


def said(page: Answer) -> str:
    """Return what a page says, its sentences beginning as they do in the log."""
    return html.unescape(page.text).replace("Account '", "account '").replace("The accounts", "the accounts")


@pytest.mark.parametrize(("name", "why"), REFUSED.values(), ids=REFUSED)
def test_who_may_not_come_in_is_told_why(world: World, name: str, why: str) -> None:
    """In one sentence, on the page of the login."""
    with pytest.raises(LoginRefused) as caught:
        world.hub.login(name, PASSWORD)
    assert caught.value.answer.status == 403
    assert why in said(caught.value.answer)


@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_an_outage_refuses_logins_and_starts_and_leaves_what_runs(world: World, fault: str) -> None:
    """With the reason; the pages of those who are in go on, and all is well once the directory is back."""
    hub, server = world.hub, world.server
    ada = hub.login("ada", PASSWORD)
    assert start_server(hub, "ada")[-1].get("ready")
    hub.login("ben", PASSWORD)
    try:
        with server.hung() if fault == "hung" else server.killed():
            with pytest.raises(LoginRefused) as caught:
                hub.login("eve", PASSWORD)
            assert caught.value.answer.status == 503
            assert UNAVAILABLE in said(caught.value.answer)
            refused = hub.api("POST", "users/ben/server")
            assert refused.status == 403
            assert UNAVAILABLE in refused.text
            assert ada.get("/hub/home").status == 200
            assert run_cell(hub, "ada", "print(6 * 7)").strip() == "42"
        until_back(hub)
    finally:
        for user in ("ada", "ben"):
            stop_server(hub, user)


def until_back(hub: Hub) -> None:
    """Log in anew; a connection that hung gives up some time after the server goes on."""
    for attempt in range(20):
        try:
            hub.login("eve", PASSWORD)
        except LoginRefused:
            assert attempt < 19
        else:
            return
