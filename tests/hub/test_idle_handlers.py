"""What the hub answers the idle culler, and what it shows to users of what the culler told it."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import pytest
import requests

from tests.components.hub import Answer, Hub, running_hub, start_server, stop_server
from tests.components.need import need
from tests.hub.conftest import temporary_site
from tests.hub.site import PASSWORD, Site

SCOPES = ("list:users", "read:servers", "admin:server_state", "delete:servers", "access:servers")
"""What the culler has, and nothing more."""
TOKENS = {
    "culler": secrets.token_hex(16),
    "other": secrets.token_hex(16),
    "filtered": secrets.token_hex(16),
    "remover": secrets.token_hex(16),
    **{f"without {scope}": secrets.token_hex(16) for scope in SCOPES},
}
ROLES: dict[str, tuple[str, ...]] = {
    "culler": SCOPES,
    "other": (),
    "filtered": tuple(f"{scope}!user=ada" for scope in SCOPES),
    "remover": (*SCOPES, "read:users", "delete:users"),
    **{f"without {scope}": tuple(one for one in SCOPES if one != scope) for scope in SCOPES},
}
SECOND = "train-2"
WHY = 'a GPU server idle for 1 day <script>alert("why")</script>'


def services() -> str:
    """Configuration of every service of these tests; their names have no blanks."""
    names = {name: re.sub(r"\W", "-", name) for name in TOKENS}
    listed = [{"name": names[name], "api_token": token} for name, token in TOKENS.items()]
    roles = [{"name": f"role-{names[name]}", "services": [names[name]], "scopes": list(ROLES[name])} for name in TOKENS]
    return f"c.JupyterHub.services = {listed!r}\nc.JupyterHub.load_roles = {roles!r}\n"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The module's site; an audit file lies beside its accounts."""
    with temporary_site() as made:
        yield made


@pytest.fixture(scope="module")
def started(site: Site) -> Iterator[Hub]:
    """The module's hub, where ada and ben have a server each, and ada a second one."""
    more = services() + f"c.NbplatformSpawner.audit_file = '{site.top}/audit.json'\nc.JupyterHub.log_level = 'DEBUG'\n"
    with need(running_hub(site.config + more)) as hub:
        for user in ("ada", "ben", "eve"):
            hub.api("POST", f"users/{user}")
        assert start_server(hub, "ada")[-1].get("ready")
        assert start_server(hub, "ben")[-1].get("ready")
        assert start_server(hub, "ada", server_name=SECOND)[-1].get("ready")
        yield hub


@pytest.fixture
def hub(started: Hub) -> Iterator[Hub]:
    """The module's hub; notices are taken away again."""
    yield started
    assert tell(started).status == 200


def ask(hub: Hub, *servers: tuple[str, str], token: str = TOKENS["culler"]) -> Any:
    """What the hub answers about some servers."""
    answer = hub.api("POST", "nbplatform/ask", json={"servers": [list(pair) for pair in servers]}, token=token)
    assert answer.status == 200, answer.text
    return answer.json["servers"]


def tell(hub: Hub, notices: Any = (), stops: Any = (), epoch: str | None = None) -> Answer:
    """Put the culler's message."""
    body = {"epoch": epoch, "notices": list(notices), "stops": list(stops)}
    return hub.api("PUT", "nbplatform/idle", json=body, token=TOKENS["culler"])


def notice(user: str = "ada", server: str = "", **changes: Any) -> dict[str, Any]:
    """A notice as the culler sends it."""
    stop_at = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="seconds")
    whole = {"user": user, "server": server, "stop_at": stop_at, "reason": "idle", "why": WHY, "extend": 21600}
    return {**whole, "extended": False, "limit": 86400, **changes}


def directly(door: dict[str, Any], path: str) -> int:
    """Status of a request to a server itself, as the culler makes it."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"token {door['token']}"}
        return session.get(door["url"] + path, headers=headers, timeout=20, allow_redirects=False).status_code


def activity(hub: Hub, user: str = "ada") -> dict[str, Any]:
    """When the hub saw a user and their server last."""
    model = hub.api("GET", f"users/{user}").json
    return {"user": model["last_activity"], "server": model["servers"][""]["last_activity"]}


# The narrow token


def test_each_server_is_asked_through_a_door_of_its_own(hub: Hub) -> None:
    """The address is the server's own, its token opens it and no other, not even its owner's second."""
    doors = ask(hub, ("ada", ""), ("ben", ""), ("ada", SECOND), ("ada", "none"), ("nobody", ""), ("ada", ""))
    assert [(door["user"], door["server"]) for door in doors] == [("ada", ""), ("ben", ""), ("ada", SECOND)]
    assert all(door["extend_asked"] is None for door in doors)
    assert not any(door["url"].startswith(hub.url) for door in doors)
    opened = [[directly({**where, "token": door["token"]}, "api/status") for where in doors] for door in doors]
    assert [[status == 200 for status in row] for row in opened] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert {status for row in opened for status in row} == {200, 403}


def test_the_token_of_one_server_reads_nothing_of_the_hub(hub: Hub) -> None:
    """It says whose it is, a service's, and no more: no users, no servers, no state, no further token."""
    (door,) = ask(hub, ("ada", ""))
    whose = hub.api("GET", "user", token=door["token"]).json
    assert (whose["kind"], whose["name"], whose["scopes"][0]) == ("service", "culler", "access:servers!server=ada/")
    for method, path in [
        ("GET", "users"),
        ("GET", "users/ada"),
        ("DELETE", "users/ada/server"),
        ("POST", "users/ben/server"),
        ("POST", "users/ada/tokens"),
        ("POST", "nbplatform/ask"),
        ("PUT", "nbplatform/idle"),
        ("GET", "proxy"),
    ]:
        body = {"servers": [["ada", ""]]} if path == "nbplatform/ask" else {}
        assert hub.api(method, path, json=body, token=door["token"]).status in (403, 404), (method, path)
    assert hub.api("GET", "users/ada").json["servers"][""]["ready"]


def test_asking_is_no_activity_of_the_user(hub: Hub) -> None:
    """Neither the question at the hub nor the request to the server moves what the hub knows of the user."""
    before = activity(hub)
    (door,) = ask(hub, ("ada", ""))
    assert directly(door, "api/status?no_track_activity=1") == 200
    assert activity(hub) == before


def test_tokens_are_never_logged(hub: Hub) -> None:
    """Not even in the log of everything."""
    doors = ask(hub, ("ada", ""), ("ben", ""))
    assert [directly(door, "api/status") for door in doors] == [200, 200]
    log = hub.log_text()
    assert not [door["user"] for door in doors if door["token"] in log]


def door_tokens(hub: Hub) -> list[str]:
    """Notes of the tokens for one server that are in the hub's database."""
    with sqlite3.connect(f"file:{hub.db_path}?mode=ro", uri=True) as db:
        found = db.execute("select note from api_tokens where note like 'nbplatform asks %' order by id")
        return [note for (note,) in found]


def test_expired_tokens_go_with_the_next_question(hub: Hub) -> None:
    """The hub itself looks once an hour: a pass every five minutes would leave thousands."""
    ask(hub, ("ada", ""), ("ben", ""))
    with sqlite3.connect(hub.db_path, timeout=20) as db:
        db.execute("update api_tokens set expires_at = '2020-01-01 00:00:00' where note like 'nbplatform asks %'")
    ask(hub, ("ben", ""))
    assert door_tokens(hub) == ["nbplatform asks the server at /user/ben/"]


def test_a_token_dies_with_its_server(hub: Hub) -> None:
    """Whoever gets the port of a stopped server may be shown its token: it must open nothing any more."""
    assert start_server(hub, "eve")[-1].get("ready")
    (door,) = ask(hub, ("eve", ""))
    stop_server(hub, "eve")
    assert hub.api("GET", "user", token=door["token"]).status == 403


# Who may ask, and what

PUTS = [("POST", "nbplatform/ask", {"servers": [["ada", ""]]}), ("PUT", "nbplatform/idle", {"epoch": None})]


@pytest.mark.parametrize(("method", "path", "body"), PUTS, ids=[path for _, path, _ in PUTS])
def test_only_a_service_with_the_whole_scope_is_answered(hub: Hub, method: str, path: str, body: Any) -> None:
    """Not a service with the scope for one user, a user's own token, an administrator's, or a page of theirs."""
    own = hub.api("POST", "users/ada/tokens", json={"expires_in": 600}).json["token"]
    admins = hub.api("POST", "users/eve/tokens", json={"expires_in": 600}).json["token"]
    for token in (TOKENS["other"], TOKENS["filtered"], own, admins, "wrong"):
        answer = hub.api(method, path, json=body, token=token)
        assert answer.status == 403, answer.text
        assert 'token":' not in answer.text
    page = hub.login("eve", PASSWORD)
    assert page.script(method, f"/hub/api/{path}", json=body).status == 403  # with the page's own proof
    with requests.Session() as forged:
        forged.trust_env = False
        headers = {"Cookie": page.cookies("/hub/home"), "Content-Type": "application/json"}
        assert forged.request(method, f"{hub.url}/hub/api/{path}", json=body, headers=headers).status_code == 403
    assert hub.visit().script(method, f"/hub/api/{path}", json=body).status == 403


NONSENSE = {
    "nothing": ("nbplatform/ask", None, "servers must be a list"),
    "no object": ("nbplatform/ask", [1], "servers must be a list"),
    "too many": ("nbplatform/ask", {"servers": [["a", ""]] * 101}, "at most 100"),
    "no pair": ("nbplatform/ask", {"servers": [["a"]]}, "a list of two texts"),
    "no name": ("nbplatform/ask", {"servers": [["", ""]]}, "user must be a text"),
    "a long name": ("nbplatform/ask", {"servers": [["ada", "x" * 256]]}, "server must be a text"),
    "a body that is none": ("nbplatform/idle", None, "the body must be an object"),
    "a time that is none": ("nbplatform/idle", {"notices": [notice(stop_at="soon")]}, "stop_at must be an ISO 8601"),
}


@pytest.mark.parametrize(("path", "body", "sentence"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused_in_one_sentence(hub: Hub, path: str, body: Any, sentence: str) -> None:
    """With status 400, and nothing of it is taken over."""
    method = "POST" if path.endswith("ask") else "PUT"
    answer = hub.api(method, path, json=body, token=TOKENS["culler"])
    assert answer.status == 400
    assert sentence in answer.json["message"]


def test_the_culler_hears_when_the_board_is_another(hub: Hub) -> None:
    """A new board is random at each start of the hub; who names it is known."""
    first = tell(hub).json
    assert first["known"] is False
    again = tell(hub, epoch=first["epoch"]).json
    assert again == {"epoch": first["epoch"], "known": True}
    assert tell(hub, epoch="of yesterday").json["known"] is False


# The culler's scopes


def what_works(hub: Hub, token: str, user: str) -> set[str]:
    """Which of the culler's needs a token fulfils; ``user`` has a running server, which may be stopped."""
    works = set()
    listed = hub.api("GET", "users?state=ready", token=token)
    if listed.status == 200:
        works.add("list")
    models = [model for model in listed.json if model.get("name") == user] if listed.status == 200 else []
    model = models[0] if models else {}
    if {"name", "state", "last_activity", "started", "ready"} <= set(model.get("servers", {}).get("", {})):
        works.add("state of all")
    one = hub.api("GET", f"users/{user}", token=token)
    if one.status == 200 and {"last_activity", "started"} <= set(one.json.get("servers", {}).get("", {})):
        works.add("one user")
    if hub.api("POST", "nbplatform/ask", json={"servers": [[user, ""]]}, token=token).status == 200:
        works.add("ask")
    if hub.api("PUT", "nbplatform/idle", json={}, token=token).status == 200:
        works.add("tell")
    if hub.api("DELETE", f"users/{user}/server", token=token).status in (202, 204):
        works.add("stop")
    return works


ALL = {"list", "state of all", "one user", "ask", "tell", "stop"}
MISSING = {
    "list:users": {"list", "state of all"},
    "read:servers": {"state of all", "one user"},
    "admin:server_state": {"state of all"},
    "delete:servers": {"tell", "stop"},
    "access:servers": {"ask"},
}
"""What does not work without each scope."""


def test_the_cullers_scopes_are_enough_and_none_is_too_many(hub: Hub) -> None:
    """With all of them it does all its work; without any one of them something it needs is refused."""
    assert start_server(hub, "eve")[-1].get("ready")
    for scope, broken in MISSING.items():
        assert what_works(hub, TOKENS[f"without {scope}"], "eve") == ALL - broken, scope
        if "stop" not in broken:
            stop_server(hub, "eve")
            assert start_server(hub, "eve")[-1].get("ready")
    assert what_works(hub, TOKENS["culler"], "eve") == ALL
    stop_server(hub, "eve")


def test_removing_users_needs_two_scopes_more(hub: Hub) -> None:
    """``read:users`` says when an inactive user was made and seen last, ``delete:users`` removes them."""
    hub.api("POST", "users/gone")
    needed = {"name", "admin", "created", "last_activity", "servers"}
    (plain,) = [m for m in hub.api("GET", "users?state=inactive", token=TOKENS["culler"]).json if m["name"] == "gone"]
    assert needed - set(plain) == {"created", "last_activity"}
    assert hub.api("DELETE", "users/gone", token=TOKENS["culler"]).status == 403
    (whole,) = [m for m in hub.api("GET", "users?state=inactive", token=TOKENS["remover"]).json if m["name"] == "gone"]
    assert needed <= set(whole)
    assert hub.api("DELETE", "users/gone", token=TOKENS["remover"]).status == 204


# What users see and do


def home(hub: Hub, user: str) -> str:
    """The text of somebody's home page."""
    page = hub.login(user, PASSWORD).get("/hub/home")
    assert page.status == 200
    return page.text


def test_home_says_when_a_server_will_be_stopped_and_why(hub: Hub) -> None:
    """On its owner's page alone, as text whatever it holds, with a time that scripts can read."""
    at = notice()["stop_at"]
    tell(hub, [notice(stop_at=at)])
    page = home(hub, "ada")
    assert f'<time datetime="{datetime.fromisoformat(at).isoformat()}">' in page
    assert escape(WHY, quote=False) in page.replace("&#34;", '"')
    assert "<script>alert" not in page
    assert 'action="/hub/extend-server/ada"' in page
    assert "for 6 hours more" in page
    for other in ("ben", "eve"):
        assert "will be stopped on" not in home(hub, other)


SAID = {
    "no stop is planned": (notice(stop_at=None, extend=0, why="you are not allowed it"), "About this server:", False),
    "it is overdue": (notice(stop_at="2026-01-01T00:00:00+00:00", extend=0), "It may be stopped at any moment:", False),
    "it cannot be put off": (notice(extend=0), "It will be stopped on", False),
    "it was put off": (notice(extended=True), "You have put this off; that is possible once.", False),
    "it can be put off": (notice(why="idle."), "idle. ", True),
}


@pytest.mark.parametrize(("told", "sentence", "button"), SAID.values(), ids=SAID)
def test_home_offers_only_what_can_be_done(hub: Hub, told: dict[str, Any], sentence: str, button: bool) -> None:
    """The button stands where pressing it changes something."""
    tell(hub, [told])
    page = home(hub, "ada")
    assert sentence in " ".join(page.split())
    assert ("extend-server/ada" in page) == button
    (card,) = [part for part in page.split("<li ") if 'data-server=""' in part]
    assert ('data-nbp="until"' in card) == (told["stop_at"] is None)  # the limits of the start may be others by now


def test_a_stop_is_put_off_once_by_the_form(hub: Hub) -> None:
    """Without JavaScript: the server's state says when it was asked, the culler finds it, the page says it."""
    told = notice()
    tell(hub, [told])
    session = hub.login("ada", PASSWORD)
    for _ in range(2):  # the second changes nothing and is no error
        answer = session.post("/hub/extend-server/ada", redirects=False)
        assert (answer.status, answer.headers["Location"]) == (302, "/hub/home")
    page = session.page("/hub/home")
    later = datetime.fromisoformat(told["stop_at"]) + timedelta(seconds=21600)
    assert later.isoformat() in page
    assert "You have put this off" in page
    (door,) = ask(hub, ("ada", ""))
    asked = datetime.fromisoformat(door["extend_asked"])
    assert timedelta(0) <= datetime.now(UTC) - asked < timedelta(minutes=5)
    with sqlite3.connect(f"file:{hub.db_path}?mode=ro", uri=True) as db:
        assert db.execute("select count(*) from spawners where state like '%extend_asked%'").fetchone() == (1,)


def test_a_stop_is_put_off_once_over_rest(hub: Hub) -> None:
    """A script hears the new time, or that there is nothing to put off."""
    path = f"nbplatform/extend/ada/{SECOND}"
    own = hub.api("POST", "users/ada/tokens", json={"expires_in": 600}).json["token"]
    assert hub.api("POST", path, token=own).status == 409
    told = notice(server=SECOND)
    tell(hub, [told])
    answer = hub.api("POST", path, token=own)
    assert answer.status == 200
    later = datetime.fromisoformat(told["stop_at"]) + timedelta(seconds=21600)
    assert datetime.fromisoformat(answer.json["stop_at"]) == later
    again = hub.api("POST", path, token=own)
    assert (again.status, "already" in again.json["message"]) == (409, True)


def test_a_page_of_the_hub_may_put_it_off_over_rest(hub: Hub) -> None:
    """With its own proof that it is one; somebody else's page has none."""
    tell(hub, [notice("ben")])
    session = hub.login("ben", PASSWORD)
    with requests.Session() as forged:
        forged.trust_env = False
        headers = {"Cookie": session.cookies("/hub/home"), "Content-Type": "application/json"}
        address = f"{hub.url}/hub/api/nbplatform/extend/ben"
        assert forged.post(address, json={}, headers=headers).status_code == 403
    assert session.script("POST", "/hub/api/nbplatform/extend/ben", json={}).status == 200


# who asks, whether with the page's proof; the answer's status
FORMS = {
    "their own": ("ben", "/hub/extend-server/ben", True, 302),
    "an administrator": ("eve", "/hub/extend-server/ben", True, 302),
    "another user": ("ada", "/hub/extend-server/ben", True, 404),
    "forged on another page": ("ben", "/hub/extend-server/ben", False, 403),
    "no such server": ("ben", "/hub/extend-server/ben/third", True, 404),
    "no such user": ("eve", "/hub/extend-server/nobody", True, 404),
}


@pytest.mark.parametrize(("who", "path", "proof", "status"), FORMS.values(), ids=FORMS)
def test_only_who_may_use_a_server_puts_its_stop_off(hub: Hub, who: str, path: str, proof: bool, status: int) -> None:
    """As closed as the REST API; what is refused changes nothing."""
    told = notice("ben")
    tell(hub, [told])
    session = hub.login(who, PASSWORD)
    assert session.post(path, {} if proof else {"_xsrf": "forged"}, redirects=False).status == status
    assert ("You have put this off" in home(hub, "ben")) == (status == 302)


def test_a_link_puts_nothing_off(hub: Hub) -> None:
    """What is followed, or fetched ahead by a browser, changes nothing; who is not logged in is asked to."""
    tell(hub, [notice("ben")])
    assert hub.login("ben", PASSWORD).get("/hub/extend-server/ben").status == 405
    visitor = hub.visit()
    visitor.get("/hub/login")
    assert visitor.post("/hub/extend-server/ben", redirects=False).status in (302, 403)
    assert "You have put this off" not in home(hub, "ben")


def test_a_notice_is_about_the_server_that_ran_when_it_was_given(hub: Hub) -> None:
    """A server that was stopped and started again begins anew."""
    assert start_server(hub, "eve")[-1].get("ready")
    tell(hub, [notice("eve")])
    assert "will be stopped on" in home(hub, "eve")
    stop_server(hub, "eve")
    assert start_server(hub, "eve")[-1].get("ready")
    assert "will be stopped on" not in home(hub, "eve")
    assert hub.api("POST", "nbplatform/extend/eve").status == 409
    stop_server(hub, "eve")


def test_a_stopped_server_is_told_of_at_the_next_visit(hub: Hub) -> None:
    """With the time and the reason, to its owner alone, until it was started again and that was seen."""
    at = datetime.now(UTC).replace(microsecond=0)
    stops = [{"user": "eve", "server": name, "at": at.isoformat(), "reason": "idle", "why": WHY} for name in ("", "x")]
    tell(hub, stops=stops)
    for _ in range(2):  # a look alone does not take it away
        page = " ".join(home(hub, "eve").split())
        assert "Your default server was stopped on" in page
        assert "Your server x was stopped on" in page
        assert f'<time datetime="{at.isoformat()}">' in page
        assert "; your files are untouched." in page
        assert "<script>alert" not in page
    for other in ("ada", "ben"):
        assert "was stopped on" not in home(hub, other)
    assert start_server(hub, "eve")[-1].get("ready")
    page = home(hub, "eve")
    assert "Your default server was stopped on" not in page
    assert "Your server x was stopped on" in page
    stop_server(hub, "eve")


def test_a_bookmark_of_a_stopped_server_says_why(hub: Hub) -> None:
    """To its owner, who is then told; an administrator who opens it reads nothing, and takes nothing away."""
    for _ in range(2):
        assert start_server(hub, "ben", server_name="quiet")[-1].get("ready")
        assert "was stopped on" not in home(hub, "ben")  # told by the bookmark, it is not told again after a start
        stop_server(hub, "ben", server_name="quiet")
        at = datetime.now(UTC).isoformat()
        tell(hub, stops=[{"user": "ben", "server": "quiet", "at": at, "reason": "idle", "why": WHY}])
        looks = hub.login("eve", PASSWORD).get("/hub/user/ben/quiet/lab")
        assert (looks.status, "was stopped on" in looks.text) == (424, False)
        page = hub.login("ben", PASSWORD).get("/hub/user/ben/quiet/lab")  # /user/ben/ is that of a running one
        assert page.status == 424
        assert "Your server quiet was stopped on" in page.text
        assert escape(WHY, quote=False) in page.text.replace("&#34;", '"')
        assert "<script>alert" not in page.text


# The audit file


def events(site: Site) -> list[dict[str, Any]]:
    """What the audit file holds."""
    return [json.loads(line) for line in (site.top / "audit.json").read_text().splitlines()]


def test_every_spawn_and_refusal_is_in_the_audit_file(hub: Hub, site: Site) -> None:
    """Who, with which groups, what, where and by which rule; a refusal with its label and what was asked for."""
    before = len(events(site))
    assert start_server(hub, "eve", options={"profile": "gpu"})[-1].get("ready")
    stop_server(hub, "eve")
    assert hub.api("POST", "users/ben/servers/no", json={"profile": "closed"}).status == 403
    spawn, refusal = events(site)[before:]
    assert spawn["event"]["action"] == "spawn"
    assert (spawn["user"]["name"], spawn["user"]["id"]) == ("eve", "62103")
    ours = spawn["nbplatform"]
    assert (ours["profile"], ours["gpu_count"], ours["gpus"]) == ("gpu", 1, ["GPU-0001"])
    assert ours["rule"] == "gpu users"
    assert ours["where"].startswith("site.yaml:")
    assert {"atlas", "cms"} <= set(ours["groups"])
    assert (refusal["event"]["action"], refusal["event"]["reason"]) == ("refusal", "not-allowed")
    assert (refusal["nbplatform"]["profile"], refusal["nbplatform"]["server"]) == ("closed", "no")
    assert (refusal["user"]["name"], refusal["user"]["id"]) == ("ben", "62102")
