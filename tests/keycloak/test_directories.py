"""An account directory that is a service, under ``nbplatform-keycloak``: a real slapd killed and hung, HTTP gone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import yaml

from tests.components.hub import Hub, LoginRefused, start_server, stop_server
from tests.components.keycloak import Keycloak
from tests.components.need import need
from tests.components.slapd import Slapd, group, person, slapd
from tests.components.visitor import Page, Visitor
from tests.keycloak.own_realm import DUE, auth_state, due, eventually, is_in, logged
from tests.keycloak.site import ACCOUNTS, GROUPS, Site, keycloak_site, site_hub
from tests.ldap.site import settings_for, write_settings
from tests.unit.account_services import TOKEN, AccountService, service

BROKER = "edugain-oidc"
BROKERED = "a.smith"
LINKED = "anna"
LIMITS = DUE + "c.IdentityMixin.directory_timeout = 3\nc.KeycloakAuthenticator.request_timeout = 2\n"
ENTRIES = [
    *(person(name, ACCOUNTS[name][0], GROUPS["users"]) for name in ("alice", "bob")),
    group("users", GROUPS["users"]),
    group("atlas", GROUPS["atlas"], ["alice", LINKED]),
]
FAULTS: dict[str, Callable[[Slapd], AbstractContextManager[None]]] = {"killed": Slapd.killed, "hung": Slapd.hung}
DIRECTORY = "Reason: directory"


def accounts(spec: str) -> str:
    """Further lines of a hub's configuration: its account directory, and short limits."""
    return f'{LIMITS}c.IdentityMixin.accounts = "{spec}"\n'


def refused(site: Site, name: str, **more: Any) -> str:
    """What the page says to who is not let in."""
    with pytest.raises(LoginRefused) as info:
        site.log_in(name, **more)
    return Page(info.value.answer).text


@dataclass(frozen=True)
class Asking:
    """A hub that asks LDAP; ``alice`` is known to it by name, ``anna`` by a link to a home organisation.

    Attributes:
        site: its site.
        hub: the hub.
        server: whom it asks.
        visitors: the browsers of the two.
    """

    site: Site
    hub: Hub
    server: Slapd
    visitors: dict[str, Visitor]


@pytest.fixture(scope="module")
def asking(keycloak: Keycloak) -> Iterator[Asking]:
    """The hub; the link of ``anna`` is made of what the refusal tells her to send to the site."""
    with need(slapd(entries=ENTRIES)) as server, keycloak_site(keycloak) as site:
        spec = write_settings(server.folder, settings_for(server, timeout="1s"))
        with need(site_hub(site, more=accounts(spec))) as hub:
            found = re.search("subject '([^']+)'", refused(site, BROKERED, via=BROKER))
            assert found
            uid = ACCOUNTS[LINKED][0]
            link = {"linkProvider": BROKER, "linkSubject": found[1]}
            server.load([person(LINKED, uid, GROUPS["users"], **link)])
            visitors = {LINKED: site.log_in(BROKERED, via=BROKER), "alice": site.log_in("alice")}
            yield Asking(site, hub, server, visitors)


def without_traceback(hub: Hub, action: Callable[[], object]) -> str:
    """What the hub logs while something is done; never a traceback."""
    lines = logged(hub, action)
    assert "Traceback" not in lines
    return lines


@pytest.mark.parametrize("name", ["alice", LINKED])
def test_ldap_says_who_somebody_is(asking: Asking, name: str) -> None:
    """Numbers and groups of the directory, by name and by link."""
    identity = auth_state(asking.hub, name)["identity"]
    assert (identity["name"], identity["uid"]) == (name, ACCOUNTS[name][0])
    assert identity["groups"] == {"users": GROUPS["users"], "atlas": GROUPS["atlas"]}


@pytest.mark.parametrize("name", ["alice", LINKED])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_refresh_without_ldap_keeps_the_session(asking: Asking, fault: str, name: str) -> None:
    """An outage says nothing about anybody; what is stored stays."""
    before = auth_state(asking.hub, name)["identity"]

    def refresh() -> None:
        due(asking.hub)
        assert is_in(asking.visitors[name])

    with FAULTS[fault](asking.server):
        without_traceback(asking.hub, refresh)
    assert auth_state(asking.hub, name)["identity"] == before


@pytest.mark.parametrize("fault", FAULTS)
def test_known_people_log_in_without_ldap(asking: Asking, fault: str) -> None:
    """By name and by link, as who they were; the hub's log says so, and of when it knows that."""
    kept = {name: auth_state(asking.hub, name) for name in asking.visitors}

    def log_in() -> None:
        asking.site.log_in("alice")
        asking.site.log_in(BROKERED, via=BROKER)

    with FAULTS[fault](asking.server):
        lines = without_traceback(asking.hub, log_in)
    for name, before in kept.items():
        assert f"user={name} is known from " in lines
        after = auth_state(asking.hub, name)
        assert [after[key] for key in ("identity", "identity_as_of")] == [
            before[key] for key in ("identity", "identity_as_of")
        ]


@pytest.mark.parametrize("fault", FAULTS)
def test_new_people_wait_for_ldap(asking: Asking, fault: str) -> None:
    """Nothing is known of them: a page with the reason, no hub user, and a login once LDAP is back."""
    with FAULTS[fault](asking.server):
        without_traceback(asking.hub, lambda: _assert_waits(asking.site, "bob"))
        assert asking.hub.api("GET", "users/bob").status == 404
    eventually(lambda: _gets_in(asking.site, "bob"))
    asking.hub.api("DELETE", "users/bob")


def _assert_waits(site: Site, name: str) -> None:
    assert DIRECTORY in refused(site, name)


def _gets_in(site: Site, name: str) -> bool:
    try:
        site.log_in(name)
    except LoginRefused:
        return False
    return True


@pytest.mark.parametrize("name", ["alice", LINKED])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_starts_without_ldap(asking: Asking, fault: str, name: str) -> None:
    """With the person's own token: Keycloak says that the session lives, the hub remembers the account."""
    token = asking.hub.api("POST", f"users/{name}/tokens").json["token"]
    last: dict[str, Any] = {}
    try:
        with FAULTS[fault](asking.server):
            lines = without_traceback(asking.hub, lambda: last.update(start_server(asking.hub, name, token=token)[-1]))
        assert last.get("ready"), last
        assert f"user={name} is known from " in lines
    finally:
        stop_server(asking.hub, name)


class Accounts(AccountService):
    """Knows ``alice`` alone."""

    accounts: ClassVar[dict[str, dict[str, Any]]] = {
        "alice": {
            "name": "alice",
            "uid": ACCOUNTS["alice"][0],
            "gid": GROUPS["users"],
            "groups": {"users": GROUPS["users"], "atlas": GROUPS["atlas"]},
            "home": "/home/alice",
            "shell": "/bin/bash",
            "valid_until": None,
        }
    }


def test_known_people_log_in_while_the_http_service_is_gone(own_site: Site) -> None:
    """Asked by the hub over real HTTP; the grace lets in whom it told of, and nobody else."""
    secret = own_site.top / "service.token"
    secret.write_text(f"{TOKEN}\n")
    secret.chmod(0o600)
    settings = {"encryption": "none", "token_file": str(secret), "timeout": "1s", "cache": "0s"}
    spec = own_site.top / "service.yaml"
    with ExitStack() as there:
        one = there.enter_context(service(Accounts))
        spec.write_text(yaml.safe_dump({**settings, "url": one.url}))
        with need(site_hub(own_site, more=accounts(f"http:{spec}"))) as hub:
            alice = own_site.log_in("alice")
            assert one.asked
            before = auth_state(hub, "alice")
            there.close()
            due(hub)
            assert is_in(alice)
            lines = logged(hub, lambda: own_site.log_in("alice"))
            assert "user=alice is known from " in lines
            after = auth_state(hub, "alice")
            assert (after["identity"], after["identity_as_of"]) == (before["identity"], before["identity_as_of"])
            assert DIRECTORY in refused(own_site, "bob")
            assert "Traceback" not in hub.log_text()
