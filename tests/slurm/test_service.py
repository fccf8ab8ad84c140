"""Tokens for Slurm from the service as the hub starts it: for the user whose server asks, and for nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from nbplatform_spawners.slurm_dask.certificates import make_certificate
from tests.components.hub import Hub, start_server, stop_server
from tests.components.ports import free_ports, listens
from tests.hub.conftest import temporary_site
from tests.hub.site import PASSWORD, Site

from .service_site import KEY, NAME, USE, ask, hub_with_service, key_file, server_token

PROGRAM = [sys.executable, "-m", "nbplatform_spawners.slurm_dask"]
OTHER = secrets.token_hex(16)
"""Token of another service, which may use this one."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The module's site."""
    with temporary_site() as made:
        yield made


@pytest.fixture(scope="module")
def hub(site: Site) -> Iterator[Hub]:
    """A hub with the service, without a reaper: there is no Slurm here.  Ada's server runs."""
    other = {"name": "other", "api_token": OTHER, "scopes": [USE, "access:servers", "list:users"]}
    options = [f"--key-file={key_file(site.top)}", "--reap-every=0", "--refused-users=eve"]
    with hub_with_service(site, options, [other]) as made:
        assert start_server(made, "ada", {"profile": "cpu"})[-1].get("ready")
        yield made


@pytest.fixture(scope="module")
def adas(hub: Hub) -> str:
    """The token of ada's server."""
    return server_token(hub, "ada")


def claims(token: str, key: bytes = KEY) -> dict[str, Any]:
    """Return what a token says, after its signature was checked as Slurm checks it."""
    head, body, signature = token.split(".")
    mac = hmac.new(key, f"{head}.{body}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(mac).rstrip(b"=").decode() == signature
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return found


def user_token(hub: Hub, user: str, **wanted: Any) -> str:
    """Return a token that a user made."""
    token: str = hub.api("POST", f"users/{user}/tokens", json=wanted).json["token"]
    return token


def until(done: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it."""
    limit = time.monotonic() + 60
    while not (found := done()):
        assert time.monotonic() < limit, "it does not come true"
        time.sleep(0.1)
    return found


def test_a_server_gets_a_token_for_its_own_user(hub: Hub, adas: str) -> None:
    """Signed with Slurm's key, good for ten minutes, in the user's name; nobody keeps the answer."""
    said = ask(hub, adas)
    assert said.status == 200, said.text
    found = claims(said.json["token"])
    assert (found["sun"], found["exp"] - found["iat"]) == ("ada", 600)
    assert said.json["user"] == "ada"
    end = datetime.fromisoformat(said.json["expires_at"])
    assert end.timestamp() == found["exp"]
    assert timedelta(0) < end - datetime.now(UTC) <= timedelta(seconds=600)
    assert said.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in said.headers
    assert ask(hub, adas, body=b"").status == 200


BODIES = {
    "another user": b'{"user": "ben"}',
    "another user as Slurm names it": b'{"sun": "root"}',
    "a longer life": b'{"lifespan": 86400}',
    "her own name": b'{"user": "ada"}',
    "a list": b"[]",
    "no JSON": b"user=ben",
    "deep": b"[" * 900,
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_body_chooses_nothing(hub: Hub, body: bytes) -> None:
    """The token decides who it is for; a body that says anything is refused before the hub is asked."""
    said = ask(hub, secrets.token_hex(16), body=body)
    assert said.status == 400
    assert "the body must be {}" in said.json["message"]


def test_a_huge_body_is_not_read(hub: Hub, adas: str) -> None:
    """The connection ends, and the next request is answered."""
    try:
        status = ask(hub, adas, body=b"{" + b" " * 10_000_000 + b"}").status
    except requests.RequestException:
        status = 0
    assert status in (0, 400, 413, 502, 503)
    assert ask(hub, adas).status == 200


def as_browser(**headers: str) -> dict[str, Any]:
    """Return what a browser adds."""
    return {"headers": headers}


WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "a page": ({"method": "GET"}, 405),
    "a preflight": ({"method": "OPTIONS"}, 405),
    "a change": ({"method": "PUT"}, 405),
    "another origin": (as_browser(Origin="https://evil.example"), 403),
    "a page of the hub": (as_browser(**{"Sec-Fetch-Site": "same-origin"}), 403),
    "a cookie beside the token": (as_browser(Cookie="jupyterhub-session-id=1"), 403),
    "an argument": ({"query": "?user=ben"}, 400),
}


@pytest.mark.parametrize(("more", "status"), WAYS.values(), ids=WAYS)
def test_only_a_plain_post_is_answered(hub: Hub, adas: str, more: dict[str, Any], status: int) -> None:
    """Nothing that a browser can be made to send, even with the right token."""
    said = ask(hub, adas, **more)
    assert said.status == status
    assert "token" not in said.text or "message" in said.json
    assert "Access-Control-Allow-Origin" not in said.headers


def test_a_login_is_no_token(hub: Hub) -> None:
    """Somebody who is logged in, and has nothing but cookies, gets none; nor does who shows a token in the address."""
    cookies = hub.login("ada", PASSWORD).cookies(f"/services/{NAME}/token")
    assert cookies
    assert ask(hub, None, headers={"Cookie": cookies}).status == 403
    assert ask(hub, None).status == 403
    assert ask(hub, None, query=f"?token={OTHER}").status == 400
    assert ask(hub, None, headers={"Authorization": f"token {OTHER}, token {OTHER}"}).status == 403


def test_tokens_that_are_no_servers_get_none(hub: Hub, adas: str) -> None:
    """Whatever a user, an administrator or a service may do, by whatever token."""
    hers = {
        "all that she may": user_token(hub, "ada"),
        "the service alone": user_token(hub, "ada", scopes=[USE]),
        "all her servers": user_token(hub, "ada", scopes=[USE, "access:servers!user=ada"]),
        "her server and not the service": user_token(hub, "ada", scopes=["access:servers!server=ada/"]),
        "an administrator's": user_token(hub, "eve"),
        "a service's": OTHER,
        "the hub's own administrators'": hub.token,
        "nobody's": secrets.token_hex(16),
        "a part of one": adas[:-1],
    }
    for whose, token in hers.items():
        said = ask(hub, token)
        assert said.status == 403, whose
        assert token not in said.text, whose
        assert "message" in said.json, whose


def test_an_expired_or_revoked_token_gets_none(hub: Hub) -> None:
    """The hub is asked each time: what was good a moment ago is not remembered."""
    scopes = [USE, "access:servers!server=ada/"]
    made = hub.api("POST", "users/ada/tokens", json={"scopes": scopes}).json
    assert ask(hub, made["token"]).status == 200  # who can open the server could have had it there
    assert hub.api("DELETE", f"users/ada/tokens/{made['id']}").status == 204
    assert ask(hub, made["token"]).status == 403
    short = user_token(hub, "ada", scopes=scopes, expires_in=1)
    until(lambda: hub.api("GET", "user", token=short).status == 403)
    assert ask(hub, short).status == 403


def test_each_server_by_its_own_token_and_none_when_it_is_stopped(hub: Hub) -> None:
    """A named server's token is good while that server runs, whether or not others do; one made by hand likewise."""
    assert start_server(hub, "ben", {"profile": "cpu"})[-1].get("ready")
    assert start_server(hub, "ben", {"profile": "cpu"}, "train")[-1].get("ready")
    default, train = server_token(hub, "ben"), server_token(hub, "ben", "train")
    stays = user_token(hub, "ben", scopes=[USE, "access:servers!server=ben/train"])  # outlives the server
    assert [claims(ask(hub, one).json["token"])["sun"] for one in (default, train, stays)] == ["ben"] * 3
    stop_server(hub, "ben", "train")
    assert [ask(hub, one).status for one in (default, train, stays)] == [200, 403, 403]
    assert start_server(hub, "ben", {"profile": "cpu"}, "train")[-1].get("ready")
    assert [ask(hub, one).status for one in (train, stays)] == [403, 200]
    stop_server(hub, "ben", "train")
    stop_server(hub, "ben")
    assert ask(hub, default).status == 403


def test_who_has_access_to_anothers_server_gets_no_token_in_their_name(hub: Hub) -> None:
    """Not by a share: the token's owner is not the server's."""
    hub.api("POST", "shares/ada/", json={"user": "ben"})
    token = user_token(hub, "ben", scopes=[USE, "access:servers!user=ben"])
    assert ask(hub, token).status == 403
    assert ask(hub, user_token(hub, "ben")).status == 403


def test_an_account_that_is_special_to_slurm_gets_none(hub: Hub) -> None:
    """Neither root nor those whom the administrator names, whatever the hub calls them."""
    assert start_server(hub, "eve", {"profile": "cpu"})[-1].get("ready")
    said = ask(hub, server_token(hub, "eve"))
    assert said.status == 403
    assert "no token for Slurm is ever made for 'eve'" in said.json["message"]


def test_a_renamed_user_gets_none_in_either_name(hub: Hub) -> None:
    """The server goes on as who it was started; the hub's new name is somebody else's account."""
    assert start_server(hub, "ben", {"profile": "cpu"})[-1].get("ready")
    token = server_token(hub, "ben")
    assert ask(hub, token).status == 200
    assert hub.api("PATCH", "users/ben", json={"name": "benny"}).status == 200
    try:
        assert ask(hub, token).status == 403
    finally:
        hub.api("PATCH", "users/benny", json={"name": "ben"})
        stop_server(hub, "ben")


def test_one_token_is_answered_twenty_times_a_minute(hub: Hub, adas: str) -> None:
    """A hundred requests, one after another: then it is told when to ask again, and the hub is not asked."""
    before = hub.log_text().count("token for Slurm: user=ada")
    token = user_token(hub, "ada", scopes=[USE, "access:servers!server=ada/"])
    said = [ask(hub, token) for _ in range(100)]
    assert sum(one.status == 200 for one in said) == 20
    assert {one.status for one in said} == {200, 429}
    assert 1 <= int(said[-1].headers["Retry-After"]) <= 60
    assert hub.log_text().count("token for Slurm: user=ada") <= before + 20
    assert ask(hub, secrets.token_hex(16)).status == 403  # others are answered


@pytest.mark.parametrize("wrong", ["readable by its group", "gone", "short"])
def test_a_key_that_others_can_read_is_not_used(hub: Hub, site: Site, wrong: str) -> None:
    """The answer says nothing of it, the log its path; mended, it is used without a restart."""
    path = site.top / "slurm-jwt.key"
    token = user_token(hub, "ada", scopes=[USE, "access:servers!server=ada/"])
    if wrong == "readable by its group":
        path.chmod(0o640)
    elif wrong == "gone":
        path.rename(path.with_suffix(".away"))
    else:
        path.write_bytes(b"x")
    try:
        said = ask(hub, token)
        assert said.status == 503
        assert str(path) not in said.text
        hub.wait_for_log(r"no token for Slurm can be made: .*slurm-jwt\.key")
    finally:
        path.with_suffix(".away").unlink(missing_ok=True)
        key_file(site.top, KEY[::-1])
        path.chmod(0o600)
    try:
        assert claims(ask(hub, token).json["token"], KEY[::-1])["sun"] == "ada"
    finally:
        key_file(site.top)


def test_no_secret_is_in_the_log(hub: Hub, adas: str) -> None:
    """Neither the servers' tokens, nor those that were made, nor the key."""
    token = user_token(hub, "ada", scopes=[USE, "access:servers!server=ada/"])
    made = ask(hub, token).json["token"]
    log = hub.log_text()
    for secret in (adas, token, made, KEY.hex(), made.rpartition(".")[2], base64.b64encode(KEY).decode()):
        assert secret not in log
    assert "token for Slurm: user=ada server='' until " in log


def service_pids(hub: Hub) -> list[int]:
    """Process ids of the services that this hub, or an earlier one at its place, started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                own = f"JUPYTERHUB_API_URL={hub.hub_url}/hub/api".encode() in (entry / "environ").read_bytes()
            except OSError:
                continue
            if own and b"nbplatform_spawners.slurm_dask" in words:
                found.append(int(entry.name))
    return found


def test_it_ends_with_the_hub_and_begins_with_the_next() -> None:
    """A hub that is killed leaves no service; the next hub's takes the same place.  A stopped Slurm is no obstacle."""
    with temporary_site() as own:
        key = key_file(own.top)
        with hub_with_service(own, [f"--key-file={key}", "--reap-every=1", "--slurm-timeout=2"]) as hub:
            hub.wait_for_log(r"no look for jobs without a server, nothing is ended: Slurm: ")
            assert ask(hub, secrets.token_hex(16)).status == 403
            first = service_pids(hub)
            assert len(first) == 1
            hub.kill9()
            until(lambda: service_pids(hub) == [])
            hub.restart()
            assert len(service_pids(hub)) == 1
            assert ask(hub, secrets.token_hex(16)).status == 403
            assert NAME in hub.api("GET", "services").json


def test_under_internal_tls_only_the_hubs_own_reach_it(tmp_path: Path) -> None:
    """It speaks TLS with the files that the hub names, and to nobody without a certificate of the same authority."""
    port, pair = free_ports().public, make_certificate("0123456789ab", datetime.now(UTC), 3600)
    cert, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    cert.write_bytes(pair.cert)
    key.write_bytes(pair.key)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")},
        "JUPYTERHUB_API_TOKEN": "x",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:9/hub/api",
        "JUPYTERHUB_SERVICE_URL": f"https://127.0.0.1:{port}",
        "JUPYTERHUB_SERVICE_PREFIX": f"/services/{NAME}/",
        "JUPYTERHUB_SSL_CERTFILE": str(cert),
        "JUPYTERHUB_SSL_KEYFILE": str(key),
        "JUPYTERHUB_SSL_CLIENT_CA": str(cert),
    }
    words = [*PROGRAM, "--hub-id=h", f"--key-file={key_file(tmp_path)}", "--reap-every=0"]
    process = subprocess.Popen(words, env=environment)
    try:
        until(lambda: listens(port))
        with requests.Session() as session:
            session.trust_env = False
            address = f"https://127.0.0.1:{port}/services/{NAME}/token"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the certificate has no name of this machine
                with pytest.raises(requests.RequestException):
                    session.post(address, verify=False, timeout=10)
                said = session.post(address, verify=False, cert=(str(cert), str(key)), timeout=10)
                assert said.status_code == 403
                said = session.post(
                    address, verify=False, cert=(str(cert), str(key)), headers={"Authorization": "token x"}, timeout=30
                )
        assert said.status_code == 503  # nobody is at the hub's address
        assert "the hub does not answer" in said.json()["message"]
    finally:
        process.terminate()
        assert process.wait(20) == 0
