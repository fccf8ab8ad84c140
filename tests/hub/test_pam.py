"""Logins by PAM and identities from NSS on a real hub, with accounts that the machine itself does not know."""

from __future__ import annotations

import html
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.components.hub import Answer, Hub, LoginRefused, running_hub, stop_server
from tests.components.need import need
from tests.hub.private_accounts import PrivateAccounts, password_hash

PASSWORD = "correct horse battery"
ADVICE = "What you can do: ask the support desk, with this sentence, unless it says what else to do."
PASSWD = (
    "root:x:0:0:root:/root:/bin/bash",
    "ann:x:5001:6000:Ann:/home/ann:/bin/bash",
    "bob:x:5002:6000:Bob:/home/bob:/bin/bash",
    "eve:x:5003:6000:Eve:/home/eve:/bin/bash",
    "low:x:500:6000:Low:/home/low:/bin/bash",
)
GROUP = ("root:x:0:", "docker:x:998:ann", "staff:x:6000:", "atlas:x:6001:ann")
CONFIG = """
from jupyterhub.spawner import SimpleLocalProcessSpawner

class DiesAtStart(SimpleLocalProcessSpawner):
    '''Starts nothing; the authenticator has been asked by then.'''

    async def start(self):
        raise RuntimeError("dies at start, as it is told")

c.JupyterHub.authenticator_class = "nbplatform-pam"
c.JupyterHub.spawner_class = DiesAtStart
c.JupyterHub.log_level = "DEBUG"
c.PAMAuthenticator.service = "notebooks"
c.Authenticator.allow_all = True
c.Authenticator.auth_refresh_age = 1
"""
ASKED = """
import json
from nbplatform_spawners.auth.pam import NSSPAMAuthenticator
from nbplatform_spawners.errors import NbplatformError
authenticator = NSSPAMAuthenticator(service=SERVICE, allow_all=True)
try:
    authenticator.look_up("ann")
    print("good")
except NbplatformError as error:
    print(type(error).__name__)
"""


def write(accounts: PrivateAccounts, *, groups: tuple[str, ...] = GROUP, **ends: int) -> None:
    """Write the accounts; ``ends`` are days since 1970 on which an account ends."""
    accounts.write("passwd", *PASSWD)
    accounts.write("group", *groups)
    stored = password_hash(PASSWORD)
    names = [line.partition(":")[0] for line in PASSWD]
    accounts.write("shadow", *(f"{name}:{stored}:19000:0:99999:7::{ends.get(name, '')}:" for name in names))


@pytest.fixture(scope="module")
def accounts() -> Iterator[PrivateAccounts]:
    """The accounts that the hub sees."""
    folder = Path(tempfile.mkdtemp(prefix="nbp-pam-"))
    try:
        accounts = PrivateAccounts(folder / "etc")
        if os.geteuid() != 0:
            pytest.skip("PAM checks the passwords of other users only for root")
        problem = accounts.problem()
        if problem:
            pytest.skip(f"a process cannot have accounts of its own here: {problem}")
        write(accounts)
        yield accounts
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def started(accounts: PrivateAccounts) -> Iterator[Hub]:
    """The module's hub."""
    with need(running_hub(accounts.entering() + CONFIG)) as hub:
        yield hub


@pytest.fixture
def hub(started: Hub, accounts: PrivateAccounts) -> Iterator[Hub]:
    """The module's hub; accounts and users are put back."""
    yield started
    write(accounts)
    for user in started.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(started, user["name"], name)
        started.api("DELETE", f"users/{user['name']}")


def identity(hub: Hub, name: str) -> Any:
    """The stored identity of a user."""
    return (hub.api("GET", f"users/{name}").json["auth_state"] or {}).get("identity")


def refused(hub: Hub, name: str, password: str = PASSWORD) -> tuple[int, str]:
    """Status and sentence of a login that must be refused."""
    with pytest.raises(LoginRefused) as caught:
        hub.login(name, password)
    page: Answer = caught.value.answer
    found = re.search(r"<p[^>]*login_error[^>]*>(.*?)</p>", page.text, re.DOTALL)
    return page.status, html.unescape(found[1]).strip() if found else ""


def test_a_login_stores_the_identity_of_the_machines_account(hub: Hub) -> None:
    """With supplementary groups; those of the system (docker) are left out."""
    hub.login("ann", PASSWORD)
    assert identity(hub, "ann") == {
        "name": "ann",
        "uid": 5001,
        "gid": 6000,
        "groups": {"staff": 6000, "atlas": 6001},
        "primary_group": "staff",
        "home": "/home/ann",
        "shell": "/bin/bash",
        "provider": None,
        "unnamed_gids": [],
    }


REFUSED = {
    "a wrong password": ("ann", "wrong", "Invalid username or password"),
    "an unknown user": ("nobody", PASSWORD, "Invalid username or password"),
    "root": ("root", PASSWORD, "Account 'root': this user name is not allowed here"),
    "a uid out of range": ("low", PASSWORD, "Account 'low': the uid, 500, is outside the allowed range"),
}


@pytest.mark.parametrize(("name", "password", "expected"), REFUSED.values(), ids=REFUSED)
def test_who_may_not_come_in_is_refused(hub: Hub, name: str, password: str, expected: str) -> None:
    """Wrong and unknown look the same; who has shown the right password is told why not."""
    status, said = refused(hub, name, password)
    assert status == 403
    assert said.startswith(expected)
    assert PASSWORD not in hub.log_text()


def test_a_group_change_acts_at_the_next_spawn(hub: Hub, accounts: PrivateAccounts) -> None:
    """The machine is asked afresh."""
    hub.login("bob", PASSWORD)
    assert identity(hub, "bob")["groups"] == {"staff": 6000}
    write(accounts, groups=(*GROUP, "cms:x:6002:bob"))
    hub.api("POST", "users/bob/server")
    assert identity(hub, "bob")["groups"] == {"staff": 6000, "cms": 6002}


def test_an_account_that_has_ended_in_shadow_gets_no_new_server(hub: Hub, accounts: PrivateAccounts) -> None:
    """PAM's account check is asked again at the spawn; the hub then wants a login, and that is refused as well."""
    session = hub.login("eve", PASSWORD)
    write(accounts, eve=18000)
    answer = hub.api("POST", "users/eve/server")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")
    assert answer.json["message"] == f"account: account 'eve': it has ended. {ADVICE}"
    limit = time.monotonic() + 20
    while (page := session.get("/hub/home", redirects=False)).status != 302 and time.monotonic() < limit:
        time.sleep(0.2)
    assert page.status == 302
    assert refused(hub, "eve") == (403, "Invalid username or password")


PROOFS = {
    "a good account": ({}, "account required pam_unix.so", "good"),
    "the end in shadow": ({"ann": 18000}, "account required pam_unix.so", "Refusal"),
    "a closed door": ({}, "account required pam_deny.so", "NotNow"),
    "no such module": ({}, "account required pam_there_is_no_such_module.so", "DirectoryUnavailable"),
}


@pytest.mark.parametrize(("ends", "service", "expected"), PROOFS.values(), ids=PROOFS)
def test_only_the_end_of_an_account_proves_its_end(
    accounts: PrivateAccounts, ends: dict[str, int], service: str, expected: str
) -> None:
    """What ends running servers is told apart from what only keeps somebody out for now."""
    write(accounts, **ends)
    path = accounts.folder / "pam.d" / "asked"
    path.write_text(f"auth required pam_deny.so\n{service}\n")
    try:
        assert accounts.run(f"SERVICE = 'asked'\n{ASKED}").strip() == expected
    finally:
        path.unlink()
        write(accounts)


def test_a_broken_pam_service_proves_nothing(hub: Hub, accounts: PrivateAccounts) -> None:
    """A service that cannot be asked refuses the new spawn as unreachable and ends no session."""
    session = hub.login("ann", PASSWORD)
    service = accounts.folder / "pam.d" / "notebooks"
    good = service.read_text()
    service.write_text("auth required pam_unix.so\naccount required pam_there_is_no_such_module.so\n")
    try:
        answer = hub.api("POST", "users/ann/server")
        assert answer.status == 403
        assert "cannot be looked up now" in answer.json["message"]
        limit = time.monotonic() + 20
        while "refresh of user=ann without the account directory" not in hub.log_text():
            assert session.get("/hub/home", redirects=False).status == 200
            assert time.monotonic() < limit
            time.sleep(0.2)
    finally:
        service.write_text(good)


def test_an_account_that_is_gone_keeps_its_session_but_gets_no_server(hub: Hub, accounts: PrivateAccounts) -> None:
    """NSS cannot tell an account that is gone from a directory server that is down: a spawn is refused, no more."""
    session = hub.login("ann", PASSWORD)
    accounts.write("passwd", PASSWD[0])
    answer = hub.api("POST", "users/ann/server")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")
    assert "this site has no such account" in answer.json["message"]
    begin = len(hub.log_text())
    limit = time.monotonic() + 20
    while "Refreshing auth for ann" not in hub.log_text()[begin:]:
        assert time.monotonic() < limit
        time.sleep(0.2)
        assert session.get("/hub/home", redirects=False).status == 200
    assert session.get("/hub/home", redirects=False).status == 200
