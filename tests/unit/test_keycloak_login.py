"""What is kept of logins through Keycloak, and how it changes; no Keycloak is needed for that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nbplatform_spawners.auth.keycloak_login import (
    MOST_SESSIONS,
    Login,
    ended,
    noted,
    put,
    read_login,
    session_of,
    with_sessions,
    without_tokens,
)
from nbplatform_spawners.auth.keycloak_logout import logged_out_address
from nbplatform_spawners.auth.keycloak_sessions import SeenTokens
from nbplatform_spawners.oidc.refusals import LoginProblem

STATE: dict[str, Any] = {
    "identity": {"name": "ada"},
    "keycloak": {
        "sub": "s",
        "sid": "b",
        "pins": {"": "s", "idp subject": "t"},
        "claims": {"provider": "idp", "subject": "subject"},
        "sessions": {"a": ["1", "2"], "b": ["3"]},
        "refreshed_at": "2026-11-24T08:00:00+00:00",
        "id_token": "i",
        "refresh_token": "r",
    },
}


def test_a_stored_login_is_read_as_it_is() -> None:
    """Every part of it, typed."""
    assert read_login(STATE) == Login(
        sub="s",
        subs=frozenset({"s", "t"}),
        sid="b",
        id_token="i",
        refresh_token="r",
        refreshed_at=datetime(2026, 11, 24, 8, tzinfo=UTC),
        sessions={"a": ("1", "2"), "b": ("3",)},
        provider="idp",
        subject="subject",
    )


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"keycloak": None},
        {"keycloak": []},
        {"keycloak": {"sub": 1, "sid": None, "sessions": [], "refreshed_at": 5, "claims": "x", "pins": [1]}},
        {"keycloak": {"refreshed_at": "yesterday", "sessions": {"a": "1"}}},
        {"keycloak": {"refreshed_at": "2026-11-24T08:00:00", "refresh_token": None}},
    ],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(state: dict[str, Any]) -> None:
    """An older version's state, or a broken one, means a new login, not an error."""
    login = read_login(state)
    assert (login.refresh_token, login.refreshed_at, dict(login.sessions)) == ("", None, {})
    assert login.age(datetime.now(UTC)) is None


def test_the_age_of_a_confirmation() -> None:
    """Counted from Keycloak's last answer about the session."""
    assert read_login(STATE).age(datetime(2026, 11, 24, 9, tzinfo=UTC)) == timedelta(hours=1)


def test_changes_leave_all_else_as_it_is_and_change_nothing_in_place() -> None:
    """Other keys of the state belong to others."""
    before = repr(STATE)
    assert put(STATE, sid="c")["keycloak"] == {**STATE["keycloak"], "sid": "c"}
    assert put({}, sid="c") == {"keycloak": {"sid": "c"}}
    kept = {key: value for key, value in STATE["keycloak"].items() if not key.endswith("_token")}
    assert without_tokens(STATE) == {"identity": {"name": "ada"}, "keycloak": kept}
    assert with_sessions(STATE, {"a": ("1",)})["keycloak"]["sessions"] == {"a": ["1"]}
    assert repr(STATE) == before


NOTED: dict[str, tuple[dict[str, tuple[str, ...]], tuple[str, str], dict[str, tuple[str, ...]]]] = {
    "the first": ({}, ("a", "1"), {"a": ("1",)}),
    "another browser of the same session": ({"a": ("1",)}, ("a", "2"), {"a": ("1", "2")}),
    "the same again": ({"a": ("1",), "b": ("2",)}, ("a", "1"), {"b": ("2",), "a": ("1",)}),
    "a browser that logged in anew": ({"a": ("1", "2")}, ("b", "1"), {"a": ("2",), "b": ("1",)}),
    "the last browser of a session": ({"a": ("1",)}, ("b", "1"), {"b": ("1",)}),
}


@pytest.mark.parametrize("case", NOTED)
def test_a_login_is_noted_under_its_session_alone(case: str) -> None:
    """Newest last, whatever was there before."""
    sessions, (sid, session_id), after = NOTED[case]
    assert list(noted(sessions, sid, session_id).items()) == list(after.items())


def test_what_is_noted_is_bounded() -> None:
    """By the number of sessions, and by the browsers of each; the newest stay."""
    sessions: Any = {}
    for number in range(100):
        sessions = noted(sessions, f"s{number}", f"h{number}")
    assert list(sessions) == [f"s{number}" for number in range(100 - MOST_SESSIONS, 100)]
    for number in range(100):
        sessions = noted(sessions, "s", f"b{number}")
    assert sessions["s"] == tuple(f"b{number}" for number in range(100 - MOST_SESSIONS, 100))


def test_one_session_ends_or_all() -> None:
    """By its id; None means all of them."""
    sessions = read_login(STATE).sessions
    assert ended(sessions, "a") == {"b": ("3",)}
    assert ended(sessions, "x") == sessions
    assert ended(sessions, None) == {}


SESSION_OF = [
    ({"a": ["1"], "b": ["3"]}, "b", "1", "a"),
    ({"a": ["1"], "b": ["3"]}, "b", "9", None),
    ({"b": ["3"]}, "b", "9", "b"),
    ({"a": ["1"]}, "b", "9", None),
    ({}, "b", None, "b"),
    ({}, "", None, None),
]


@pytest.mark.parametrize(("sessions", "sid", "session_id", "expected"), SESSION_OF)
def test_which_session_a_browser_has(
    sessions: dict[str, list[str]], sid: str, session_id: str | None, expected: str | None
) -> None:
    """As noted; a browser that was never noted has the only one there is, and else none that could be told."""
    login = read_login({"keycloak": {"sid": sid, "sessions": sessions}})
    assert session_of(login, session_id) == expected


def test_a_logout_token_is_known_until_it_has_ended_or_too_many_came() -> None:
    """Memory is bounded; those that would be refused anyway go first."""
    seen = SeenTokens()
    for number in range(24_000):
        seen.add(f"ended-{number}", end=10.0, now=0.0)
    seen.add("last", end=1000.0, now=20.0)
    for jti in ("last", "ended-23999"):
        with pytest.raises(LoginProblem, match="used before"):
            seen.check(jti)
    seen.check("ended-0")
    seen.check("new")


@pytest.mark.parametrize(
    ("callback", "base", "address"),
    [
        ("https://hub.example.org/hub/oauth_callback", "/hub/", "https://hub.example.org/hub/keycloak/logged_out"),
        ("http://127.0.0.1:8000/x/hub/oauth_callback", "/x/hub/", "http://127.0.0.1:8000/x/hub/keycloak/logged_out"),
    ],
)
def test_the_address_after_a_logout_is_beside_the_one_after_a_login(callback: str, base: str, address: str) -> None:
    """So that one setting, ``oauth_callback_url``, says where the hub is."""
    assert logged_out_address(callback, base) == address
