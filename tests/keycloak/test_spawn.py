"""What is looked at again before each spawn, with a real Keycloak: the session, the allow rules, the account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.components.hub import Hub, start_server, stop_server
from tests.components.keycloak import Keycloak
from tests.components.keycloak_gate import TOKEN
from tests.components.keycloak_realms import person, posix
from tests.components.need import need
from tests.components.visitor import REDIRECTS, Page
from tests.keycloak.own_realm import (
    DUE,
    SHORT_MEMORY,
    due,
    eventually,
    is_in,
    logged,
    open_server,
    own_realm_site,
    server_status,
)
from tests.keycloak.refused import refused_login
from tests.keycloak.site import Site, site_hub
from tests.keycloak.tokens import MISSING, id_token_changed

AGE = """
from datetime import datetime, timedelta
from nbplatform_spawners.auth.auth_state import change_auth_state

class Age(BaseHandler):
    async def get(self, name, seconds):
        def older(text):
            return (datetime.fromisoformat(text) - timedelta(seconds=int(seconds))).isoformat()

        def change(state):
            part = {**state["keycloak"], "refreshed_at": older(state["keycloak"]["refreshed_at"])}
            return {**state, "identity_as_of": older(state["identity_as_of"]), "keycloak": part}

        await change_auth_state(self.find_user(name), change)

c.JupyterHub.extra_handlers.append(("/age/(.*)/(.*)", Age))
"""
"""For a hub's configuration: see :func:`age`."""
SETTINGS = DUE + AGE + SHORT_MEMORY + "c.KeycloakAuthenticator.request_timeout = 1\n"
TEN_MINUTES = "c.IdentityMixin.directory_grace = 600\nc.KeycloakAuthenticator.outage_grace = 600\n"
ROLES = """
c.Authenticator.allow_all = False
c.KeycloakAuthenticator.allowed_roles = {"CLIENT_ID:WHICH"}
"""
LOG_IN_AGAIN = "your login session has ended; log in again"
USER = "bob"


@pytest.fixture(scope="module")
def site(keycloak: Keycloak) -> Iterator[Site]:
    """A realm that tells the hub of no logout, so that the refresh before the spawn finds out."""
    with own_realm_site(keycloak) as one:
        one.admin.set_client(one.client_id, one.realm, attributes={"backchannel.logout.url": ""})
        yield one


@pytest.fixture(scope="module")
def shared_hub(site: Site) -> Iterator[Hub]:
    """The module's hub."""
    with need(site_hub(site, more=SETTINGS)) as hub:
        yield hub


@pytest.fixture
def api_token(hub: Hub, site: Site) -> Iterator[str]:
    """An API token of ``bob``'s own, who has logged in; his account is put back."""
    site.log_in(USER)
    yield hub.api("POST", f"users/{USER}/tokens").json["token"]
    found = site.admin.ask("GET", f"/{site.realm}/users", username=USER, exact="true")
    for user in found:
        site.admin.ask("DELETE", f"/{site.realm}/users/{user['id']}")
    site.admin.make_user(person(USER, attributes=posix(62102), realm=site.realm), site.realm)
    stop_server(hub, USER)
    hub.api("DELETE", f"users/{USER}")


def spawned(hub: Hub, token: str) -> str:
    """Start ``bob``'s server with an API token; returns why not, empty when it is ready."""
    last = start_server(hub, USER, token=token)[-1]
    return "" if last.get("ready") else str(last["message"])


def age(hub: Hub, name: str, seconds: int) -> None:
    """Have what directory and Keycloak said of a user last be said that much earlier."""
    assert hub.visit().get(f"/hub/age/{name}/{seconds}").status == 200


@pytest.fixture
def ten_minutes(hub: Hub, site: Site) -> Iterator[None]:
    """The hub bridges outages of directory and Keycloak for ten minutes."""
    hub.restart(site.config + site.placed(SETTINGS + TEN_MINUTES))
    yield
    site.put_back()
    hub.restart(site.config + site.placed(SETTINGS))


def forged(site: Site, **changes: Any) -> Callable[[Any], Any]:
    """An id_token with other claims, signed with the realm's own key."""
    return id_token_changed(site.keycloak.site_keys.signing, **changes)


ENDED: dict[str, tuple[Callable[[Site], object], str]] = {
    "session ended": (lambda site: site.admin.logout(USER, site.realm), LOG_IN_AGAIN),
    "user disabled": (lambda site: site.admin.set_user(USER, site.realm, enabled=False), LOG_IN_AGAIN),
    "uid of another": (lambda site: site.gate.change(TOKEN, forged(site, uid_number=62101)), LOG_IN_AGAIN),
    "no uid any more": (lambda site: site.gate.change(TOKEN, forged(site, uid_number=MISSING)), LOG_IN_AGAIN),
    "account ended": (lambda site: site.write_accounts({USER: 'valid_until: "2021-01-01T00:00:00Z"'}), LOG_IN_AGAIN),
    "account removed": (lambda site: site.write_accounts({USER: None}), LOG_IN_AGAIN),
}


@pytest.mark.parametrize("case", ENDED)
def test_who_is_ended_starts_no_server_over_the_api(hub: Hub, site: Site, api_token: str, case: str) -> None:
    """The API token still holds; nothing is started with it, and the reason is told."""
    end, says = ENDED[case]
    end(site)
    assert says in spawned(hub, api_token)
    assert hub.api("GET", f"users/{USER}").json["servers"] == {}
    assert hub.api("GET", "user", token=api_token).status == 200


@pytest.mark.usefixtures("api_token")
@pytest.mark.parametrize("path", ["/hub/spawn", f"/hub/spawn/{USER}"])
def test_who_is_ended_starts_no_server_with_the_form(hub: Hub, site: Site, path: str) -> None:
    """The session looked good when the form was shown."""
    bob = site.log_in(USER)
    assert bob.get(path).status == 200
    site.admin.logout(USER, site.realm)
    answer = bob.post(path, {"profile": "cpu"})
    assert answer.status == 403
    assert "login again" in Page(answer).text
    assert hub.api("GET", f"users/{USER}").json["servers"] == {}


def test_somebody_elses_start_needs_no_session_of_the_owner(hub: Hub, site: Site, api_token: str) -> None:
    """A service or an administrator; but the owner's account is looked at."""
    site.admin.logout(USER, site.realm)
    assert spawned(hub, hub.token) == ""
    stop_server(hub, USER)
    site.write_accounts({USER: 'valid_until: "2021-01-01T00:00:00Z"'})
    assert "it ended on 2021" in spawned(hub, hub.token)


def test_somebody_elses_start_is_refused_where_no_rule_lets_the_owner_in_any_more(hub: Hub, site: Site) -> None:
    """The owner's roles are looked at, not those of the administrator who starts the server."""
    site.admin.give_role("carol", "user", site.client_id, site.realm)
    try:
        hub.restart(site.config + site.placed(SETTINGS + ROLES.replace("WHICH", "user")))
        site.log_in("carol")
        assert start_server(hub, "carol")[-1].get("ready")
        stop_server(hub, "carol")
        hub.restart(site.config + site.placed(SETTINGS + ROLES.replace("WHICH", "admin")))
        answer = hub.api("POST", "users/carol/server", json={})
        assert answer.status == 403
        assert "you may not use this service" in answer.json["message"]
        assert hub.api("GET", "users/carol").json["servers"] == {}
    finally:
        hub.restart(site.config + site.placed(SETTINGS))


def test_a_new_login_makes_it_right(hub: Hub, site: Site, api_token: str) -> None:
    """Also for the API token, which was never taken away."""
    site.admin.logout(USER, site.realm)
    assert LOG_IN_AGAIN in spawned(hub, api_token)
    site.log_in(USER)
    assert spawned(hub, api_token) == ""


def test_a_user_of_whom_nothing_is_known_starts_no_server(hub: Hub, site: Site) -> None:
    """Made over the API, never logged in: neither by themselves, nor by others unless the directory knows them."""
    hub.api("POST", "users/zoe")
    token = hub.api("POST", "users/zoe/tokens").json["token"]
    assert LOG_IN_AGAIN in start_server(hub, "zoe", token=token)[-1]["message"]
    assert "this site has no such account" in start_server(hub, "zoe")[-1]["message"]


OUTAGES: dict[str, Callable[[Site], object]] = {
    "killed": lambda site: site.gate.down(),
    "hung": lambda site: site.gate.hold(TOKEN),
    "502": lambda site: site.gate.answer(TOKEN, 502),
}


@pytest.mark.parametrize("break_it", OUTAGES.values(), ids=OUTAGES)
def test_a_server_starts_while_keycloak_cannot_be_asked(
    hub: Hub, site: Site, api_token: str, break_it: Callable[[Site], object]
) -> None:
    """The session was confirmed a moment ago; see ``outage_grace``."""
    break_it(site)
    due(hub)
    assert spawned(hub, api_token) == ""


def test_no_server_starts_after_the_grace(hub: Hub, site: Site, api_token: str) -> None:
    """Nobody can say any more whether the session has ended."""
    try:
        hub.restart(site.config + site.placed(SETTINGS) + "c.KeycloakAuthenticator.outage_grace = 0\n")
        site.gate.down()
        assert LOG_IN_AGAIN in spawned(hub, api_token)
    finally:
        site.gate.clear()
        hub.restart(site.config + site.placed(SETTINGS))


def test_a_server_starts_while_the_directory_cannot_be_asked(hub: Hub, site: Site, api_token: str) -> None:
    """What it said a moment ago holds for ``directory_grace``; after that nothing is started."""
    accounts = site.top / "accounts.yaml"
    accounts.rename(accounts.with_suffix(".away"))
    assert spawned(hub, api_token) == ""
    stop_server(hub, USER)
    try:
        hub_config = site.config + site.placed(SETTINGS) + "c.IdentityMixin.directory_grace = 0\n"
        accounts.with_suffix(".away").rename(accounts)
        hub.restart(hub_config)
        accounts.unlink()
        assert "cannot be looked up now" in spawned(hub, api_token)
    finally:
        site.write_accounts()
        hub.restart(site.config + site.placed(SETTINGS))


@pytest.mark.usefixtures("ten_minutes")
def test_what_the_directory_said_holds_for_its_grace_and_no_longer(hub: Hub, site: Site, api_token: str) -> None:
    """For logins and spawns; what was said with the directory away does not begin it anew."""
    (site.top / "accounts.yaml").unlink()
    age(hub, USER, 300)
    site.log_in(USER)
    assert spawned(hub, api_token) == ""
    stop_server(hub, USER)
    age(hub, USER, 301)
    refused_login(hub, site, USER, "directory")
    assert "cannot be looked up now" in spawned(hub, api_token)
    assert "cannot be looked up now" in spawned(hub, hub.token)
    site.write_accounts()
    assert spawned(hub, api_token) == ""


@pytest.mark.usefixtures("ten_minutes")
def test_what_keycloak_said_holds_for_its_grace_and_no_longer(hub: Hub, site: Site, api_token: str) -> None:
    """For sessions and spawns; a question without an answer does not begin it anew."""
    bob = site.log_in(USER)
    site.gate.down()
    age(hub, USER, 300)
    due(hub)
    assert is_in(bob)
    assert spawned(hub, api_token) == ""
    stop_server(hub, USER)
    age(hub, USER, 301)
    due(hub)
    assert not is_in(bob)
    assert LOG_IN_AGAIN in spawned(hub, api_token)
    site.gate.up()
    due(hub)
    assert is_in(bob)
    assert spawned(hub, api_token) == ""


def test_a_running_server_is_not_cut_because_a_session_ended(hub: Hub, site: Site, api_token: str) -> None:
    """Neither by the refresh that finds out, nor by the requests that are refused then."""
    assert spawned(hub, api_token) == ""
    site.admin.logout(USER, site.realm)
    due(hub)
    log = logged(hub, lambda: hub.api("GET", "user", token=api_token))
    assert f"user={USER} must log in again" in log
    assert hub.api("GET", f"users/{USER}").json["servers"][""]["ready"]


@pytest.mark.usefixtures("api_token")
def test_a_server_s_pages_go_on_when_a_session_ended_and_stop_when_the_person_is_refused(hub: Hub, site: Site) -> None:
    """Nobody loses what they type because a session was too old; who is disabled types no more."""
    bob = site.log_in(USER)
    open_server(hub, site, bob, USER)
    site.admin.logout(USER, site.realm)
    due(hub)
    assert not is_in(bob)
    assert server_status(bob, USER) == 200
    bob.log_in(USER)
    site.admin.set_user(USER, site.realm, enabled=False)
    due(hub)
    assert not is_in(bob)
    eventually(lambda: server_status(bob, USER) in REDIRECTS)
    assert hub.api("GET", f"users/{USER}").json["servers"][""]["ready"]
