"""``nbplatform doctor keycloak`` on a real realm, with each thing wrong in turn."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbplatform_spawners.auth import doctor_admin, doctor_wire
from nbplatform_spawners.auth.doctor_command import ADMIN_SECRET, USER_PASSWORD
from nbplatform_spawners.cli import main
from tests.components.keycloak import FEDERATION, Keycloak
from tests.components.keycloak_admin import Admin, AdminRefused
from tests.components.keycloak_gate import CERTS, TOKEN
from tests.components.keycloak_realms import CLIENT_SECRET, ENVIRONMENT, RealmKey, filled, site_realm
from tests.keycloak.site import Site, keycloak_site

REALM = "doctor"
EXPECTED_WARNING = "tls"
"""What is never right here: the realm's address is plain HTTP on the loopback address."""


@pytest.fixture(scope="module")
def realm(keycloak: Keycloak) -> Iterator[Admin]:
    """The administrator of a realm whose settings tests may change."""
    admin = Admin(keycloak)
    federation = f"{keycloak.url}/realms/{FEDERATION}"
    admin.reset_realm(filled(site_realm(REALM, keycloak.site_keys, federation), ENVIRONMENT))
    yield admin
    admin.remove_realm(REALM)
    admin.close()


@dataclass
class Doctor:
    """Runs the doctor on one site.

    Attributes:
        site: whose realm and client it examines.
        path: of the hub's configuration.
        capsys: takes what it prints.
        last: everything that it printed the last time.
    """

    site: Site
    path: Path
    capsys: pytest.CaptureFixture[str]
    last: str = ""

    def configure(self, more: str = "", config: str = "") -> None:
        """Write the hub's configuration."""
        self.path.write_text((config or self.site.config) + self.site.placed(more))

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return exit status and report; secrets must not be in what is printed."""
        status = main(["doctor", "keycloak", "--config", str(self.path), "--format", "json", *arguments])
        captured = self.capsys.readouterr()
        self.last = captured.out + captured.err
        secrets = (CLIENT_SECRET, self.site.keycloak.password, "alice-pw", "eyJ")  # eyJ begins every token
        assert not [secret for secret in secrets if secret in self.last]
        return status, json.loads(captured.out) if captured.out else {}

    def levels(self, *arguments: str) -> tuple[int, dict[str, str]]:
        """Return exit status, and check to level of all that is not well."""
        status, report = self.run(*arguments)
        found = {
            check["check"]: check["level"] for check in report["checks"] if check["level"] not in ("ok", "skipped")
        }
        assert found.pop(EXPECTED_WARNING, None) in (None, "warning")
        return status, found


@pytest.fixture
def doctor(
    keycloak: Keycloak,
    realm: Admin,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Doctor]:
    """The doctor, with a client and a gate of its own and an administrator's password in the environment."""
    monkeypatch.setenv(ADMIN_SECRET, keycloak.password)
    monkeypatch.setenv(USER_PASSWORD, "alice-pw")
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "00" * 32)
    with keycloak_site(keycloak, realm=REALM) as site:
        one = Doctor(site, tmp_path / "jupyterhub_config.py", capsys)
        one.configure()
        yield one


ADMIN = ("--admin-user", "admin")


def client(**settings: Any) -> Callable[[Doctor], None]:
    """Return what changes settings of the client."""
    return lambda doctor: doctor.site.admin.set_client(doctor.site.client_id, REALM, **settings)


def config(text: str) -> Callable[[Doctor], None]:
    """Return what adds lines to the hub's configuration."""
    return lambda doctor: doctor.configure(text)


def gate(what: str, pattern: str, *arguments: Any) -> Callable[[Doctor], None]:
    """Return what breaks the way to Keycloak."""
    return lambda doctor: getattr(doctor.site.gate, what)(pattern, *arguments)


WITHOUT_HELP = {
    "a good realm": (lambda doctor: None, {}),
    "Keycloak is down": (lambda doctor: doctor.site.gate.down(), {"discovery": "FAILED"}),
    "Keycloak hangs": (
        lambda doctor: (
            doctor.configure("c.KeycloakAuthenticator.request_timeout = 0.5\n"),
            doctor.site.gate.hold("GET"),
        ),
        {"discovery": "FAILED"},
    ),
    "the keys cannot be had": (gate("answer", CERTS, 503), {"keys": "FAILED"}),
    "no key signs": (gate("change", CERTS, lambda answer: {"keys": []}), {"keys": "FAILED"}),
    "the token endpoint is broken": (
        gate("answer", TOKEN, 502),
        {"client secret": "FAILED", "flows": "FAILED"},
    ),
    "no such realm": (config('c.KeycloakAuthenticator.issuer = "ISSUER-not"\n'), {"discovery": "FAILED"}),
    "another issuer": (config('c.KeycloakAuthenticator.issuer = "ISSUER/"\n'), {"discovery": "FAILED"}),
    "a wrong secret": (config('c.OAuthenticator.client_secret = "wrong"\n'), {"client secret": "FAILED"}),
    "no such client": (
        config('c.OAuthenticator.client_id = "nobody"\n'),
        {"client secret": "FAILED", "login page": "FAILED", "logout": "FAILED"},
    ),
    "the client is switched off": (client(enabled=False), {"client secret": "FAILED", "login page": "FAILED"}),
    "the client is public": (client(publicClient=True), {"client secret": "FAILED"}),
    "the standard flow is off": (client(standardFlowEnabled=False), {"login page": "FAILED"}),
    "the implicit flow is on": (client(implicitFlowEnabled=True), {"flows": "FAILED"}),
    "direct access grants are on": (client(directAccessGrantsEnabled=True), {"flows": "warning"}),
    "PKCE is not enforced": (client(attributes={"pkce.code.challenge.method": ""}), {"pkce": "warning"}),
    "PKCE is of the plain kind": (
        client(attributes={"pkce.code.challenge.method": "plain"}),
        {"login page": "FAILED"},
    ),
    "the callback is not registered": (
        client(redirectUris=["https://old.example.org/hub/oauth_callback"]),
        {"login page": "FAILED"},
    ),
    "any address is registered": (client(redirectUris=["*"]), {"redirect addresses": "FAILED"}),
    "no way back from a logout": (
        client(attributes={"post.logout.redirect.uris": "-"}),
        {"logout": "FAILED"},
    ),
    "a scope that the realm has not": (
        config('c.KeycloakAuthenticator.scope = ["openid", "posix"]\n'),
        {"login page": "FAILED"},
    ),
    "settings that the hub does not start with": (
        config('c.KeycloakAuthenticator.subject_template = "{home_organisation}"\n'),
        {"settings": "FAILED"},
    ),
    "nobody may log in": (config("c.Authenticator.allow_all = False\n"), {"settings": "warning"}),
    "bad accounts": (
        lambda doctor: (doctor.site.top / "accounts.yaml").write_text("accounts: {alice: {uid: one}}\n"),
        {"directory": "FAILED"},
    ),
    "no accounts": (lambda doctor: (doctor.site.top / "accounts.yaml").unlink(), {"directory": "FAILED"}),
}


@pytest.mark.parametrize(("break_it", "expected"), WITHOUT_HELP.values(), ids=WITHOUT_HELP)
def test_what_is_wrong_is_found_without_an_administrator(
    doctor: Doctor, break_it: Callable[[Doctor], object], expected: dict[str, str]
) -> None:
    """One thing is wrong, and nothing else is called so; exit 1 exactly when something failed."""
    break_it(doctor)
    status, found = doctor.levels()
    assert found == expected
    assert status == ("FAILED" in expected.values())


ADVICE = {
    "another address": (client(redirectUris=["https://old.example.org/hub/oauth_callback"]), "'Valid redirect URIs'"),
    "PKCE of another kind": (client(attributes={"pkce.code.challenge.method": "plain"}), "'PKCE Method' to S256"),
}


@pytest.mark.parametrize(("break_it", "words"), ADVICE.values(), ids=ADVICE)
def test_what_keycloak_says_in_place_of_a_login_page_becomes_advice(
    doctor: Doctor, break_it: Callable[[Doctor], object], words: str
) -> None:
    """It shows an error page, or sends the browser back with an error: either is understood."""
    break_it(doctor)
    _, report = doctor.run()
    (page,) = (check for check in report["checks"] if check["check"] == "login page")
    assert words in page["todo"], page


UID_MAPPER = "uid_number"
WITH_ADMIN: dict[str, tuple[Callable[[Doctor], object], dict[str, str]]] = {
    "a good realm": (lambda doctor: None, {}),
    "no back-channel logout": (
        client(attributes={"backchannel.logout.url": ""}),
        {"back-channel logout": "FAILED"},
    ),
    "a back channel to elsewhere": (
        client(attributes={"backchannel.logout.url": "https://hub.example.org/hub/logout"}),
        {"back-channel logout": "FAILED"},
    ),
    "front-channel logout": (client(frontchannelLogout=True), {"back-channel logout": "FAILED"}),
    "a whole host is registered": (
        lambda doctor: doctor.site.admin.set_client(
            doctor.site.client_id, REALM, redirectUris=[f"{doctor.site.url}/*"]
        ),
        {"registered addresses": "FAILED"},
    ),
    "only another address is registered": (
        client(redirectUris=["https://old.example.org/hub/oauth_callback"]),
        {"registered addresses": "FAILED", "login page": "FAILED"},
    ),
    "no such client": (
        config('c.OAuthenticator.client_id = "nobody"\n'),
        {"client secret": "FAILED", "login page": "FAILED", "logout": "FAILED", "client": "FAILED"},
    ),
}


@pytest.mark.parametrize(("break_it", "expected"), WITH_ADMIN.values(), ids=WITH_ADMIN)
def test_what_only_an_administrator_sees_is_found(
    doctor: Doctor, break_it: Callable[[Doctor], object], expected: dict[str, str]
) -> None:
    """Of the client: what Keycloak would do with a logout, and which addresses stand there."""
    break_it(doctor)
    status, found = doctor.levels(*ADMIN)
    assert found == expected
    assert status == ("FAILED" in expected.values())


REALM_SETTINGS = {
    "people may change their names": ({"editUsernameAllowed": True}, "user names"),
    "anybody may register": ({"registrationAllowed": True}, "user names"),
    "no TLS is asked for": ({"sslRequired": "none"}, "realm"),
}


@pytest.mark.parametrize(("settings", "check"), REALM_SETTINGS.values(), ids=REALM_SETTINGS)
def test_a_realm_that_cannot_be_trusted_is_found(
    doctor: Doctor, realm: Admin, settings: dict[str, Any], check: str
) -> None:
    """Where people choose their own names, a name proves nothing."""
    before = {key: realm.ask("GET", f"/{REALM}")[key] for key in settings}
    realm.set_realm(REALM, **settings)
    try:
        assert doctor.levels(*ADMIN) == (1, {check: "FAILED"})
    finally:
        realm.set_realm(REALM, **before)


def test_a_uid_that_people_may_write_themselves_is_found(doctor: Doctor, realm: Admin) -> None:
    """Whoever may edit the attribute behind the claim chooses whose files they get."""
    profile = realm.ask("GET", f"/{REALM}/users/profile")
    open_profile = json.loads(json.dumps(profile))
    (uid,) = (one for one in open_profile["attributes"] if one["name"] == "uid_number")
    uid["permissions"]["edit"] = ["admin", "user"]
    realm.ask("PUT", f"/{REALM}/users/profile", open_profile)
    try:
        assert doctor.levels(*ADMIN) == (1, {"user profile": "FAILED"})
    finally:
        realm.ask("PUT", f"/{REALM}/users/profile", profile)


MAPPERS = {
    "uid_number": ("claim uid", "FAILED", ""),
    "gid_number": ("claim gid", "warning", ""),
    "valid_until": ("claim valid_until", "warning", ""),
    "identity_provider": ("claim provider", "FAILED", ""),
    "identity_provider_subject": ("claim subject", "FAILED", ""),
    "gids": (
        "claim gids",
        "warning",
        'c.KeycloakAuthenticator.identity_sources = {"groups": ["claims"]}\n'
        'c.KeycloakAuthenticator.group_gids = {"atlas": 61100}\n',
    ),
    "groups": (
        "claim groups",
        "FAILED",
        'c.KeycloakAuthenticator.allowed_groups = {"atlas"}\nc.Authenticator.manage_groups = True\n',
    ),
    "realm roles": ("claim roles", "FAILED", 'c.KeycloakAuthenticator.allowed_roles = {"jupyter-operators"}\n'),
    "roles of this client": ("claim roles", "FAILED", 'c.KeycloakAuthenticator.allowed_roles = {"CLIENT_ID:user"}\n'),
    "home_organisation": (
        "claim home_organisation",
        "FAILED",
        'c.KeycloakAuthenticator.subject_template = "{home_organisation}!{subject}"\n',
    ),
}


@pytest.mark.parametrize(("name", "check", "level", "more"), [(key, *row) for key, row in MAPPERS.items()], ids=MAPPERS)
def test_a_missing_mapper_is_named_and_what_is_printed_mends_it(
    doctor: Doctor, realm: Admin, name: str, check: str, level: str, more: str
) -> None:
    """The JSON below the line, sent where it says, makes the claim."""
    doctor.configure(more)
    place = f"/{REALM}/clients/{realm.client_uuid(doctor.site.client_id, REALM)}/protocol-mappers/models"
    (mapper,) = (one for one in realm.ask("GET", place) if one["name"] == name)
    realm.ask("DELETE", f"{place}/{mapper['id']}")
    status, report = doctor.run(*ADMIN)
    (finding,) = (one for one in report["checks"] if one["check"] == check and one["level"] != "ok")
    assert (status, finding["level"]) == (level == "FAILED", level)
    realm.ask("POST", place, json.loads("\n".join(finding["lines"])))
    assert doctor.levels(*ADMIN) == (0, {})


def test_an_identity_provider_whose_subject_can_be_given_away_is_found(doctor: Doctor, realm: Admin) -> None:
    """Without its mapper the subject of an OpenID Connect login is the user name at the other end."""
    place = f"/{REALM}/identity-provider/instances/edugain-oidc/mappers"
    found = [one for one in realm.ask("GET", place) if one["config"].get("target") == "BROKER_USERNAME"]
    assert found
    for mapper in found:
        realm.ask("DELETE", f"{place}/{mapper['id']}")
    try:
        assert doctor.levels(*ADMIN) == (1, {"brokers": "FAILED"})
        assert "BROKER_USERNAME" in doctor.last
    finally:
        for mapper in found:
            realm.ask("POST", place, {key: value for key, value in mapper.items() if key != "id"})
    assert doctor.levels(*ADMIN) == (0, {})


def test_a_mapper_of_other_tokens_is_no_mapper_of_the_id_token(doctor: Doctor, realm: Admin) -> None:
    """The hub reads the ID token alone, for only that is signed for it."""
    place = f"/{REALM}/clients/{realm.client_uuid(doctor.site.client_id, REALM)}/protocol-mappers/models"
    (mapper,) = (one for one in realm.ask("GET", place) if one["name"] == "uid_number")
    realm.ask("PUT", f"{place}/{mapper['id']}", {**mapper, "config": {**mapper["config"], "id.token.claim": "false"}})
    assert doctor.levels(*ADMIN) == (1, {"claim uid": "FAILED"})
    assert "Add to ID token" in doctor.last


def test_clocks_that_differ_too_much_are_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is two minutes ahead: every token would be refused as expired."""
    ahead = SimpleNamespace(time=lambda: time.time() + 120, monotonic=time.monotonic)
    monkeypatch.setattr(doctor_admin, "time", ahead)
    monkeypatch.setattr(doctor_wire, "time", ahead)
    assert doctor.levels(*ADMIN) == (1, {"clock": "FAILED"})
    assert re.search(r"1[12]\d s behind; 30 s are allowed", doctor.last)


# Who may look


def test_a_wrong_password_of_the_administrator_is_said(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What anybody can see was looked at all the same."""
    monkeypatch.setenv(ADMIN_SECRET, "wrong")
    status, report = doctor.run(*ADMIN)
    assert status == 1
    assert [check["check"] for check in report["checks"] if check["level"] == "FAILED"] == ["admin"]


def test_somebody_without_rights_is_told_which_they_need(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of the realm is no administrator."""
    monkeypatch.setenv(ADMIN_SECRET, "alice-pw")
    assert doctor.levels("--admin-user", "alice", "--admin-realm", REALM) == (1, {"admin": "FAILED"})
    assert "view-clients" in doctor.last


def test_a_service_account_that_may_only_look_is_enough(
    doctor: Doctor, realm: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four rights to look and none to change: with them every check is made."""
    name, secret = "looks-only", "looks-only-secret"
    with suppress(AdminRefused):
        realm.remove_client(name, REALM)
    realm.ask(
        "POST",
        f"/{REALM}/clients",
        {"clientId": name, "secret": secret, "serviceAccountsEnabled": True, "standardFlowEnabled": False},
    )
    account = realm.ask("GET", f"/{REALM}/clients/{realm.client_uuid(name, REALM)}/service-account-user")
    for right in ("view-clients", "view-users", "view-realm", "view-identity-providers"):
        realm.give_role(account["username"], right, "realm-management", REALM)
    monkeypatch.setenv(ADMIN_SECRET, secret)
    status, report = doctor.run("--admin-client", name, "--user", "alice")
    assert secret not in doctor.last
    assert (status, report["login"]["identity"]["uid"]) == (0, 62101)
    assert not [check for check in report["checks"] if check["level"] in ("FAILED", "skipped")]
    realm.remove_client(name, REALM)


# The test user


def test_a_user_who_would_be_let_in_has_an_identity(doctor: Doctor) -> None:
    """By the hub's own steps: claims of the realm's own mappers, the directory, both merged."""
    status, report = doctor.run(*ADMIN, "--user", "alice")
    login = report["login"]
    assert (status, login["refused"]) == (0, None)
    assert login["claims"]["uid"] == 62101
    assert login["identity"] == {
        "name": "alice",
        "uid": 62101,
        "gid": 61000,
        "groups": {"atlas": 61100, "users": 61000},
        "primary_group": "users",
        "home": "/home/alice",
        "shell": "/bin/bash",
        "provider": None,
        "unnamed_gids": [],
        "valid_until": "2099-12-31T23:59:59+00:00",
        "admin": False,
    }


def accounts(**changes: str | None) -> Callable[[Doctor], None]:
    """Return what changes accounts of the directory."""
    return lambda doctor: doctor.site.write_accounts(changes)


REFUSED = {
    "the account has ended": ("lapsed", lambda doctor: None, "account: account 'lapsed': it ended on 2020-01-01"),
    "no uid": ("nouid", lambda doctor: None, "claims: the claim uid_number is missing"),
    "ended in the directory": (
        "bob",
        accounts(bob="valid_until: 2021-01-01T00:00Z"),
        "account: account 'bob': it ended",
    ),
    "unknown to the directory": ("carol", accounts(carol=None), "account: account 'carol'"),
    "another uid in the directory": ("bob", accounts(bob="uid: 62999"), "other-person"),
    "no allow rule": (
        "bob",
        config('c.Authenticator.allow_all = False\nc.Authenticator.allowed_users = {"alice"}\n'),
        "not-allowed",
    ),
    "blocked": ("bob", config('c.Authenticator.blocked_users = {"bob"}\n'), "not-allowed"),
    "outside the range": ("bob", config("c.IdentityMixin.max_uid = 62000\n"), "account: account 'bob': the uid, 62102"),
}


@pytest.mark.parametrize(("user", "change", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_user_who_would_be_refused_is_told_with_the_label_and_the_sentence(
    doctor: Doctor, user: str, change: Callable[[Doctor], object], reason: str
) -> None:
    """Exit 3: nothing of the realm is wrong, and this person does not get in."""
    if user == "bob" and reason == "other-person":
        text = (doctor.site.top / "accounts.yaml").read_text().replace("uid: 62102", "uid: 62999")
        (doctor.site.top / "accounts.yaml").write_text(text)
    else:
        change(doctor)
    status, report = doctor.run(*ADMIN, "--user", user)
    assert status == 3
    assert report["login"]["identity"] is None
    assert report["login"]["refused"].startswith(reason)


def test_somebody_whom_the_realm_does_not_know_is_said(doctor: Doctor) -> None:
    """A typo in the name is no verdict about anybody."""
    status, found = doctor.levels(*ADMIN, "--user", "alcie")
    assert (status, found["user"]) == (1, "FAILED")
    assert "under Users" in doctor.last
    assert "--admin-user" not in doctor.last


def test_a_disabled_user_and_one_with_something_to_do_are_said(doctor: Doctor, realm: Admin) -> None:
    """Keycloak itself would stop them at its page."""
    with suppress(AdminRefused):
        realm.ask("DELETE", f"/{REALM}/users/{realm.user_id('asleep', REALM)}")
    doctor.site.write_accounts(more="  asleep: {uid: 62120, group: users}")
    with realm.user("asleep", REALM, attributes={"uid_number": 62120}, requiredActions=["UPDATE_PASSWORD"]):
        assert doctor.levels(*ADMIN, "--user", "asleep") == (0, {"user": "warning"})
        realm.set_user("asleep", REALM, enabled=False, requiredActions=[])
        assert doctor.levels(*ADMIN, "--user", "asleep") == (1, {"user": "FAILED"})


# People of home organisations


@pytest.fixture
def brokered(realm: Admin) -> Iterator[str]:
    """A user of the realm whom Keycloak has linked to an identity provider; the subject is there ``anna-there``."""
    name = "edugain-saml.anna-there"
    with suppress(AdminRefused):
        realm.ask("DELETE", f"/{REALM}/users/{realm.user_id(name, REALM)}")
    with realm.user(name, REALM) as made:
        link = {"identityProvider": "edugain-saml", "userId": "anna-there", "userName": "anna-there"}
        realm.ask("POST", f"/{REALM}/users/{made}/federated-identity/edugain-saml", link)
        yield name


def test_a_linked_person_of_a_home_organisation_gets_the_linked_account(doctor: Doctor, brokered: str) -> None:
    """Found by identity provider and subject; the name in Keycloak counts for nothing."""
    doctor.site.write_accounts({"anna": "federated: [{provider: edugain-saml, subject: anna-there}]"})
    status, report = doctor.run(*ADMIN, "--user", brokered, "--provider", "edugain-saml")
    assert status == 0
    identity = report["login"]["identity"]
    assert (identity["name"], identity["uid"], identity["provider"]) == ("anna", 62111, "edugain-saml")
    (directory,) = (check for check in report["checks"] if check["check"] == "directory")
    assert "anna has uid 62111" in directory["message"]


def test_an_unlinked_person_is_refused_with_what_to_link(doctor: Doctor, brokered: str) -> None:
    """The pair that the administrator must enter stands in the sentence."""
    status, report = doctor.run(*ADMIN, "--user", brokered, "--provider", "edugain-saml")
    assert status == 3
    assert report["login"]["refused"].startswith("not-linked: ")
    assert "anna-there" in report["login"]["refused"]


def test_somebody_who_does_not_come_that_way_is_said(doctor: Doctor) -> None:
    """Keycloak has no such link of theirs; a login would lack the subject."""
    status, found = doctor.levels(*ADMIN, "--user", "alice", "--provider", "edugain-oidc")
    assert (status, found["user"]) == (3, "warning")


def test_the_doctor_gives_no_account_of_the_pool_to_a_guest(doctor: Doctor, brokered: str) -> None:
    """It only looks: afterwards the pool is as it was."""
    guests = doctor.site.top / "guests.yaml"
    guests.write_text(
        "providers: [edugain-saml]\nprefix: guest\ncount: 3\nfirst_uid: 63000\ngid: 61900\nexpires_after: 30d\n"
    )
    doctor.configure('c.KeycloakAuthenticator.guest_pool = "TOP/guests.yaml"\n')
    assert main(["accounts", "guests", "init", str(guests)]) == 0
    doctor.capsys.readouterr()
    before = {path.name: path.stat().st_size for path in doctor.site.top.iterdir()}
    status, report = doctor.run(*ADMIN, "--user", brokered, "--provider", "edugain-saml")
    assert status == 0, doctor.last
    assert "pool of guests" in report["login"]["identity"]["guest"]
    assert {path.name: path.stat().st_size for path in doctor.site.top.iterdir()} == before


# With the user's own password


def test_a_login_with_a_password_is_verified_as_the_hub_does(doctor: Doctor) -> None:
    """Where direct access grants are on, a real token: signature, issuer, audience and times."""
    client(directAccessGrantsEnabled=True)(doctor)
    status, report = doctor.run("--user", "alice", "--login")
    assert (status, report["login"]["identity"]["uid"]) == (0, 62101)
    assert {"check": "login", "level": "ok"}.items() <= next(
        check.items() for check in report["checks"] if check["check"] == "login"
    )


def test_a_wrong_password_is_said_in_keycloaks_words(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """No verdict about the person."""
    client(directAccessGrantsEnabled=True)(doctor)
    monkeypatch.setenv(USER_PASSWORD, "not-hers")
    status, report = doctor.run("--user", "alice", "--login")
    assert (status, report["login"]) == (1, None)
    assert "Invalid user credentials" in doctor.last
    assert "not-hers" not in doctor.last


def test_a_login_without_direct_grants_says_what_to_do_instead(doctor: Doctor) -> None:
    """They are off as they should be; no password is sent anywhere."""
    doctor.site.gate.forget()
    assert doctor.levels("--user", "alice", "--login") == (1, {"login": "FAILED"})
    assert "--admin-user" in doctor.last


def test_a_password_that_cannot_be_asked_for_is_wrong_use(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal and without the variable, exit 2 before anything is asked."""
    monkeypatch.delenv(ADMIN_SECRET)
    doctor.site.gate.forget()
    status = main(["doctor", "keycloak", "--config", str(doctor.path), *ADMIN])
    assert status == 2
    assert ADMIN_SECRET in doctor.capsys.readouterr().err
    assert doctor.site.gate.seen == []


# Other ways to begin, and to print


def test_a_realm_without_a_hub_is_examined_by_options(doctor: Doctor, tmp_path: Path) -> None:
    """Before there is any configuration: issuer, client and a file with the secret."""
    secret = tmp_path / "secret"
    secret.write_text(CLIENT_SECRET + "\n")
    site = doctor.site
    where = ["--issuer", site.issuer, "--client-id", site.client_id, "--client-secret-file", str(secret)]
    status = main(["doctor", "keycloak", *where, "--hub-url", site.url, *ADMIN, "--user", "alice"])
    out = doctor.capsys.readouterr().out
    assert status == 0, out
    assert "alice would be let in as" in out
    assert re.search(r"^ok +login page: .*/hub/oauth_callback$", out, re.MULTILINE)
    assert CLIENT_SECRET not in out


def test_a_person_reads_one_line_for_each_check(doctor: Doctor) -> None:
    """Level, check, what was seen; at the end what was found in all."""
    assert main(["doctor", "keycloak", "--config", str(doctor.path)]) == 0
    lines = doctor.capsys.readouterr().out.splitlines()
    assert lines[0] == f"realm {doctor.site.issuer}, client {doctor.site.client_id}"
    assert all(re.match(r"(ok|warning|skipped) +[a-z -]+: ", line) for line in lines[2:-2])
    assert re.fullmatch(r"1 warning, 2 skipped, \d+ ok", lines[-1])


def test_nothing_is_changed_and_nobody_is_logged_in(doctor: Doctor, realm: Admin) -> None:
    """Client and realm are the same afterwards, and no session was begun."""
    uuid = realm.client_uuid(doctor.site.client_id, REALM)

    def all_there_is() -> list[Any]:
        users = realm.ask("GET", f"/{REALM}/users")
        sessions = realm.ask("GET", f"/{REALM}/clients/{uuid}/user-sessions")
        found = [realm.ask("GET", f"/{REALM}"), realm.ask("GET", f"/{REALM}/clients/{uuid}"), users, sessions]
        return in_order(found)

    doctor.run(*ADMIN, "--user", "alice")  # Keycloak fills in defaults of a mapper when it is first used
    before = all_there_is()
    doctor.run(*ADMIN, "--user", "alice")
    assert all_there_is() == before


def in_order(plain: Any) -> Any:
    """Return the same with its lists sorted: Keycloak has them in any order."""
    if isinstance(plain, dict):
        return {key: in_order(value) for key, value in plain.items()}
    return sorted(map(in_order, plain), key=repr) if isinstance(plain, list) else plain


# TLS


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """An issuer behind a certificate that nobody has signed."""

    class Answers(BaseHTTPRequestHandler):
        """Never comes to answer."""

    key = RealmKey.made("127.0.0.1")
    path = tmp_path / "server.pem"
    path.write_text(key.pem + key.certificate)
    server = HTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/realms/{REALM}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_is_not_trusted_is_found(doctor: Doctor, untrusted: str) -> None:
    """As the hub would see it: no answer, and whose certificate authority to give it."""
    doctor.configure(f'c.KeycloakAuthenticator.issuer = "{untrusted}"\n')
    assert doctor.levels() == (1, {"discovery": "FAILED"})
    assert "ca_certs" in doctor.last
