"""The doctor's judgements of what Keycloak's admin API shows, its report, and its arguments."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.auth import doctor_command
from nbplatform_spawners.auth.doctor import Questions, examine
from nbplatform_spawners.auth.doctor_brokers import judge_broker
from nbplatform_spawners.auth.doctor_client import HubAddresses, judge_client, judge_profile, judge_realm
from nbplatform_spawners.auth.doctor_mappers import (
    Wanted,
    attribute,
    attributes_of,
    groups,
    judge_mappers,
    note,
    proposal,
    roles,
)
from nbplatform_spawners.auth.doctor_public import judge_clock
from nbplatform_spawners.auth.doctor_report import Finding, Report, Verdict
from nbplatform_spawners.auth.doctor_setup import from_config
from nbplatform_spawners.auth.doctor_wire import Page, Wire
from nbplatform_spawners.cli import main

ROOT = Path(__file__).parents[2]
REALM = json.loads((ROOT / "hub_config" / "keycloak" / "realm.json").read_text())
HUB = HubAddresses(
    "https://hub.example.org/hub/oauth_callback",
    "https://hub.example.org/hub/keycloak/backchannel_logout",
    "https://hub.example.org/hub/login",
)
UID = attribute("uid", "uid_number", kind="number", without="local logins are refused")
GIDS = attribute("gids", "gids", kind="number", several=True, level="warning")
PROVIDER = note("provider", "identity_provider", "identity_provider", "federated users are taken for local ones")
SHIPPED: dict[str, Any] = {
    "clientId": "jupyterhub",
    "redirectUris": [HUB.callback],
    "frontchannelLogout": False,
    "attributes": {
        "backchannel.logout.url": HUB.backchannel,
        "backchannel.logout.session.required": "true",
        "post.logout.redirect.uris": "https://hub.example.org/hub/*",
    },
}


def client(**changes: Any) -> dict[str, Any]:
    """Return a good client with some settings changed; those in ``attributes`` one by one."""
    attributes = {**SHIPPED["attributes"], **changes.pop("attributes", {})}
    return {**SHIPPED, **changes, "attributes": attributes}


def levels(findings: list[Finding]) -> dict[str, str]:
    """Return check to level, of what is not well."""
    return {finding.check: finding.level for finding in findings if finding.level != "ok"}


CLIENTS = {
    "as it should be": ({}, {}),
    "the whole host": ({"redirectUris": ["https://hub.example.org/*"]}, {"registered addresses": "FAILED"}),
    "the whole world": ({"redirectUris": ["*"]}, {"registered addresses": "FAILED"}),
    "any host of the site": ({"redirectUris": ["https://*.example.org/hub/*"]}, {"registered addresses": "FAILED"}),
    "every address of the hub": ({"redirectUris": ["https://hub.example.org/hub/*"]}, {}),
    "relative to the client's root": ({"redirectUris": ["/hub/oauth_callback"]}, {}),
    "none": ({"redirectUris": []}, {"registered addresses": "FAILED"}),
    "another hub as well": (
        {"redirectUris": [HUB.callback, "https://old.example.org/hub/oauth_callback"]},
        {"registered addresses": "warning"},
    ),
    "another hub alone": (
        {"redirectUris": ["https://old.example.org/hub/oauth_callback"]},
        {"registered addresses": "FAILED"},
    ),
    "no back channel": ({"attributes": {"backchannel.logout.url": ""}}, {"back-channel logout": "FAILED"}),
    "another path": (
        {"attributes": {"backchannel.logout.url": "https://hub.example.org/hub/logout"}},
        {"back-channel logout": "FAILED"},
    ),
    "an address inside": (
        {"attributes": {"backchannel.logout.url": "http://10.0.0.5:8081/hub/keycloak/backchannel_logout"}},
        {"back-channel logout": "warning"},
    ),
    "front channel": ({"frontchannelLogout": True}, {"back-channel logout": "FAILED"}),
    "logout tokens without a session": (
        {"attributes": {"backchannel.logout.session.required": "false"}},
        {"back-channel logout": "warning"},
    ),
    "after a logout anywhere": ({"attributes": {"post.logout.redirect.uris": "*"}}, {"logout addresses": "warning"}),
    "after a logout where logins go": (
        {"attributes": {"post.logout.redirect.uris": "+"}, "redirectUris": ["*"]},
        {"registered addresses": "FAILED", "logout addresses": "warning"},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), CLIENTS.values(), ids=CLIENTS)
def test_each_setting_of_a_client_is_judged(changes: dict[str, Any], expected: dict[str, str]) -> None:
    """What is not well is named once, with what to do and where."""
    findings = judge_client(client(**changes), HUB)
    assert levels(findings) == expected
    assert all("Clients > jupyterhub" in finding.todo for finding in findings if finding.level != "ok")


def test_a_loopback_address_without_a_port_is_the_hubs_own_on_any_port() -> None:
    """So Keycloak reads it (RFC 8252)."""
    hub = HubAddresses("http://127.0.0.1:8000/hub/oauth_callback", HUB.backchannel, HUB.after_logout)
    assert levels(judge_client(client(redirectUris=["http://127.0.0.1/hub/oauth_callback"]), hub)) == {}
    other = judge_client(client(redirectUris=["http://127.0.0.1:9/hub/oauth_callback"]), hub)
    assert levels(other) == {"registered addresses": "FAILED"}
    assert "http://127.0.0.1:8000/hub/oauth_callback is not registered" in other[0].said


REALMS = {
    "as shipped": ({}, {}),
    "names can be changed": ({"editUsernameAllowed": True}, {"user names": "FAILED"}),
    "anybody may register": ({"registrationAllowed": True}, {"user names": "FAILED"}),
    "without TLS": ({"sslRequired": "none"}, {"realm": "FAILED"}),
    "switched off": ({"enabled": False}, {"realm": "FAILED"}),
}


@pytest.mark.parametrize(("changes", "expected"), REALMS.values(), ids=REALMS)
def test_each_setting_of_a_realm_is_judged(changes: dict[str, Any], expected: dict[str, str]) -> None:
    """A name that people choose themselves is another person's account."""
    assert levels(judge_realm({**REALM, **changes})) == expected


def profile(**editors: list[str]) -> dict[str, Any]:
    """Return a user profile: attribute to who may edit it."""
    return {"attributes": [{"name": name, "permissions": {"edit": roles}} for name, roles in editors.items()]}


PROFILES = {
    "administrators alone": (profile(uid_number=["admin"]), {}),
    "people themselves": (profile(uid_number=["admin", "user"]), {"user profile": "FAILED"}),
    "not declared": (profile(), {"user profile": "FAILED"}),
    "not declared and free": ({**profile(), "unmanagedAttributePolicy": "ENABLED"}, {"user profile": "FAILED"}),
    "not declared, for administrators": ({**profile(), "unmanagedAttributePolicy": "ADMIN_EDIT"}, {}),
}


@pytest.mark.parametrize(("found", "expected"), PROFILES.values(), ids=PROFILES)
def test_who_may_change_a_uid_is_judged(found: dict[str, Any], expected: dict[str, str]) -> None:
    """An attribute that people may change themselves lets them choose whose files they get."""
    assert levels(judge_profile(found, {"uid_number": "uid"})) == expected


def mapper(wanted: Wanted, **config: str) -> dict[str, Any]:
    """Return the mapper that is proposed for a claim, with some of its settings changed."""
    made = proposal(wanted)
    return {**made, "config": {**made["config"], **config}}


MAPPERS = {
    "as proposed": (UID, [mapper(UID)], "ok"),
    "none": (UID, [], "FAILED"),
    "none, and it matters less": (GIDS, [], "warning"),
    "of another claim": (UID, [mapper(GIDS)], "FAILED"),
    "not in the ID token": (UID, [mapper(UID, **{"id.token.claim": "false"})], "FAILED"),
    "twice, once in the ID token": (UID, [mapper(UID, **{"id.token.claim": "false"}), mapper(UID)], "ok"),
    "digits as text": (UID, [mapper(UID, **{"jsonType.label": "String"})], "ok"),
    "true or false": (UID, [mapper(UID, **{"jsonType.label": "boolean"})], "FAILED"),
    "a list for one uid": (UID, [mapper(UID, multivalued="true")], "FAILED"),
    "one value for a list": (GIDS, [mapper(GIDS, multivalued="false")], "FAILED"),
    "a number for a name": (PROVIDER, [mapper(PROVIDER, **{"jsonType.label": "long"})], "FAILED"),
    "with the client's ID filled in": (
        roles("hub", ""),
        [mapper(roles("hub", ""), **{"claim.name": "resource_access.${client_id}.roles"})],
        "ok",
    ),
    "with the dots of a name that has dots": (UID, [mapper(UID, **{"claim.name": "uid_number"})], "ok"),
}


@pytest.mark.parametrize(("wanted", "found", "level"), MAPPERS.values(), ids=MAPPERS)
def test_each_mistake_in_a_mapper_is_named(wanted: Wanted, found: list[dict[str, Any]], level: str) -> None:
    """A claim is good when one mapper makes it, in the ID token, as the hub reads it."""
    (finding,) = judge_mappers([wanted], found, "hub")
    assert (finding.check, finding.level) == (f"claim {wanted.field}", level)
    assert bool(finding.todo) == (level != "ok")


@pytest.mark.parametrize(
    "wanted", [UID, GIDS, PROVIDER, groups("groups", "FAILED", ""), roles(None, ""), roles("jupyterhub", "")], ids=str
)
def test_what_is_proposed_is_what_is_shipped(wanted: Wanted) -> None:
    """The JSON below a missing mapper is the shipped realm's, less its name and what other tokens hold."""
    (shipped,) = (
        one for one in REALM["clients"][0]["protocolMappers"] if one["config"].get("claim.name") == wanted.claim
    )
    proposed = proposal(wanted)
    other_tokens = {"access.token.claim", "userinfo.token.claim", "introspection.token.claim"}
    same = {key: value for key, value in shipped["config"].items() if key not in other_tokens}
    assert {key: value for key, value in proposed["config"].items() if key not in other_tokens} == same
    assert (proposed["protocol"], proposed["protocolMapper"]) == (shipped["protocol"], shipped["protocolMapper"])


def test_the_lines_of_a_missing_mapper_are_json_that_can_be_sent() -> None:
    """They can be copied as they stand."""
    (finding,) = judge_mappers([UID], [], "hub")
    assert json.loads("\n".join(finding.lines)) == proposal(UID)
    assert "Clients > hub > Client scopes > hub-dedicated" in finding.todo


def test_the_attributes_behind_the_claims_are_found() -> None:
    """Whoever may change them may change the claims."""
    found = [mapper(UID, **{"user.attribute": "uidNumber"}), mapper(GIDS), mapper(PROVIDER)]
    assert attributes_of([UID, GIDS, PROVIDER], found, "hub") == {"uidNumber": "uid", "gids": "gids"}


PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
SUBJECT = {"config": {"target": "BROKER_USERNAME", "template": "${CLAIM.sub}"}}


def broker(kind: str, name_id: str = PERSISTENT, **more: Any) -> dict[str, Any]:
    """Return an identity provider."""
    config = {"nameIDPolicyFormat": name_id, "principalType": more.pop("principal", "SUBJECT")}
    return {"alias": "edugain", "providerId": kind, "config": config, **more}


def step(kind: str, requirement: str = "REQUIRED") -> dict[str, str]:
    """Return a step of a first login."""
    return {"providerId": kind, "requirement": requirement}


UNIQUE = step("idp-create-user-if-unique")
BROKERS = {
    "a mapper says the subject": (broker("oidc"), [SUBJECT], [UNIQUE], "ok"),
    "the user name of OpenID Connect": (broker("oidc"), [], [UNIQUE], "FAILED"),
    "a mapper of another target": (broker("oidc"), [{"config": {"target": "LOCAL"}}], [UNIQUE], "FAILED"),
    "a persistent NameID": (broker("saml"), [], [UNIQUE], "ok"),
    "a transient NameID": (broker("saml", TRANSIENT), [], [UNIQUE], "FAILED"),
    "a transient NameID that is not looked at": (broker("saml", TRANSIENT, principal="ATTRIBUTE"), [], [UNIQUE], "ok"),
    "links by themselves": (broker("saml"), [], [step("idp-auto-link")], "warning"),
    "links by mail": (broker("saml"), [], [step("idp-email-verification", "ALTERNATIVE")], "warning"),
    "links by mail, switched off": (broker("saml"), [], [step("idp-email-verification", "DISABLED")], "ok"),
    "addresses that are trusted": (broker("saml", trustEmail=True), [], [UNIQUE], "warning"),
}


@pytest.mark.parametrize(("one", "found", "steps", "level"), BROKERS.values(), ids=BROKERS)
def test_an_identity_provider_whose_subject_may_be_two_people_is_found(
    one: dict[str, Any], found: list[dict[str, Any]], steps: list[dict[str, str]], level: str
) -> None:
    """The subject is by what the hub tells people apart: it must be one person's, for ever."""
    (finding,) = judge_broker(one, found, steps)
    assert (finding.check, finding.level) == ("brokers", level)
    assert bool(finding.todo) == (level != "ok")


CLOCKS = {
    "nobody told": ([], "skipped"),
    "the same": ([0.0, 0.0], "ok"),
    "a little ahead": ([4.0], "ok"),
    "nearly too much": ([0.0, -16.0], "warning"),
    "ahead": ([31.0], "FAILED"),
    "behind": ([-90.0, 0.0], "FAILED"),
}


@pytest.mark.parametrize(("skews", "level"), CLOCKS.values(), ids=CLOCKS)
def test_the_clocks_are_judged_by_the_leeway(skews: list[float], level: str) -> None:
    """Beyond the leeway every token is refused as expired or from the future."""
    assert judge_clock(skews, 30.0).level == level


@pytest.mark.parametrize(
    ("there", "skew"), [(100.0, 0.0), (99.0, 0.0), (102.0, 0.0), (130.0, 28.0), (50.0, -49.0)], ids=str
)
def test_a_clock_is_told_in_whole_seconds(there: float, skew: float) -> None:
    """What may be the same second counts as none apart: between 100 and 102 the answer came."""
    wire = Wire.__new__(Wire)
    wire.skews = []
    wire.note_time(there, 100.0, 102.0)
    assert wire.skews == [skew]


def test_a_page_is_read_as_a_person_does() -> None:
    """Only the words of Keycloak's own content, in one line; the redirect's query or fragment."""
    page = Page(400, "", '<p>Realm</p><div id="kc-content"><img><p>Invalid\n parameter</p><script>x</script></div>')
    assert page.words == "'Invalid parameter'"
    assert Page(302, "https://hub/cb#error=unauthorized_client&state=s", "").sent["error"] == "unauthorized_client"


REPORTS = {
    "all well": ([Finding("ok", "keys", "2")], None, 0),
    "a warning": ([Finding("warning", "pkce", "no", "do")], None, 0),
    "refused": ([Finding("ok", "keys", "2")], Verdict("alice", refused="account: it ended"), 3),
    "let in": ([Finding("skipped", "admin", "no", "do")], Verdict("alice", account={"name": "alice"}), 0),
    "failed, and refused": ([Finding("FAILED", "keys", "0", "do")], Verdict("alice", refused="x"), 1),
}


@pytest.mark.parametrize(("findings", "verdict", "status"), REPORTS.values(), ids=REPORTS)
def test_the_exit_status_says_what_was_found(findings: list[Finding], verdict: Verdict | None, status: int) -> None:
    """A failed check is 1, a refused user 3; the JSON says the same as the lines."""
    report = Report({"issuer": "https://kc/realms/site", "client_id": "hub"}, findings, verdict)
    shown = json.loads(report.as_json())
    assert report.status == shown["status"] == status
    assert shown["issuer"] == "https://kc/realms/site"
    assert [check["level"] for check in shown["checks"]] == [finding.level for finding in findings]
    text = "\n".join(report.as_lines())
    assert f"1 {findings[0].level}" in text
    assert ("would be refused" in text) == (verdict is not None and verdict.refused is not None)


def test_a_finding_is_one_line_with_what_to_copy_below() -> None:
    """Level, check, what was seen, what to do."""
    report = Report({"issuer": "i", "client_id": "c"}, [Finding("FAILED", "claim uid", "no mapper", "add", ("{", "}"))])
    assert list(report.as_lines()) == [
        "realm i, client c",
        "",
        "FAILED   claim uid: no mapper; add",
        "           {",
        "           }",
        "",
        "1 FAILED",
    ]


def test_a_message_from_outside_cannot_forge_lines() -> None:
    """Control characters in what a server or a name says are escaped."""
    report = Report({"issuer": "i", "client_id": "c"}, [Finding("ok", "realm", "a\x1b[2Jb\nok       keys: fine")])
    assert not any("\x1b" in line or line.startswith("ok       keys") for line in report.as_lines())


WRONG_USE = {
    "two sources": (["--config", "a.py", "--issuer", "https://kc/realms/site"], "give one of them"),
    "no secret": (["--issuer", "https://kc/realms/site"], "--client-secret-file"),
    "a secret without its issuer": (["--client-secret-file", "secret"], "goes with --issuer"),
    "two administrators": (["--admin-user", "a", "--admin-client", "b"], "give one of them"),
    "a login of nobody": (["--login"], "need --user"),
    "a subject of no provider": (["--user", "a", "--subject", "s"], "needs --provider"),
    "a password of somebody else's": (["--user", "a", "--provider", "p", "--login"], "leave out --provider"),
    "no configuration": (["--config", "not-there.py"], "no such file"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG_USE.values(), ids=WRONG_USE)
def test_wrong_use_is_said_in_one_line(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 2, before anything is asked."""
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "keycloak", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1


CONFIGS = {
    "another authenticator": ('c.JupyterHub.authenticator_class = "dummy"\n', "DummyAuthenticator"),
    "not Python": ("c.JupyterHub.authenticator_class = \n", "line 1"),
    "something that it misses itself": ("raise SystemExit('NBPLATFORM_ISSUER not set')\n", "NBPLATFORM_ISSUER not set"),
    "an error in it": ("x = 1\nraise KeyError('OIDC_SECRET')\n", "KeyError in line 2"),
    "nothing about the hub's address": (
        'c.JupyterHub.authenticator_class = "nbplatform_spawners.auth.keycloak.KeycloakAuthenticator"\n',
        "--hub-url",
    ),
    "a setting of a wrong type": (
        'c.JupyterHub.authenticator_class = "nbplatform_spawners.auth.keycloak.KeycloakAuthenticator"\n'
        'c.KeycloakAuthenticator.leeway = "long"\n',
        "leeway",
    ),
}


@pytest.mark.parametrize(("text", "words"), CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_that_cannot_be_examined_is_said_in_one_line(
    text: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit 2, with the place of the mistake and without a traceback."""
    path = tmp_path / "jupyterhub_config.py"
    path.write_text(text)
    assert main(["doctor", "keycloak", "--config", str(path)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err


def test_no_secret_is_an_argument() -> None:
    """Everybody on the machine sees arguments: passwords come from the environment, a file or the terminal."""
    help_text = subprocess.run(
        [sys.executable, "-m", "nbplatform_spawners.cli", "doctor", "keycloak", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout
    assert "--client-secret-file FILE" in help_text
    assert "--admin-password" not in help_text
    for variable in (doctor_command.ADMIN_SECRET, doctor_command.USER_PASSWORD):
        assert variable in help_text


def test_the_command_says_what_is_missing_without_jupyterhub() -> None:
    """Exit 2 and which extra to install; the rest of the command line does not care."""
    code = (
        "import sys\n"
        "sys.modules['jupyterhub'] = None\n"
        "from nbplatform_spawners.cli import main\n"
        "sys.exit(main(['doctor', 'keycloak']))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "'jupyterhub' is missing" in ran.stderr
    assert ".[hub,keycloak]" in ran.stderr


KEYS = {
    "none": ("", "must be specified in JUPYTERHUB_CRYPT_KEY"),
    "too short": ("abc123", "is not 32 bytes"),
}


def settings_findings(tmp_path: Path, more: str = "") -> dict[str, dict[str, str]]:
    """Return check to finding of a run whose Keycloak nobody reaches: what the hub's own settings alone tell."""
    path = tmp_path / "jupyterhub_config.py"
    path.write_text(
        'c.JupyterHub.authenticator_class = "nbplatform-keycloak"\n'
        'c.JupyterHub.public_url = "https://hub.example.org/"\n'
        'c.KeycloakAuthenticator.issuer = "http://127.0.0.1:9/realms/site"\n'
        'c.KeycloakAuthenticator.client_id = "jupyterhub"\n'
        'c.KeycloakAuthenticator.client_secret = "s"\n'
        "c.KeycloakAuthenticator.allow_all = True\n" + more
    )
    report = asyncio.run(examine(from_config(path, ""), Questions()))
    return {finding.check: finding.to_dict() for finding in report.findings}


@pytest.mark.parametrize(("key", "words"), KEYS.values(), ids=KEYS)
def test_a_hub_without_a_key_is_said_not_to_start(
    key: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub ends at its start without JUPYTERHUB_CRYPT_KEY; the doctor says so, how to make one, and not the key."""
    monkeypatch.delenv("JUPYTERHUB_CRYPT_KEY", raising=False)
    if key:
        monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", key)
    found = settings_findings(tmp_path)
    assert list(found) == ["settings"]
    assert found["settings"]["level"] == "FAILED"
    assert words in found["settings"]["message"]
    assert "openssl rand -hex 32" in found["settings"]["todo"]
    assert not key or key not in str(found)


@pytest.mark.parametrize("given", ["environment", "configuration"])
def test_a_hub_with_a_key_is_said_to_start(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterHub takes the key from the environment or from ``c.CryptKeeper.keys``."""
    monkeypatch.delenv("JUPYTERHUB_CRYPT_KEY", raising=False)
    if given == "environment":
        monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "00" * 32)
    more = f"c.CryptKeeper.keys = [{'00' * 32!r}]\n" if given == "configuration" else ""
    assert settings_findings(tmp_path, more)["settings"]["level"] == "ok"


def test_the_record_of_a_pool_of_guests_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its record a pool gives nothing out; that is FAILED until it is made, and nothing is made by a look."""
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "00" * 32)
    guests = tmp_path / "guests.yaml"
    guests.write_text(
        "providers: [edugain]\nprefix: guest\ncount: 1\nfirst_uid: 63000\ngid: 61900\nexpires_after: 30d\n"
    )
    pool = f"c.KeycloakAuthenticator.guest_pool = {str(guests)!r}\n"
    found = settings_findings(tmp_path, pool)
    assert (found["settings"]["level"], found["guests"]["level"]) == ("ok", "FAILED")
    assert "no record of guests" in found["guests"]["message"]
    assert main(["accounts", "guests", "init", str(guests)]) == 0
    assert settings_findings(tmp_path, pool)["guests"]["level"] == "ok"
    capsys.readouterr()


def test_the_pages_of_errors_of_keycloak_26_are_read() -> None:
    """Their words stand in an element of another name."""
    page = Page(400, "", '<div id="kc-error-message"><p>Invalid parameter: redirect_uri</p></div><p>Realm</p>')
    assert page.words == "'Invalid parameter: redirect_uri'"
