"""Logins and identities on a real hub."""

from __future__ import annotations

import html
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from argon2 import PasswordHasher

from tests.components.hub import (
    Answer,
    Hub,
    HubDied,
    LoginRefused,
    Session,
    run_cell,
    running_hub,
    start_server,
    stop_server,
)
from tests.components.need import need

PASSWORD = "correct horse battery"
ADVICE = "What you can do: ask the support desk, with this sentence, unless it says what else to do."
WRONG = "a wrong staple"
_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
GROUPS = "groups: {users: 61000, atlas: 61100, system: 900, Domain Users: 61200}\naccounts:\n"
ACCOUNTS = {
    "ada": "uid: 62001, group: users, groups: [atlas, Domain Users]",
    "ben": "uid: 62002, group: users",
    "eve": "uid: 62003, group: users",
    "old": 'uid: 62004, group: users, valid_until: "2020-06-30T00:00+02:00"',
    "zero": "uid: 0, group: users",
    "root": "uid: 62005, group: users",
    "low": "uid: 500, group: users",
    "sys": "uid: 62006, group: users, groups: [system]",
    "blocked": "uid: 62007, group: users",
    "mal": "uid: 62008, group: users",
    "mad": "uid: 62010, group: users",
}
IDENTITY = {
    "name": "ada",
    "uid": 62001,
    "gid": 61000,
    "groups": {"users": 61000, "atlas": 61100},
    "primary_group": "users",
    "home": "/home/ada",
    "shell": "/bin/bash",
    "provider": None,
    "unnamed_gids": [61200],
}
CONFIG = """
import time
from pathlib import Path
from jupyterhub.spawner import SimpleLocalProcessSpawner
from nbplatform_spawners.auth.file import FileAuthenticator
from nbplatform_spawners.auth.throttle import Limits
from nbplatform_spawners.accounts.directory import NotNow
from nbplatform_spawners.errors import DirectoryUnavailable

class FickleDirectory(FileAuthenticator):
    '''Cannot be asked while TOP/down exists, silent while TOP/hung exists, closed while TOP/closed exists.

    What it cannot say of an account that is called "mad" is a defect of its own.
    '''

    login_limits = Limits(free_per_address=10_000, longest=2)  # all tests come from one address

    def look_up(self, name):
        if Path("TOP/down").exists():
            raise DirectoryUnavailable("connection refused")
        while Path("TOP/hung").exists():
            time.sleep(0.05)
        if Path("TOP/closed").exists():
            raise NotNow("account", "nobody may use this site now")
        if name == "mad" and Path("TOP/mad").exists():
            raise LookupError("a defect of the directory")
        return super().look_up(name)

    def identity_provider(self, auth_model):
        return "edugain" if auth_model["name"] == "eve" else None

def keep_a_token(authenticator, handler, auth_model):
    auth_model["auth_state"] = {"token": "kept"}
    return auth_model

class DiesAtStart(SimpleLocalProcessSpawner):
    '''Starts nothing where the server is called "dies".'''

    async def start(self):
        if self.name == "dies":
            raise RuntimeError("dies at start, as it is told")
        return await super().start()

c.JupyterHub.authenticator_class = FickleDirectory
c.JupyterHub.spawner_class = DiesAtStart
c.JupyterHub.allow_named_servers = True
c.JupyterHub.log_level = "DEBUG"
c.Spawner.args = ["--allow-root"]
c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
c.Authenticator.post_auth_hook = keep_a_token
c.Authenticator.auth_refresh_age = 1
c.Authenticator.admin_users = {"ben"}
c.Authenticator.blocked_users = {"blocked"}
c.IdentityMixin.accounts = "TOP/accounts.yaml"
c.IdentityMixin.directory_timeout = 1
c.IdentityMixin.account_check_interval = 1
"""


def write_accounts(top: Path, **changes: str | None) -> None:
    """Write the accounts file as an editor does; ``changes`` are other entries, None takes one out."""
    entries = {name: text for name, text in {**ACCOUNTS, **changes}.items() if text is not None}
    lines = [f'  {name}: {{{text}, password: "{_HASH}"}}\n' for name, text in entries.items()]
    lines.append("  fed: {uid: 62009, group: users, federated: [{provider: edugain, subject: s}]}\n")
    new = top / "accounts.tmp"
    new.write_text(GROUPS + "".join(lines))
    new.replace(top / "accounts.yaml")


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """The folder of the accounts."""
    folder = Path(tempfile.mkdtemp(prefix="nbp-auth-"))
    write_accounts(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def started(top: Path) -> Iterator[Hub]:
    """The module's hub."""
    with need(running_hub(CONFIG.replace("TOP", str(top)))) as hub:
        yield hub


@pytest.fixture
def hub(started: Hub, top: Path) -> Iterator[Hub]:
    """The module's hub; the accounts, the directory and the users are put back."""
    yield started
    for trouble in ("down", "hung", "closed", "mad"):
        (top / trouble).unlink(missing_ok=True)
    write_accounts(top)
    for user in started.api("GET", "users").json:
        for name in user["servers"]:
            stop_server(started, user["name"], name)
        started.api("DELETE", f"users/{user['name']}")


def identity(hub: Hub, name: str) -> Any:
    """The stored identity of a user."""
    return (hub.api("GET", f"users/{name}").json["auth_state"] or {}).get("identity")


def refused(hub: Hub, name: str, password: str = PASSWORD) -> Answer:
    """The page of a login that must be refused."""
    with pytest.raises(LoginRefused) as caught:
        hub.login(name, password)
    return caught.value.answer


def sentence(page: Answer) -> str:
    """What a login page says."""
    found = re.search(r"<p[^>]*login_error[^>]*>(.*?)</p>", page.text, re.DOTALL)
    return html.unescape(found[1]).strip() if found else ""


def until_refreshed(session: Session, path: str, status: int) -> Answer:
    """Get a page until it answers with a status; a user is refreshed when the last time is a second ago."""
    limit = time.monotonic() + 20
    while (answer := session.get(path, redirects=False)).status != status and time.monotonic() < limit:
        time.sleep(0.2)
    return answer


# Logins


def test_a_login_stores_the_identity(hub: Hub) -> None:
    """auth_state holds the identity's plain dict, whole, beside what others keep there."""
    hub.login("ada", PASSWORD)
    state = hub.api("GET", "users/ada").json["auth_state"]
    assert abs(datetime.fromisoformat(state.pop("identity_as_of")) - datetime.now(UTC)) < timedelta(minutes=5)
    assert state == {"token": "kept", "identity": IDENTITY, "valid_until": None}


def test_a_login_in_capitals_is_the_same_user(hub: Hub) -> None:
    """The hub lower-cases names; the accounts file is looked up so, too."""
    hub.login("ADA", PASSWORD)
    assert identity(hub, "ada") == IDENTITY


def test_wrong_password_unknown_user_and_no_password_look_the_same(hub: Hub) -> None:
    """Status and page are equal but for the name and the page's own tokens."""
    pages = {name: refused(hub, name, WRONG) for name in ("ada", "nobody", "fed", "old", "zero")}
    own = r'_xsrf=[^"]*|name="_xsrf" value="[^"]*"|xsrf_token: "[^"]*"|value="(ada|nobody|fed|old|zero)"'
    masked = {re.sub(own, "", page.text) for page in pages.values()}
    assert {page.status for page in pages.values()} == {403}
    assert {sentence(page) for page in pages.values()} == {"Invalid username or password"}
    assert len(masked) == 1


REFUSED = {
    "old": "Account 'old': it ended on 2020-06-30T00:00+02:00",
    "zero": "Account 'zero': the uid, '0', is not a number from 1 to 4294967294",
    "root": "Account 'root': this user name is not allowed here",
    "low": "Account 'low': the uid, 500, is outside the allowed range 1000 to 4294967294",
    "sys": "Account 'sys': the gid of group system, 900, is outside the allowed range 1000 to 4294967294",
}


@pytest.mark.parametrize("name", REFUSED)
def test_who_may_not_come_in_is_told_why(hub: Hub, name: str) -> None:
    """After the right password the login page shows the sentence, the log has it in one line; no user is made."""
    before = hub.log_text().count(f"login refused user='{name}'")
    page = refused(hub, name)
    assert (page.status, sentence(page)) == (403, f"{REFUSED[name]}. {ADVICE}")
    assert hub.log_text().count(f"login refused user='{name}' from=127.0.0.1 reason=") == before + 1
    assert hub.api("GET", f"users/{name}").status == 404


HOSTILE = {
    "up": "../x",
    "a dot": ".",
    "a line break": "a\nb",
    "300 characters": "a" * 300,
    "a look-alike": "\u0430da",
    "the Kelvin sign": "\u212aim",
    "a NUL": "a\0b",
    "markup": "<script>alert(1)</script>",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_a_wrong_password(hub: Hub, name: str) -> None:
    """Neither an error page nor a user, and nothing of it raw on the page or over several lines of the log."""
    begin = len(hub.log_text())
    page = refused(hub, name)
    assert page.status in (400, 403)  # tornado itself refuses some control characters
    assert "<script>alert" not in page.text
    assert "Traceback" not in hub.log_text()[begin:]
    assert "a" * 100 not in hub.log_text()[begin:]


@pytest.mark.parametrize("form", [{}, {"username": "ada"}, {"password": PASSWORD}, {"username": "", "password": "x"}])
def test_a_form_without_name_or_password_is_a_bad_request(hub: Hub, form: dict[str, str]) -> None:
    """With a sentence, where JupyterHub alone shows an internal error."""
    session = hub.visit()
    session.get("/hub/login")
    page = session.post("/hub/login", form)
    assert (page.status, sentence(page)) == (400, "A user name and a password are expected")


def test_blocked_and_admin_users_hold(hub: Hub) -> None:
    """The hub's own settings stand beside the accounts file."""
    assert sentence(refused(hub, "blocked")) == "Invalid username or password"
    hub.login("ben", PASSWORD)
    assert hub.api("GET", "users/ben").json["admin"] is True


def test_no_password_is_ever_logged(hub: Hub) -> None:
    """Neither the right one nor a wrong one nor a hash, at debug level."""
    hub.login("ada", PASSWORD)
    refused(hub, "ada", WRONG)
    refused(hub, "old", PASSWORD)
    log = hub.log_text()
    assert "Failed login for 'ada'" in log
    for planted in (PASSWORD, PASSWORD.replace(" ", "+"), WRONG, WRONG.replace(" ", "+"), "argon2id"):
        assert planted not in log


def test_failed_logins_are_slowed_down_and_bounded(hub: Hub) -> None:
    """After a few failures a login waits; of those that wait at once, too many are refused with the reason."""
    for _ in range(5):
        refused(hub, "mal", WRONG)
    assert "login of user='mal' from=127.0.0.1 waits 0.5 s" in hub.log_text()
    with ThreadPoolExecutor(12) as pool:
        pages = list(pool.map(lambda _: refused(hub, "mal", WRONG), range(12)))
    assert {page.status for page in pages} == {403, 429}
    busy = next(page for page in pages if page.status == 429)
    assert sentence(busy) == "Too many logins at once; try again in a few seconds"
    hub.login("mal", PASSWORD)


def test_the_address_of_a_login_cannot_be_forged(hub: Hub) -> None:
    """What is logged and slowed down is the address that the hub's own proxy saw, not what a header claims."""
    forged = {"X-Forwarded-For": "192.0.2.66", "X-Real-Ip": "192.0.2.66", "Sec-Fetch-Mode": "navigate"}
    begin = len(hub.log_text())
    with requests.Session() as browser:
        browser.trust_env = False
        browser.headers.update(forged)
        browser.get(f"{hub.url}/hub/login", timeout=60)
        form = {"username": "old", "password": PASSWORD, "_xsrf": browser.cookies["_xsrf"]}
        answer = browser.post(f"{hub.url}/hub/login", data=form, timeout=60)
    assert answer.status_code == 403
    assert "login refused user='old' from=127.0.0.1 " in hub.log_text()[begin:]


NEXT = {
    "a page of the hub": ("/hub/token", "/hub/token"),
    "another host": ("https://evil.example/x", None),
    "another host without scheme": ("//evil.example/x", None),
    "three slashes": ("///evil.example/x", None),
    "backslashes": ("\\\\evil.example/x", None),
    "a slash and a backslash": ("/\\evil.example", None),
    "a script": ("javascript:alert(1)", None),
    "a name and a host": ("https://127.0.0.1@evil.example/", None),
}


@pytest.mark.parametrize(("target", "expected"), NEXT.values(), ids=NEXT)
def test_a_login_leads_nowhere_else(hub: Hub, target: str, expected: str | None) -> None:
    """``next`` is followed within the hub alone."""
    session = hub.visit()
    session.get("/hub/login")
    query = quote(target, safe="")
    form = {"username": "ada", "password": PASSWORD}
    answer = session.post(f"/hub/login?next={query}", form, redirects=False)
    assert answer.status == 302
    place = answer.headers["Location"]
    assert place.startswith("/")
    assert not place.startswith(("//", "/\\"))
    assert "evil" not in place.partition("?")[0].replace("%5C", "")[:2]
    assert expected is None or place == expected


AUTH_BODIES = {
    "a wrong password": {"username": "ada", "password": WRONG},
    "an unknown user": {"username": "nobody", "password": WRONG},
    "an ended account": {"username": "old", "password": PASSWORD},
    "no password": {"username": "ada"},
    "numbers": {"username": 1, "password": 2},
    "a list": ["ada", PASSWORD],
    "text": "ada",
    "nothing": None,
}


@pytest.mark.parametrize("auth", AUTH_BODIES.values(), ids=AUTH_BODIES)
def test_a_token_by_password_is_refused_alike(hub: Hub, auth: object) -> None:
    """The API's way to log in gives the same bare answer to all who may not, and no trace in the log."""
    hub.login("ada", PASSWORD)
    begin = len(hub.log_text())
    answer = hub.api("POST", "users/ada/tokens", json={"auth": auth}, token="none")
    assert answer.status == 403
    assert answer.json == {"status": 403, "message": None}
    assert "Error authenticating" not in hub.log_text()[begin:]


# Spawns


def spawn(hub: Hub, name: str) -> Answer:
    """Start a server that dies at start, after the authenticator was asked."""
    return hub.api("POST", f"users/{name}/servers/dies")


def test_a_user_made_over_the_api_is_looked_up(hub: Hub) -> None:
    """Who never logged in has no auth_state: the directory is asked at the spawn, and the identity stored."""
    hub.api("POST", "users/ada")
    assert hub.api("GET", "users/ada").json["auth_state"] is None
    spawn(hub, "ada")
    assert identity(hub, "ada") == IDENTITY


def test_an_unknown_user_made_over_the_api_gets_no_server(hub: Hub) -> None:
    """The refusal has label and sentence."""
    hub.api("POST", "users/stranger")
    answer = spawn(hub, "stranger")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")
    assert "account 'stranger': this site has no such account" in answer.json["message"]


@pytest.mark.parametrize("name", ["root", "%2E%2E", "a%0Ab", "%D0%B0da", "a" * 300, "-x"])
def test_a_hostile_user_cannot_be_made_over_the_api(hub: Hub, name: str) -> None:
    """The hub takes no such name in."""
    before = [user["name"] for user in hub.api("GET", "users").json]
    assert hub.api("POST", f"users/{name}").status in (400, 404, 405)
    assert [user["name"] for user in hub.api("GET", "users").json] == before


def test_a_group_change_acts_at_the_next_spawn(hub: Hub, top: Path) -> None:
    """The directory is asked afresh; provider and whatever else auth_state holds stay."""
    hub.login("eve", PASSWORD)
    write_accounts(top, eve="uid: 62003, group: users, groups: [atlas]")
    spawn(hub, "eve")
    state = hub.api("GET", "users/eve").json["auth_state"]
    assert state["identity"]["groups"] == {"users": 61000, "atlas": 61100}
    assert state["identity"]["provider"] == "edugain"
    assert state["token"] == "kept"


CHANGES = {
    "ended": ("uid: 62001, group: users, valid_until: 2020-06-30T00:00Z", "it ended on 2020-06-30T00:00+00:00"),
    "gone": (None, "this site has no such account"),
    "uid 0": ("uid: 0, group: users", "the uid"),
    "out of range": ("uid: 501, group: users", "the uid, 501, is outside the allowed range"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_an_account_that_is_no_longer_good_gets_no_new_server(
    hub: Hub, top: Path, change: str | None, message: str
) -> None:
    """Though its identity is stored: page and API say the sentence."""
    hub.login("ada", PASSWORD)
    write_accounts(top, ada=change)
    answer = spawn(hub, "ada")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")
    assert message in answer.json["message"]


# A directory that cannot be asked


@pytest.mark.parametrize("trouble", ["down", "hung"])
def test_an_unreachable_directory_refuses_what_is_new_and_touches_nothing_else(
    hub: Hub, top: Path, trouble: str
) -> None:
    """Logins and new spawns are refused with the reason; who is logged in stays so, a running server runs on."""
    session = hub.login("ada", PASSWORD)
    assert start_server(hub, "ada")[-1].get("ready")
    (top / trouble).touch()
    page = refused(hub, "ben")
    said = "the accounts of this site cannot be looked up now; try again in a few minutes"
    assert (page.status, sentence(page).lower()) == (503, said)
    answer = spawn(hub, "ada")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")
    assert said in answer.json["message"]
    limit = time.monotonic() + 20
    while "refresh of user=ada without the account directory" not in hub.log_text():
        assert session.get("/hub/home", redirects=False).status == 200
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert session.get("/hub/home", redirects=False).status == 200
    hub.wait_for_log(r"account check: no answer about 1 of 1 users, their servers run on: ")
    assert hub.api("GET", "users/ada").json["servers"][""]["ready"]
    assert run_cell(hub, "ada", "print(6 * 7)") == "42\n"


def test_a_vanished_accounts_file_refuses_what_is_new_and_touches_nothing_else(hub: Hub, top: Path) -> None:
    """It is no "everybody is gone" and no "all as before": as any directory that cannot be asked; said once."""
    assert server_of(hub, "ben")["ready"]
    begin = len(hub.log_text())
    (top / "accounts.yaml").unlink()
    answer = spawn(hub, "ben")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")
    assert "the accounts of this site cannot be looked up now" in answer.json["message"]
    assert refused(hub, "ada").status == 503
    two_rounds(hub)
    assert run_cell(hub, "ben", "print(6 * 7)") == "42\n"
    write_accounts(top)
    hub.login("ada", PASSWORD)
    spawn(hub, "ada")
    assert identity(hub, "ada") == IDENTITY
    two_rounds(hub)
    assert hub.api("GET", "users/ben").json["servers"][""]["ready"]
    log = hub.log_text()[begin:]
    assert len(re.findall(r"accounts file \S+ cannot be read: No such file or directory; no logins", log)) == 1
    assert len(re.findall(r"accounts file \S+ can be read again", log)) == 1


def test_a_group_without_a_safe_name_is_logged_once(hub: Hub) -> None:
    """However often its members log in."""
    for _ in range(2):
        hub.login("ada", PASSWORD)
    assert hub.log_text().count("group 'Domain Users' has no safe name: its members keep gid 61200") == 1


# While a server runs


def server_of(hub: Hub, name: str, server: str = "") -> dict[str, Any]:
    """Start somebody's server; what the hub says of it."""
    hub.api("POST", f"users/{name}")
    assert start_server(hub, name, server_name=server)[-1].get("ready")
    found: dict[str, Any] = hub.api("GET", f"users/{name}").json["servers"][server]
    return found


def two_rounds(hub: Hub) -> None:
    """Wait for the end of two account checks, the second of which began after this moment."""
    begin = len(hub.log_text())
    limit = time.monotonic() + 30
    while hub.log_text()[begin:].count("account check: asked about") < 2:
        assert time.monotonic() < limit
        time.sleep(0.1)


def runs(server: dict[str, Any]) -> bool:
    """Whether a server's process is there."""
    stat = Path(f"/proc/{server['state']['pid']}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_account_that_ends_loses_its_running_servers(hub: Hub, top: Path) -> None:
    """Ended, gone or out of range: process, route and record go, named servers too.  Everybody else's stay."""
    begin = len(hub.log_text())
    wanted = [("ada", ""), ("ada", "second"), ("eve", ""), ("mal", ""), ("ben", ""), ("mad", "")]
    servers = {key: server_of(hub, *key) for key in wanted}
    (top / "mad").touch()
    write_accounts(top, ada=CHANGES["ended"][0], eve=CHANGES["gone"][0], mal="uid: 501, group: users")
    limit = time.monotonic() + 60
    while any(hub.api("GET", f"users/{name}").json["servers"] for name in ("ada", "eve", "mal")):
        assert time.monotonic() < limit
        time.sleep(0.2)
    two_rounds(hub)
    assert [key for key, server in servers.items() if runs(server)] == [("ben", ""), ("mad", "")]
    assert run_cell(hub, "ben", "print(6 * 7)") == "42\n"
    log = hub.log_text()[begin:]
    told = re.findall(r"user=(\w+) server='(\w*)' is stopped: account '\w+': (it ended|this site|the uid)", log)
    reasons = {"ada": "it ended", "eve": "this site", "mal": "the uid"}
    assert sorted(told) == sorted((name, server, reasons[name]) for name, server in wanted if name in reasons)
    assert "account check of user=mad failed: \"LookupError('a defect of the directory')\"" in log
    assert "its stop met an error" not in log
    assert "Traceback" not in log
    for name, server in wanted[:4]:
        assert f"Removing user {name} from proxy (/user/{name}/{server}" in log


def test_a_closed_door_stops_no_server(hub: Hub, top: Path) -> None:
    """Who may not come in now (maintenance, a password to be changed) has not ended: no new server, but the old one."""
    server = server_of(hub, "ben")
    (top / "closed").touch()
    assert spawn(hub, "ben").status == 403
    two_rounds(hub)
    assert runs(server)
    assert hub.api("GET", "users/ben").json["servers"][""]["ready"]


def test_a_broken_accounts_file_locks_nobody_out(hub: Hub, top: Path) -> None:
    """What it said before holds on, and the log says what is wrong."""
    (top / "accounts.yaml").write_text("accounts: {")
    hub.login("ada", PASSWORD)
    spawn(hub, "ada")
    assert identity(hub, "ada") == IDENTITY
    hub.wait_for_log(r"ERROR|\[E .*accounts file .* is bad: .*not valid YAML")


# While somebody is logged in


@pytest.mark.parametrize("change", [CHANGES["ended"][0], CHANGES["gone"][0]], ids=["ended", "gone"])
def test_an_account_that_ends_loses_its_session(hub: Hub, top: Path, change: str | None) -> None:
    """At the next refresh the hub asks for a login, which is refused with the reason; without a trace in the log."""
    begin = len(hub.log_text())
    session = hub.login("ada", PASSWORD)
    write_accounts(top, ada=change)
    answer = until_refreshed(session, "/hub/home", 302)
    assert answer.status == 302
    assert "/hub/login" in answer.headers["Location"]
    assert "Traceback" not in hub.log_text()[begin:]


def test_a_group_change_reaches_the_stored_identity_at_the_refresh(hub: Hub, top: Path) -> None:
    """So that the spawn page shows what the next spawn decides on."""
    session = hub.login("ada", PASSWORD)
    write_accounts(top, ada="uid: 62001, group: users")
    limit = time.monotonic() + 20
    while identity(hub, "ada")["groups"] != {"users": 61000} and time.monotonic() < limit:
        time.sleep(0.2)
        assert session.get("/hub/home").status == 200
    assert identity(hub, "ada")["groups"] == {"users": 61000}


# Starting, and other authenticators

START = """
c.JupyterHub.authenticator_class = "nbplatform-file"
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "TOP/home-of-{username}"
c.Spawner.args = ["--allow-root"]
c.FileAuthenticator.accounts = "TOP/accounts.yaml"
"""
BAD_RULES = """
from jupyterhub.spawner import SimpleLocalProcessSpawner
from nbplatform_spawners.errors import BadFile, Mistake
class HasBadRules(SimpleLocalProcessSpawner):
    @classmethod
    def check_configuration(cls, config):
        raise BadFile([Mistake("a.yaml", 3, "unknown key"), Mistake("b.yaml", 1, "no profile")])
c.JupyterHub.spawner_class = HasBadRules
"""
STOPPED = {
    "a bad accounts file": (
        'c.FileAuthenticator.accounts = "TOP/bad.yaml"',
        ["bad.yaml:1: the accounts file: unknown key 'acounts', did you mean 'accounts'?", "bad.yaml:2: account 'a'"],
    ),
    "no accounts file": ('c.FileAuthenticator.accounts = "TOP/none.yaml"', ["none.yaml cannot be read: No such file"]),
    "no setting": ('c.FileAuthenticator.accounts = ""', ["c.FileAuthenticator.accounts is not set"]),
    "a wrong word": ('c.FileAuthenticator.accounts = "ldap"', ["accounts 'ldap' is neither 'nss' nor the path of"]),
    "no file": ('c.FileAuthenticator.accounts = "nss"', ["is 'nss'; it must be the path of a .yaml file"]),
    "bad rules": (BAD_RULES, ["a.yaml:3: unknown key", "b.yaml:1: no profile"]),
    "a wrong setting of the spawner": (
        'c.JupyterHub.spawner_class = "nbplatform-local"\nc.NbplatformSpawner.speedups = ["kernel_nodelay"]',
        ["The 'speedups' trait", "'kernel_nodelay'"],
    ),
    "no key": (
        "import os; os.environ.pop('JUPYTERHUB_CRYPT_KEY')",
        ["openssl rand -hex 32", "auth_state is enabled, but encryption is not available"],
    ),
}


@pytest.mark.parametrize(("config", "expected"), STOPPED.values(), ids=STOPPED)
def test_a_bad_configuration_stops_the_start(tmp_path: Path, config: str, expected: list[str]) -> None:
    """With every mistake, exit status 1 and no trace; the missing key with how to make one."""
    write_accounts(tmp_path)
    (tmp_path / "bad.yaml").write_text("acounts: {}\naccounts: {a: {uid: 5}}\n")
    with pytest.raises(HubDied) as caught, need(running_hub((START + config).replace("TOP", str(tmp_path)))):
        pass
    said = str(caught.value)
    assert "ended at start with code 1:" in said
    assert "Traceback" not in said
    assert not [line for line in expected if line not in said]


ANOTHER = """
from jupyterhub.auth import DummyAuthenticator
from nbplatform_spawners.auth.mixin import IdentityMixin

class ForgetsAtRefresh(DummyAuthenticator):
    '''Rebuilds auth_state at each refresh, as OAuthenticator does: what was added at login is lost.'''

    async def refresh_user(self, user, handler=None):
        return {"name": user.name, "auth_state": {"refreshed": True}}

class SiteAuthenticator(IdentityMixin, ForgetsAtRefresh):
    def identity_provider(self, auth_model):
        return "edugain"

c.JupyterHub.authenticator_class = SiteAuthenticator
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "TOP/home-of-{username}"
c.Authenticator.auth_refresh_age = 1
c.Authenticator.allow_all = True
c.SiteAuthenticator.accounts = "TOP/accounts.yaml"
"""


def test_the_mixin_gives_identities_to_any_other_authenticator(tmp_path: Path) -> None:
    """The identity is there after the login and after a refresh that rebuilds auth_state; the unknown are refused."""
    write_accounts(tmp_path)
    with need(running_hub(ANOTHER.replace("TOP", str(tmp_path)))) as hub:
        session = hub.login("ada", "any")
        expected = {**IDENTITY, "provider": "edugain"}
        assert identity(hub, "ada") == expected
        limit = time.monotonic() + 20
        while "refreshed" not in hub.api("GET", "users/ada").json["auth_state"] and time.monotonic() < limit:
            time.sleep(0.2)
            session.get("/hub/home")
        state = hub.api("GET", "users/ada").json["auth_state"]
        assert state.pop("identity_as_of")
        assert state == {"refreshed": True, "identity": expected, "valid_until": None}
        said = {
            "stranger": "Account 'stranger': this site has no such account",
            "root": REFUSED["root"],
            "\u212aim": "Account '\\u212aim': this user name is not allowed here",
        }
        for name, why in said.items():
            assert sentence(refused(hub, name, "any")) == f"{why}. {ADVICE}"


def test_a_changed_key_is_no_hindrance(tmp_path: Path) -> None:
    """What was stored with the old key cannot be read: the directory is asked, and the identity stored anew."""
    write_accounts(tmp_path)
    config = START.replace("TOP", str(tmp_path))
    with need(running_hub(config)) as hub:
        hub.login("ada", PASSWORD)
        hub.restart("import os; os.environ['JUPYTERHUB_CRYPT_KEY'] = '00' * 32\n" + config)
        assert hub.api("GET", "users/ada").json["auth_state"] is None
        hub.api("POST", "users/ada/server")
        assert identity(hub, "ada") == IDENTITY
        stop_server(hub, "ada")


def test_a_made_up_address_buys_no_guesses_and_writes_nothing_into_the_log(hub: Hub) -> None:
    """Sent straight to the hub's port, as any program of its machine can: a name's guesses are bounded all the same."""
    begin = len(hub.log_text())

    def guess(forwarded: str) -> int:
        with requests.Session() as program:
            program.trust_env = False
            program.headers.update({"Sec-Fetch-Mode": "navigate", "X-Real-Ip": "192.0.2.66"})
            program.get(f"{hub.hub_url}/hub/login", timeout=60)
            form = {"username": "mallory", "password": WRONG, "_xsrf": program.cookies["_xsrf"]}
            headers = {"X-Forwarded-For": forwarded}
            return program.post(f"{hub.hub_url}/hub/login", data=form, headers=headers, timeout=60).status_code

    for number in range(6):
        assert guess(f"9.9.9.{number} reason=ok user=root") == 403
    assert guess("fe80::1%x reason=ok user=root") == 403
    with ThreadPoolExecutor(24) as pool:
        statuses = list(pool.map(guess, (f"203.0.113.{number}" for number in range(24))))
    assert set(statuses) == {403, 429}
    log = hub.log_text()[begin:]
    assert "login of user='mallory' from=127.0.0.1 waits" in log
    assert "login of user='mallory' from=fe80::1 waits" in log
    assert "login refused user='mallory' from=203.0.113." in log
    for planted in ("user=root", "9.9.9.", "192.0.2.66 waits"):
        assert planted not in log
