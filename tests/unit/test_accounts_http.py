"""The HTTP account service: its settings, its answers, and what says nothing about anybody; over real connections."""

from __future__ import annotations

import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.accounts import http
from nbplatform_spawners.accounts.directory import AccountDirectory, NotLinked, UnknownAccount, open_directory
from nbplatform_spawners.accounts.http_answers import Garbage, parse_json, read_account
from nbplatform_spawners.accounts.http_settings import HttpSettings, parse_http_settings
from nbplatform_spawners.errors import BadFile, DirectoryUnavailable, Refusal
from nbplatform_spawners.identity import IdRange
from tests.components.docker_pki import Authority
from tests.unit import account_services as services
from tests.unit.account_services import ADA, PAIR, TOKEN, AccountService, Service, service


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """The file that holds the token."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def ask(tmp_path: Path, token_file: Path) -> Any:
    """Return a function from a service to the directory that asks it."""

    def directory(of: Service, **changed: Any) -> AccountDirectory:
        settings = {"url": of.url, "token_file": str(token_file), "timeout": "1s", "cache": "0s"}
        if of.url.startswith("http:"):
            settings["encryption"] = "none"
        path = tmp_path / "service.yaml"
        path.write_text(yaml.safe_dump({**settings, **changed}))
        return open_directory(f"http:{path}", IdRange(), logging.getLogger("nbplatform"))

    return directory


def test_an_account_is_what_the_service_says(ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whole: a group outside the range is left out, one without a safe name keeps its gid; both are told once."""
    with service() as one, caplog.at_level(logging.WARNING):
        directory = ask(one)
        assert directory.absence_is_proof
        for _ in range(2):
            account = directory.lookup("ada")
    assert account.valid_until is None
    assert account.identity.to_dict() == {
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
    assert one.asked == ["/v1/accounts/ada"] * 2
    without, *groups = [record.getMessage() for record in caplog.records]
    assert without.startswith(f"account service {one.url} is asked without encryption: ")
    assert groups == [
        "group 'Domain Users' has no safe name: its members keep gid 61200, no rule can match it",
        "group 'docker' is left out: its gid, 998, is outside the range that servers may have",
    ]
    assert TOKEN not in caplog.text


NAMES = {
    "nobody": ("nobody", "/v1/accounts/nobody"),
    "a slash": ("ada/../ada", "/v1/accounts/ada%2F..%2Fada"),
    "a query": ("ada?x=1", "/v1/accounts/ada%3Fx%3D1"),
    "a fragment": ("ada#", "/v1/accounts/ada%23"),
    "upper case": ("ADA", "/v1/accounts/ADA"),
    "per cent": ("%61da", "/v1/accounts/%2561da"),
    "a line break": ("ada\r\nX: y", "/v1/accounts/ada%0D%0AX%3A%20y"),
    "two dots": ("..", None),
    "one dot": (".", None),
    "nothing": ("", None),
    "a lone surrogate": ("\ud800", None),
}


@pytest.mark.parametrize(("name", "path"), NAMES.values(), ids=NAMES)
def test_any_name_is_one_part_of_a_path(ask: Any, name: str, path: str | None) -> None:
    """Or is not asked about; each of these is unknown."""
    with service() as one, pytest.raises(UnknownAccount):
        ask(one).lookup(name)
    assert one.asked == ([path] if path else [])


def test_a_linked_person_is_found_by_provider_and_subject(ask: Any) -> None:
    """Whatever characters a subject has; nobody else is."""
    with service() as one:
        directory = ask(one)
        assert directory.lookup_federated(*PAIR).identity.name == "ada"
        for provider, subject in (("other", PAIR[1]), ("edugain", PAIR[1].upper()), ("edugain", "\ud800"), ("", "")):
            with pytest.raises(NotLinked):
                directory.lookup_federated(provider, subject)


def test_an_answer_about_somebody_else_is_none(ask: Any) -> None:
    """The answer repeats what it is about: the name, or the pair."""
    with service(services.FoldsCase) as one, pytest.raises(DirectoryUnavailable, match="the account of somebody else"):
        ask(one).lookup("ADA")
    with service(services.IgnoresThePair) as one, pytest.raises(DirectoryUnavailable, match="not said to be linked"):
        ask(one).lookup_federated(*PAIR)


MISBEHAVING = {
    "redirects": (services.Redirects, "it answers with status 302"),
    "a proxy that lost its way": (services.LostProxy, r"no JSON: .* \(status 404\)"),
    "another 404": (services.OtherNotFound, "404 without the error 'unknown account'"),
    "an error of its own": (services.Broken, "it answers with status 500"),
    "too much to do": (services.Overloaded, "it is asked too often"),
    "an endless answer": (services.Endless, "it answers with more than 1048576 bytes"),
    "an answer in drops": (services.Drips, "no answer within 1 seconds"),
    "no answer": (services.NeverAnswers, "no answer within 1 seconds"),
    "half an answer": (services.HangsUp, "."),
}


@pytest.mark.parametrize(("kind", "why"), MISBEHAVING.values(), ids=MISBEHAVING)
def test_a_service_that_misbehaves_says_nothing_about_anybody(ask: Any, kind: type[AccountService], why: str) -> None:
    """It is neither an account nor the absence of one; and it comes to an end."""
    with service(kind) as one:
        directory = ask(one)
        for lookup in (lambda: directory.lookup("ada"), lambda: directory.lookup_federated(*PAIR)):
            with pytest.raises(DirectoryUnavailable, match=why) as caught:
                lookup()
            assert TOKEN not in str(caught.value)
    assert not any(path.startswith("/elsewhere") for path in one.asked)


def test_a_token_that_is_refused_is_no_answer(ask: Any, token_file: Path) -> None:
    """The message does not show it; a new token needs no restart."""
    token_file.write_text("another-token\n")
    with service() as one:
        directory = ask(one)
        with pytest.raises(DirectoryUnavailable, match="it refuses our token") as caught:
            directory.lookup("ada")
        assert "another-token" not in str(caught.value)
        token_file.write_text(f"{TOKEN}\n")
        assert directory.lookup("ada").identity.uid == 62001


def test_a_service_that_is_not_there_cannot_be_asked_until_it_is(ask: Any) -> None:
    """Refused connections; and one that nobody accepts."""
    with service() as one:
        directory = ask(one)
        directory.lookup("ada")
    with pytest.raises(DirectoryUnavailable, match="refused"):
        directory.lookup("ada")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DirectoryUnavailable, match="no answer within 1 seconds"):
            ask(one).lookup("ada")


def test_connections_are_used_again_and_a_closed_one_is_not_noticed(ask: Any) -> None:
    """By several threads at once, too."""
    for kind in (AccountService, services.ClosesWhatIsIdle):
        with service(kind) as one, ThreadPoolExecutor(8) as pool:
            directory = ask(one, timeout="10s")
            found = list(pool.map(lambda _, to=directory: to.lookup("ada").identity.uid, range(80)))
            assert found == [62001] * 80


def test_a_connection_that_nobody_used_for_long_is_opened_anew(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall may have forgotten it and tell neither side."""
    with service() as one:
        directory = ask(one)
        for kept_for, connections in ((60.0, 1), (0.0, 3)):
            monkeypatch.setattr(http, "KEPT_FOR", kept_for)
            for _ in range(2):
                directory.lookup("ada")
            assert len(one.open) == connections


# TLS


def test_the_certificate_is_verified(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the authority of the settings; another one, another name and the public ones are refused.

    What the environment says of proxies and authorities is of no account.
    """
    authority = Authority(tmp_path / "pki")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with service(tls=authority.server("service", ["127.0.0.1"])) as one:
        assert ask(one, ca_file=str(authority.ca)).lookup("ada").identity.uid == 62001
        other = str(Authority(tmp_path / "other").ca)
        for changed in (
            {},
            {"ca_file": other},
            {"ca_file": str(authority.ca), "url": one.url.replace("127.0.0.1", "localhost")},
        ):
            with pytest.raises(DirectoryUnavailable, match=r"(?i)certificate"):
                ask(one, **changed).lookup("ada")
    assert one.asked == ["/v1/accounts/ada"]


# Answers


def without(key: str) -> dict[str, Any]:
    """Return Ada's account without a field."""
    return {name: value for name, value in ADA.items() if name != key}


GARBAGE: dict[str, bytes | dict[str, Any]] = {
    "nothing": b"",
    "no JSON": b"uid: 62001",
    "half of it": b'{"name": "ada", ',
    "a list": b"[]",
    "null": b"null",
    "no UTF-8": b'{"name": "\xff"}',
    "a key twice": b'{"uid": 62001, "uid": 0}',
    "NaN": json.dumps({**ADA, "uid": float("nan")}).encode(),
    "too deep": b'{"a":' * 100_000,
    "too long a number": b'{"uid": ' + b"9" * 10_000 + b"}",
    "too large": b'{"a": "' + b"x" * 1024**2 + b'"}',
    **{f"no {key}": without(key) for key in ADA},
    "a uid in quotes": {**ADA, "uid": "62001"},
    "a uid that is true": {**ADA, "uid": True},
    "a uid with a fraction": {**ADA, "uid": 62001.0},
    "a uid of null": {**ADA, "uid": None},
    "a gid in a list": {**ADA, "gid": [61000]},
    "a name that is a number": {**ADA, "name": 5},
    "groups in a list": {**ADA, "groups": ["users"]},
    "a group's gid in quotes": {**ADA, "groups": {"users": "61000"}},
    "a home of null": {**ADA, "home": None},
    "an end without offset": {**ADA, "valid_until": "2027-06-30T00:00"},
    "an end that is a number": {**ADA, "valid_until": 1800000000},
    "an end of nothing": {**ADA, "valid_until": ""},
}


@pytest.mark.parametrize("written", GARBAGE.values(), ids=GARBAGE)
def test_an_answer_that_is_not_what_it_should_be_says_nothing(ask: Any, written: bytes | dict[str, Any]) -> None:
    """Every field is there and of its type; the message is short and holds no line break."""
    body = written if isinstance(written, bytes) else json.dumps(written).encode()
    kind = type("Says", (services.Says,), {"body": body})
    with service(kind) as one, pytest.raises(DirectoryUnavailable, match="it answers with") as caught:
        ask(one).lookup("ada")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


UNSAFE: dict[str, dict[str, Any]] = {
    "uid 0": {"uid": 0},
    "a negative uid": {"uid": -1},
    "uid 2**32": {"uid": 2**32},
    "gid 0": {"gid": 0},
    "a hostile name": {"name": "../ada"},
    "a relative home": {"home": "home/ada"},
    "a home with ..": {"home": "/home/../root"},
    "a shell that is relative": {"shell": "bash"},
}


@pytest.mark.parametrize("changed", UNSAFE.values(), ids=UNSAFE)
def test_an_account_that_is_not_safe_is_refused(changed: dict[str, Any]) -> None:
    """The answer is well-formed, and nobody may have such an account."""
    with pytest.raises(Refusal):
        read_account({**ADA, **changed}, IdRange())


def test_what_the_service_says_besides_means_nothing() -> None:
    """It may have more to say to others; an end is read with its offset."""
    account, _ = read_account({**ADA, "email": 5, "valid_until": "2027-06-30T00:00+02:00"}, IdRange())
    assert account.identity.uid == 62001
    assert account.valid_until is not None
    assert account.valid_until.isoformat() == "2027-06-30T00:00:00+02:00"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(list(ADA)), anything))
def test_any_object_is_an_account_garbage_or_refused(changed: dict[str, Any]) -> None:
    """Nothing else comes out, and an account has exactly the numbers that were said."""
    answer = {**ADA, **changed}
    try:
        account, _ = read_account(answer, IdRange())
    except (Garbage, Refusal):
        return
    assert (account.identity.uid, account.identity.gid) == (answer["uid"], answer["gid"])


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_garbage(content: bytes) -> None:
    """Nothing else comes out."""
    try:
        found = parse_json(content)
    except Garbage:
        return
    assert isinstance(found, dict)


# Settings


def test_one_line_is_enough() -> None:
    """Encrypted, three seconds, five minutes."""
    assert parse_http_settings(b"url: https://accounts.example.org/v1/", "s.yaml") == HttpSettings(
        "https://accounts.example.org/v1", encrypted=True, ca_file=None, token_file=None, timeout=3, cache=300
    )


MISTAKES = {
    "no address": ("timeout: 3s", "s.yaml:1: the settings: the key 'url' is missing"),
    "no encryption": ("url: http://a", "url: https:// is expected; http:// only together with 'encryption: none'"),
    "no encryption and https": ("url: https://a\nencryption: none", "which never has https://"),
    "a password in the address": ("url: https://me:pw@a", "https://HOST/PATH is expected, without user"),
    "a query": ("url: https://a/?x=1", "https://HOST/PATH is expected"),
    "a token": ("url: https://a\ntoken: secret-thing", "unknown key 'token', did you mean 'token_file'?"),
    "a relative path": ("url: https://a\ntoken_file: t", "the path is relative"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_settings_is_named(text: str, said: str) -> None:
    """And no secret."""
    with pytest.raises(BadFile) as caught:
        parse_http_settings(text.encode(), "s.yaml")
    assert said in str(caught.value)
    assert "secret-thing" not in str(caught.value)


SECRETS = {
    "missing": (None, 0o600, "cannot be read: No such file"),
    "for everybody's eyes": (b"token", 0o644, "everybody can read or write it: chmod 600"),
    "empty": (b"\n", 0o600, "must hold one line of text"),
    "two lines": (b"a\nb\n", 0o600, "must hold one line of text"),
    "no text": (b"\xff\xfe", 0o600, "must hold one line of text"),
    "very long": (b"x" * 5000, 0o600, "must hold one line of text"),
}


@pytest.mark.parametrize(("content", "mode", "why"), SECRETS.values(), ids=SECRETS)
def test_a_secret_that_is_none_stops_the_start(tmp_path: Path, content: bytes | None, mode: int, why: str) -> None:
    """With the file's name, and nothing of what it holds."""
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
        secret.chmod(mode)
    path = tmp_path / "service.yaml"
    path.write_text(f"url: https://a\ntoken_file: {secret}\n")
    with pytest.raises(DirectoryUnavailable, match=why):
        open_directory(f"http:{path}")


def test_settings_that_cannot_be_read_are_a_bad_file(tmp_path: Path) -> None:
    """For either kind of service that is named so; LDAP's own where its client is installed."""
    with pytest.raises(BadFile, match=r"none\.yaml: cannot be read: No such file"):
        open_directory(f"http:{tmp_path}/none.yaml")
