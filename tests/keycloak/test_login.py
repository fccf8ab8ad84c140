"""Logins through a real Keycloak at a real hub: who comes out, and what is kept of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.components.hub import Hub, HubDied, LoginRefused, run_cell, start_server
from tests.components.keycloak import Keycloak
from tests.components.keycloak_realms import CLIENT_SECRET, person, posix
from tests.components.need import need
from tests.components.visitor import Page
from tests.keycloak.site import Site, keycloak_site, site_hub

ALICE = {
    "name": "alice",
    "uid": 62101,
    "gid": 61000,
    "groups": {"users": 61000, "atlas": 61100},
    "primary_group": "users",
    "shell": "/bin/bash",
    "provider": None,
    "unnamed_gids": [],
}
WHO = "import os, json; print(json.dumps([os.getuid(), os.getgid(), sorted(os.getgroups()), dict(os.environ)]))"


def eventually(check: Callable[[], object], limit: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit
    while not check():
        assert time.monotonic() < deadline, "it never did"
        time.sleep(0.1)


def auth_state(hub: Hub, name: str) -> dict[str, Any]:
    """Return what the hub keeps of a user."""
    state: dict[str, Any] = hub.api("GET", f"users/{name}").json["auth_state"]
    return state


def refused(site: Site, username: str, **more: Any) -> Page:
    """Try to log in, and return the page that says no."""
    visitor = site.visitor()
    with pytest.raises(LoginRefused) as error:
        visitor.log_in(username, **more)
    page = error.value.answer
    assert page.status >= 400
    assert visitor.get("/hub/home", redirects=False).status == 302, "and yet there is a session"
    return Page(page)


def test_a_login_gives_the_account_of_claims_and_directory(hub: Hub, site: Site) -> None:
    """uid and gid from the token, groups from the directory; the token's own groups are not needed."""
    visitor = site.log_in("alice")
    assert "alice" in visitor.page("/hub/home")
    state = auth_state(hub, "alice")
    assert {key: value for key, value in state["identity"].items() if key != "home"} == ALICE
    assert state["identity_as_of"]
    assert state["valid_until"] == "2099-12-31T23:59:59+00:00"
    assert state["keycloak"]["claims"]["uid"] == 62101
    assert not [key for key in state["keycloak"] if "access" in key]


def test_a_server_runs_as_that_account_and_sees_no_token(hub: Hub, site: Site) -> None:
    """The identity arrives in the kernel; nothing of Keycloak's does, and nothing of it is in the log."""
    site.log_in("alice")
    state = auth_state(hub, "alice")["keycloak"]
    start_server(hub, "alice")
    uid, gid, groups, environment = json.loads(run_cell(hub, "alice", WHO))
    assert (uid, gid, {61000, 61100} <= {gid, *groups}) == (62101, 61000, True)
    told = (
        json.dumps(environment) + hub.log.read_text() + json.dumps(hub.api("GET", "users/alice?state").json["servers"])
    )
    for secret in (state["id_token"], state["refresh_token"], CLIENT_SECRET):
        assert secret not in told
        assert secret.rpartition(".")[2] not in told
    assert not re.findall(r"(?:code|state)=(?!\[secret\]).{8}", hub.log.read_text())


def test_what_is_kept_is_encrypted(hub: Hub, site: Site) -> None:
    """The hub's database holds no readable token."""
    site.log_in("alice")
    state = auth_state(hub, "alice")["keycloak"]
    kept = b"".join(path.read_bytes() for path in hub.folder.glob("jupyterhub.sqlite*"))
    assert b"alice" in kept
    assert state["refresh_token"].encode() not in kept
    assert state["sub"].encode() not in kept


def test_a_page_that_was_wanted_is_reached_after_the_login(hub: Hub, site: Site) -> None:
    """``next`` survives the way through Keycloak."""
    assert site.visitor().log_in("bob", next_path="/hub/token").url == f"{site.url}/hub/token"


def test_two_tabs_do_not_disturb_each_other(hub: Hub, site: Site) -> None:
    """Each login that is begun has a cookie of its own."""
    visitor = site.visitor()
    first = visitor.begin("/hub/token")
    second = visitor.begin("/hub/home")
    assert visitor.fill_in(first, "alice", "alice-pw").url == f"{site.url}/hub/token"
    assert visitor.go("GET", "/hub/oauth_login?next=/hub/token").url == f"{site.url}/hub/token"
    assert second.status == 200


@pytest.fixture
def crowd(own_site: Site) -> Iterator[dict[str, int]]:
    """Fifty people of one test's own; their names and uids."""
    uids = {f"crowd{number:02}-{own_site.port}": 62300 + number for number in range(50)}
    users = [person(name, attributes=posix(uid), realm=own_site.realm) for name, uid in uids.items()]
    own_site.write_accounts(more="\n".join(f"  {name}: {{uid: {uid}, group: users}}" for name, uid in uids.items()))
    try:
        own_site.admin.ask("POST", f"/{own_site.realm}/partialImport", {"ifResourceExists": "FAIL", "users": users})
        yield uids
    finally:
        for user in own_site.admin.ask("GET", f"/{own_site.realm}/users", username="crowd", max=1000):
            if user["username"] in uids:
                own_site.admin.ask("DELETE", f"/{own_site.realm}/users/{user['id']}")


def test_fifty_people_log_in_at_once(own_site: Site, crowd: dict[str, int]) -> None:
    """All the way through Keycloak's pages and the hub; each comes out as themselves."""
    visitors = {name: own_site.visitor() for name in crowd}
    with need(site_hub(own_site, more="c.KeycloakAuthenticator.request_timeout = 60")) as hub:
        with ThreadPoolExecutor(len(crowd)) as pool:
            assert {page.status for page in pool.map(lambda name: visitors[name].log_in(name), crowd)} == {200}
        for name, visitor in visitors.items():
            assert name in Page(visitor.get("/hub/home")).text
        assert {name: auth_state(hub, name)["identity"]["uid"] for name in crowd} == crowd
        assert {name: auth_state(hub, name)["keycloak"]["claims"]["uid"] for name in crowd} == crowd


@pytest.mark.parametrize(
    ("username", "reason", "sentence"),
    [("nouid", "claims", "the claim uid_number is missing"), ("lapsed", "account", "it ended on 2020")],
)
def test_an_account_that_lacks_something_is_refused(
    hub: Hub, site: Site, username: str, reason: str, sentence: str
) -> None:
    """With a page that says why, a label, and one line in the log."""
    page = refused(site, username)
    assert sentence.lower() in page.text.lower()
    assert f"Reason: {reason}" in page.text
    assert f"reason={reason}: " in hub.log.read_text()


def test_an_account_that_the_directory_does_not_know_is_refused(hub: Hub, site: Site) -> None:
    """A signed uid alone is no account of this site."""
    site.write_accounts({"bob": None})
    assert "no such account" in refused(site, "bob").text


def test_a_uid_on_which_both_sources_differ_is_refused(hub: Hub, site: Site) -> None:
    """The wrong one would be another person's files."""
    with site.admin.user("dora", attributes={"uid_number": 62199, "gid_number": 61000}):
        site.write_accounts(more="  dora: {uid: 62198, group: users}")
        page = refused(site, "dora")
    assert "Reason: other-person" in page.text
    assert "62199" in page.text
    assert "62198" in page.text


def test_a_name_that_another_person_gets_is_not_the_old_account(hub: Hub, site: Site) -> None:
    """Keycloak gives a deleted user's name to whoever comes; ``sub`` tells them apart."""
    site.write_accounts(more="  nina: {uid: 62160, group: users}")
    attributes = {"uid_number": 62160, "gid_number": 61000}
    with site.admin.user("nina", attributes=attributes):
        site.log_in("nina")
    with site.admin.user("nina", attributes=attributes):
        assert "Reason: other-person" in refused(site, "nina").text
    hub.api("DELETE", "users/nina")
    with site.admin.user("nina", attributes=attributes):
        site.log_in("nina")


def test_known_people_log_in_while_the_directory_is_away(hub: Hub, site: Site) -> None:
    """With what it said last, for a bounded time; new ones are refused with the reason."""
    site.log_in("alice")
    hub.api("DELETE", "users/carol")
    before = auth_state(hub, "alice")
    (site.top / "accounts.yaml").unlink()
    site.log_in("alice")
    assert auth_state(hub, "alice")["identity"] == before["identity"]
    assert auth_state(hub, "alice")["identity_as_of"] == before["identity_as_of"]
    assert "Reason: directory" in refused(site, "carol").text
    site.write_accounts()
    eventually(lambda: logs_in(site, "carol"))


def logs_in(site: Site, name: str) -> bool:
    """Tell whether somebody can log in now."""
    try:
        site.log_in(name)
    except LoginRefused:
        return False
    return True


RULES_OF_ACCESS = """
c.Authenticator.allow_all = False
c.KeycloakAuthenticator.allowed_roles = {"CLIENT_ID:user"}
c.KeycloakAuthenticator.admin_roles = {"jupyter-operators"}
c.Authenticator.manage_groups = True
c.KeycloakAuthenticator.hub_groups_from = "roles"
c.Authenticator.blocked_users = {"walt"}
c.IdentityMixin.directory_grace = 0
c.IdentityMixin.support = "help@site.example"
"""


@pytest.fixture(scope="module")
def strict(keycloak: Keycloak) -> Iterator[tuple[Site, Hub]]:
    """A hub that lets in by roles only."""
    with keycloak_site(keycloak) as site, need(site_hub(site, more=RULES_OF_ACCESS)) as hub:
        yield site, hub


def test_nobody_is_let_in_without_an_allow_rule(strict: tuple[Site, Hub]) -> None:
    """An account is not enough; the page says whom to ask."""
    site, _ = strict
    page = refused(site, "bob")
    assert "Reason: not-allowed" in page.text
    assert "help@site.example" in page.text


def test_roles_let_in_become_groups_and_make_administrators(strict: tuple[Site, Hub]) -> None:
    """Realm roles by name, client roles with their client; a lost role is a lost right."""
    site, hub = strict
    with site.admin.user("olga", attributes={"uid_number": 62170, "gid_number": 61000}):
        site.write_accounts(more="  olga: {uid: 62170, group: users}")
        site.admin.give_role("olga", "jupyter-operators")
        eventually(lambda: logs_in(site, "olga"))
        model = hub.api("GET", "users/olga").json
        assert model["admin"]
        assert "jupyter-operators" in model["groups"]
    site.write_accounts()


def test_a_blocked_user_is_refused(strict: tuple[Site, Hub]) -> None:
    """Although they have the role that lets another one in."""
    site, _ = strict
    with site.admin.user("vera", attributes=posix(62171)), site.admin.user("walt", attributes=posix(62172)):
        site.write_accounts(more="  vera: {uid: 62171, group: users}\n  walt: {uid: 62172, group: users}")
        for name in ("vera", "walt"):
            site.admin.give_role(name, "user", site.client_id)
        eventually(lambda: logs_in(site, "vera"))
        assert "Reason: not-allowed" in refused(site, "walt").text
    site.write_accounts()


CLAIMS_ONLY = """
c.IdentityMixin.accounts = ""
c.KeycloakAuthenticator.identity_sources = {"groups": ["claims"]}
c.KeycloakAuthenticator.group_gids = {"atlas": 61100}
"""


def test_a_site_without_a_directory_lives_by_what_tokens_say(own_site: Site) -> None:
    """Groups that come by name need a gid of the site's; the others are numbers without a name."""
    with need(site_hub(own_site, more=CLAIMS_ONLY)) as hub:
        own_site.log_in("carol")
        identity = auth_state(hub, "carol")["identity"]
        assert (identity["uid"], identity["gid"], identity["home"]) == (62103, 61000, "/home/carol")
        assert identity["groups"] == {"atlas": 61100}
        assert identity["unnamed_gids"] == [61101]
        assert "Reason: account" in refused(own_site, "lapsed").text
        page = refused(own_site, "a.smith", via="edugain-saml")
        assert "Reason: not-linked" in page.text


def test_a_hub_starts_without_keycloak_and_logs_in_once_it_is_back(own_site: Site) -> None:
    """Nobody needs to restart it; meanwhile the page says what is wrong."""
    own_site.gate.down()
    with need(site_hub(own_site)) as hub:
        page = own_site.visitor().begin()
        assert page.status == 503
        assert "Reason: unavailable" in Page(page).text
        assert hub.log.read_text().count("Keycloak cannot be asked; nobody can log in") == 1
        own_site.gate.up()
        eventually(lambda: own_site.visitor().begin().status == 200)
        own_site.log_in("alice")


def test_keycloak_is_looked_for_until_it_answers_though_nobody_visits(own_site: Site) -> None:
    """The hub asks again by itself."""
    own_site.gate.down()
    with need(site_hub(own_site)) as hub:
        hub.wait_for_log("nobody can log in until it is back")
        answers = f"Keycloak at {re.escape(own_site.issuer)} answers"
        assert not re.search(answers, hub.log_text())
        own_site.gate.up()
        hub.wait_for_log(answers)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('c.KeycloakAuthenticator.issuer = ""', "issuer is ''; it must be a realm's address"),
        ('c.KeycloakAuthenticator.issuer = "login.example.org"', "it must be a realm's address"),
        ('c.OAuthenticator.client_id = ""', "client_id is not set"),
        ('c.KeycloakAuthenticator.subject_template = "{email}"', "it has {subject}"),
        ('c.KeycloakAuthenticator.identity_sources = {"uid": ["ldap"]}', "unknown source 'ldap'"),
        ('c.KeycloakAuthenticator.identity_sources = {"uids": ["claims"]}', "did you mean 'uid'"),
        ('c.KeycloakAuthenticator.group_gids = {"atlas": "x"}', "a gid is a whole number"),
        ('c.KeycloakAuthenticator.guest_pool = "TOP/none.yaml"', "cannot be read"),
        ("c.Authenticator.enable_auth_state = False", "enable_auth_state is off"),
    ],
)
def test_a_configuration_that_cannot_work_stops_the_start(site: Site, more: str, says: str) -> None:
    """In one sentence, without a traceback."""
    with pytest.raises(HubDied) as died, need(site_hub(site, more=more)):
        pass
    assert says in str(died.value)
    assert "Traceback" not in str(died.value)


def test_without_a_key_for_what_is_kept_the_start_is_refused(site: Site) -> None:
    """And it is said how to make one."""
    with (
        pytest.raises(HubDied, match="openssl rand -hex 32"),
        need(site_hub(site, extra_env={"JUPYTERHUB_CRYPT_KEY": ""})),
    ):
        pass
