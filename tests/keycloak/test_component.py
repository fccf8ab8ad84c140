"""The Keycloak of the tests: real realms, real pages, keys that the tests know, and a gate that breaks things."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from tests.components import MissingComponent, keycloak_build
from tests.components.keycloak import EXISTING, Keycloak, running_keycloak
from tests.components.keycloak_admin import Admin
from tests.components.keycloak_gate import CERTS, DISCOVERY, TOKEN, Gate, gate
from tests.components.keycloak_realms import CLIENT_SECRET, RealmKey, posix
from tests.components.session import LoginRefused
from tests.components.visitor import CALLBACK, Page, Visitor
from tests.keycloak.tokens import Plain, payload_of, signed

HUB = "http://127.0.0.1:9"  # the discard port: no hub is there, and none is asked
LOOPBACK, LISTENING = "0100007F", "0A"
LOOPBACK_IN_IPV6 = "0000000000000000FFFF0000" + LOOPBACK
VERIFIER = secrets.token_urlsafe(40)


@pytest.fixture
def front(keycloak: Keycloak) -> Iterator[Gate]:
    """A gate for one test."""
    with gate(keycloak.url) as one:
        yield one


def login_address(front: Gate) -> str:
    """Where a hub would send a browser."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    query = {"response_type": "code", "client_id": "jupyterhub", "scope": "openid", "state": "s", "nonce": "n"}
    query |= {"redirect_uri": HUB + CALLBACK, "code_challenge": challenge, "code_challenge_method": "S256"}
    return f"{front.issuer()}/protocol/openid-connect/auth?{urlencode(query)}"


def tokens_of(front: Gate, username: str, password: str, via: str = "") -> Plain:
    """Log in through the pages, and change the code for tokens as a hub does."""
    visitor = Visitor(HUB)
    page = visitor.go("GET", login_address(front))
    if via:
        page = visitor.choose(page, via)
    answer = visitor.fill_in(page, username, password, stop=CALLBACK)
    if answer.status != 302:
        raise LoginRefused(answer)
    code = parse_qs(urlsplit(visitor.target(answer)).query)["code"][0]
    return asked_tokens(front, code)


def asked_tokens(front: Gate, code: str) -> Plain:
    """Change a code for tokens."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": HUB + CALLBACK}
    form |= {"client_id": "jupyterhub", "client_secret": CLIENT_SECRET, "code_verifier": VERIFIER}
    answer: Plain = requests.post(f"{front.issuer()}/protocol/openid-connect/token", data=form, timeout=30).json()
    return answer


def discovery(front: Gate, timeout: float = 30) -> requests.Response:
    """Ask for the realm's addresses."""
    return requests.get(f"{front.issuer()}/.well-known/openid-configuration", timeout=timeout)


def userinfo(front: Gate, access_token: str) -> int:
    """Ask who the bearer of an access token is; returns the status."""
    headers = {"Authorization": f"Bearer {access_token}"}
    return requests.get(f"{front.issuer()}/protocol/openid-connect/userinfo", headers=headers, timeout=30).status_code


def listening_addresses(pid: int) -> set[str]:
    """The addresses on which a process listens for TCP, as the kernel writes them."""
    sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found


def test_a_login_through_the_pages_gives_the_claims_of_the_shipped_realm(front: Gate, keycloak: Keycloak) -> None:
    """Numbers are numbers, groups are plain names, the issuer is the gate's address, the key one that tests know."""
    claims = payload_of(tokens_of(front, "alice", "alice-pw")["id_token"])
    assert (claims["uid_number"], claims["gid_number"], claims["gids"]) == (62101, 61000, [61100])
    assert (claims["groups"], claims["valid_until"], claims["nonce"]) == (["/atlas"], "2099-12-31T23:59:59Z", "n")
    assert (claims["iss"], claims["aud"], claims["preferred_username"]) == (front.issuer(), "jupyterhub", "alice")
    keys = requests.get(f"{front.issuer()}/protocol/openid-connect/certs", timeout=30).json()["keys"]
    assert {keycloak.site_keys.signing.kid, keycloak.site_keys.older.kid} <= {key["kid"] for key in keys}


def test_missing_is_not_empty(front: Gate) -> None:
    """Who has no attributes and groups has no such claims."""
    claims = payload_of(tokens_of(front, "nouid", "nouid-pw")["id_token"])
    assert not {"uid_number", "gid_number", "gids", "valid_until", "groups", "identity_provider"} & claims.keys()


@pytest.mark.parametrize("alias", ["edugain-saml", "edugain-oidc"])
def test_somebody_of_a_home_organisation_comes_through_the_broker(front: Gate, alias: str) -> None:
    """Provider, subject and organisation come with the session; there is no uid and no local account's name."""
    claims = payload_of(tokens_of(front, "bob", "bob-home-pw", alias)["id_token"])
    subject, organisation = claims["identity_provider_subject"], claims.get("home_organisation")
    if alias == "edugain-saml":
        organisation, _, subject = subject.partition("!")
    assert (claims["identity_provider"], organisation) == (alias, "https://idp.uni-b.example/entity")
    assert claims["preferred_username"] == f"{alias}.{subject}"
    assert "uid_number" not in claims


def test_a_user_cannot_change_what_makes_their_identity(front: Gate, keycloak: Keycloak) -> None:
    """The attributes are the administrator's alone; so the realm says which is shipped."""
    with_admin = Admin(keycloak)
    profile = with_admin.ask("GET", "/site/users/profile")
    editable = {attribute["name"] for attribute in profile["attributes"] if "user" in attribute["permissions"]["edit"]}
    assert not editable & posix(1).keys()


def test_a_token_made_with_the_realms_key_passes_for_keycloaks_own(front: Gate, keycloak: Keycloak) -> None:
    """Keycloak itself takes it: forged tokens are refused for what they say, not for how they are signed."""
    access = payload_of(tokens_of(front, "alice", "alice-pw")["access_token"])
    changed = {**access, "exp": access["exp"] + 100}
    assert userinfo(front, signed(changed, keycloak.site_keys.signing)) == 200
    assert userinfo(front, signed(changed, RealmKey.made("site"), kid=keycloak.site_keys.signing.kid)) == 401


def test_keycloak_listens_on_the_loopback_address_alone(keycloak: Keycloak) -> None:
    """No other machine reaches the tests' passwords; a cache for a cluster would listen everywhere."""
    listening = listening_addresses(keycloak.pid)
    assert listening
    assert listening <= {LOOPBACK, LOOPBACK_IN_IPV6}
    assert keycloak.password not in Path(f"/proc/{keycloak.pid}/cmdline").read_text()


def test_a_code_holds_once(front: Gate) -> None:
    """The second use is refused, through the gate as without it."""
    visitor = Visitor(HUB)
    answer = visitor.fill_in(visitor.go("GET", login_address(front)), "alice", "alice-pw", stop=CALLBACK)
    code = parse_qs(urlsplit(visitor.target(answer)).query)["code"][0]
    assert "id_token" in asked_tokens(front, code)
    assert asked_tokens(front, code)["error"] == "invalid_grant"


def test_a_wrong_password_leads_nowhere(front: Gate) -> None:
    """The visitor gets Keycloak's page again, with its words."""
    with pytest.raises(LoginRefused) as refused:
        tokens_of(front, "alice", "wrong")
    assert "Invalid username or password" in Page(refused.value.answer).text


def test_the_gate_counts_refuses_and_changes(front: Gate) -> None:
    """By pattern, as often as is said; other requests pass."""
    front.answer(DISCOVERY, 503, {"error": "busy"}, times=1)
    assert discovery(front).status_code == 503
    assert discovery(front).json()["issuer"] == front.issuer()
    front.change(DISCOVERY, lambda plain: {**plain, "issuer": "https://elsewhere.example"})
    assert discovery(front).json()["issuer"] == "https://elsewhere.example"
    assert (front.count(DISCOVERY), front.count(TOKEN), front.count(CERTS)) == (3, 0, 0)
    front.clear()
    assert discovery(front).json()["issuer"] == front.issuer()


def test_the_gate_breaks_connections(front: Gate) -> None:
    """Dropped, cut in the middle, refused, hanging: as clients see it where Keycloak or the network is in trouble."""
    front.drop(DISCOVERY, times=1)
    with pytest.raises(requests.ConnectionError):
        discovery(front)
    front.cut(DISCOVERY, times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        discovery(front)
    front.down()
    with pytest.raises(requests.ConnectionError):
        discovery(front)
    front.up()
    held = front.hold(DISCOVERY)
    with pytest.raises(requests.Timeout):
        discovery(front, timeout=0.2)
    held.release()
    assert discovery(front).status_code == 200


def test_without_java_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the package; so the tests skip on such a machine."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv(EXISTING, raising=False)
    with pytest.raises(MissingComponent, match="default-jre-headless"), running_keycloak():
        pytest.fail("there is no Java")


def test_where_it_is_not_built_the_command_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test never builds it by itself, which would take a minute of its time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(keycloak_build, "found_java", lambda: "java")
    with pytest.raises(MissingComponent, match="keycloak_build"):
        keycloak_build.built_keycloak()
