"""Who may have a Slurm token, which servers the hub says there are, how often one may ask, and the settings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from nbplatform_spawners.checked_settings import WrongSettings
from nbplatform_spawners.hub_api import HubApi
from nbplatform_spawners.identity import Identity, IdRange
from nbplatform_spawners.slurm_dask.errors import SlurmUnavailable
from nbplatform_spawners.slurm_dask.models import JobState
from nbplatform_spawners.slurm_dask.orphans import Orphan, ServerState
from nbplatform_spawners.slurm_dask.reaper import table
from nbplatform_spawners.slurm_dask.service_app import SlurmService
from nbplatform_spawners.slurm_dask.service_bounds import Throttle, TooMany
from nbplatform_spawners.slurm_dask.service_key import Key, KeyTokens
from nbplatform_spawners.slurm_dask.tag import Tag
from nbplatform_spawners.slurm_dask.token_holder import (
    Allowed,
    Holder,
    TokenRefused,
    read_holder,
    read_servers,
    slurm_name,
)

SERVICE = "nbplatform-slurm"
USE = f"access:services!service={SERVICE}"
SCOPES = ["access:servers!server=ada/", USE, "users:activity!user=ada"]
ADAS: dict[str, Any] = {"kind": "user", "name": "ada", "session_id": None, "scopes": SCOPES}
ALLOWED = Allowed(SERVICE, IdRange(1000, 69999), ("root", "slurm", "reaper"))


def owner(**changes: Any) -> dict[str, Any]:
    """Return the model of a token's owner."""
    return {**ADAS, **changes}


def identity(**changes: Any) -> dict[str, Any]:
    """Return the plain identity of a server's state."""
    return {**Identity("ada", 62001, 100, {"users": 100}, "users", "/home/ada").to_dict(), **changes}


def with_server(name: str = "ada", **changes: Any) -> dict[str, Any]:
    """Return the model of a user with one server."""
    server = {
        "name": "",
        "pending": None,
        "ready": True,
        "stopped": False,
        "state": {"identity": identity()},
        **changes,
    }
    return {"name": name, "servers": {"": server}}


def test_a_servers_token_says_whose_it_is() -> None:
    """By the one server that it opens, a named one too, whatever its name holds."""
    assert read_holder(ADAS, SERVICE) == Holder("ada", "")
    named = owner(scopes=["access:servers!server=ada/a b/ü", USE])
    assert read_holder(named, SERVICE) == Holder("ada", "a b/ü")


NO_HOLDERS: dict[str, Mapping[str, Any]] = {
    "a service": owner(kind="service"),
    "no kind": {key: value for key, value in ADAS.items() if key != "kind"},
    "a browser's login": owner(session_id="0a1b"),
    "no scopes": owner(scopes=None),
    "no server": owner(scopes=[USE]),
    "every server": owner(scopes=["access:servers", USE]),
    "all her servers": owner(scopes=["access:servers!user=ada", USE]),
    "a group's servers": owner(scopes=["access:servers!group=ada/", USE]),
    "two servers": owner(scopes=["access:servers!server=ada/", "access:servers!server=ada/b", USE]),
    "her own and a shared one": owner(scopes=["access:servers!server=ada/", "access:servers!server=ben/", USE]),
    "another's server": owner(scopes=["access:servers!server=ben/", USE]),
    "one whose name begins like hers": owner(scopes=["access:servers!server=adam/", USE]),
    "not this service": owner(scopes=["access:servers!server=ada/"]),
    "another service": owner(scopes=["access:servers!server=ada/", "access:services!service=nbplatform-slurm2"]),
    "every service": owner(scopes=["access:servers!server=ada/", "access:services"]),
    "numbers for scopes": owner(scopes=[1, None]),
    "no name": owner(name=None),
    "nothing": {},
}


@pytest.mark.parametrize("model", NO_HOLDERS.values(), ids=NO_HOLDERS)
def test_no_other_token_is_a_servers(model: Mapping[str, Any]) -> None:
    """Whatever else it may do; the sentence names no token."""
    with pytest.raises(TokenRefused):
        read_holder(model, SERVICE)


def test_the_name_is_the_identitys() -> None:
    """Of the server that asks, also while a hub that was restarted still looks for it."""
    assert slurm_name(with_server(), Holder("ada", ""), ALLOWED) == "ada"
    assert slurm_name(with_server(pending="check", ready=False), Holder("ada", ""), ALLOWED) == "ada"


NO_NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "no servers": ({"name": "ada"}, "does not run"),
    "not this server": ({"name": "ada", "servers": {"b": {}}}, "does not run"),
    "being started": (with_server(pending="spawn"), "does not run"),
    "being stopped": (with_server(pending="stop"), "does not run"),
    "stopped": (with_server(stopped=True), "does not run"),
    "no state": (with_server(state=None), "none of this platform's"),
    "no identity": (with_server(state={"pid": 1}), "none of this platform's"),
    "half an identity": (with_server(state={"identity": {"name": "ada"}}), "incomplete"),
    "another name": (with_server(state={"identity": identity(name="ben")}), "the hub calls its user otherwise"),
    "root by number": (with_server(state={"identity": identity(uid=0)}), "uid"),
    "a uid below": (with_server(state={"identity": identity(uid=999)}), "outside the allowed range 1000 to 69999"),
    "a uid above": (with_server(state={"identity": identity(uid=70000)}), "outside the allowed range"),
    "a uid that is a text": (with_server(state={"identity": identity(uid="62001")}), "uid"),
}


@pytest.mark.parametrize(("model", "why"), NO_NAMES.values(), ids=NO_NAMES)
def test_a_server_without_a_good_account_gets_nothing(model: dict[str, Any], why: str) -> None:
    """One that does not run, that none of our spawners started, or whose account is out of the range."""
    with pytest.raises(TokenRefused, match=why):
        slurm_name(model, Holder("ada", ""), ALLOWED)


@pytest.mark.parametrize(
    "name",
    ["root", "Root", "slurm", "SLURM", "reaper", "0", "62001", "007", "a b", "-x", "../x", "x" * 65, "", "ada\n"],
)
def test_names_that_are_special_or_unsafe_get_nothing(name: str) -> None:
    """Whatever the hub calls its user, and with a good uid."""
    model = with_server(name, state={"identity": identity(name=name)})
    with pytest.raises(TokenRefused):
        slurm_name(model, Holder(name, ""), ALLOWED)


def test_servers_are_read_with_what_is_known_of_them() -> None:
    """Only a text is a run; whatever is not ready is pending."""
    models = [
        {"name": "ada", "servers": {"": {"ready": True, "pending": None, "state": {"run": "r1"}}, "b": {}}},
        {"name": "ben", "servers": {"": {"ready": True, "pending": "stop", "state": {"run": 7}}}},
        {"name": "eve", "servers": {}},
    ]
    assert read_servers(models) == {
        ("ada", ""): ServerState("r1", False, True),
        ("ada", "b"): ServerState(None, True, False),
        ("ben", ""): ServerState(None, True, True),
    }


def test_a_user_without_a_list_of_servers_is_no_user_without_servers() -> None:
    """The hub leaves the key out when the service may not read it."""
    with pytest.raises(ValueError, match="does not say which servers"):
        read_servers([{"name": "ada"}])


class Seconds:
    """A clock that stands where it is put."""

    now = 1000.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


def test_one_token_asks_so_often_and_others_are_not_held_up() -> None:
    """Twenty times a minute; then it is told when the minute is over."""
    clock = Seconds()
    throttle = Throttle(clock)
    for _ in range(20):
        throttle.count(b"a")
    clock.now += 12.5
    for _ in range(980):
        with pytest.raises(TooMany) as caught:
            throttle.count(b"a")
    assert caught.value.seconds == 48
    throttle.count(b"b")
    clock.now += 47.5
    throttle.count(b"a")


def test_what_is_remembered_is_bounded() -> None:
    """A flood of other tokens takes no more memory, and an unknown token is asked about again after seconds."""
    clock = Seconds()
    throttle = Throttle(clock)
    for number in range(20_000):
        throttle.count(number.to_bytes(4))
        throttle.note_unknown(number.to_bytes(4))
    assert len(throttle._begun) == len(throttle._unknown) == 10_000
    assert throttle.is_unknown((19_999).to_bytes(4))
    clock.now += 5
    assert not throttle.is_unknown((19_999).to_bytes(4))


WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    "no name of the hub": (["--hub-id="], {}, "--hub-id"),
    "a name of the hub with a space": (["--hub-id=a b"], {}, "--hub-id"),
    "no token": ([], {"JUPYTERHUB_API_TOKEN": ""}, "there is no token"),
    "no hub": ([], {"JUPYTERHUB_API_URL": ""}, "there is no address of the hub's API"),
    "a token for a day": (["--lifespan=86400"], {}, "lifespan must be from 60 to 3600"),
    "a token for a second": (["--lifespan=1"], {}, "lifespan must be from 60 to 3600"),
    "root's uid": (["--min-uid=0"], {}, "min_uid must be at least 1"),
    "rest without a key": (["--key-file=", "--rest-url=http://s:6820"], {}, "rest_url needs key_file"),
    "rest without an account": (["--rest-url=http://s:6820"], {}, "rest_url needs reaper_account"),
    "rest as root": (["--rest-url=http://s:6820", "--reaper-account=root"], {}, "not root .* got 'root'"),
    "rest as Root": (["--rest-url=http://s:6820", "--reaper-account=Root"], {}, "not root .* got 'Root'"),
    "rest as uid 0": (["--rest-url=http://s:6820", "--reaper-account=0"], {}, "no number.* got '0'"),
    "rest as a uid": (["--rest-url=http://s:6820", "--reaper-account=62001"], {}, "no number.* got '62001'"),
    "rest as a path": (["--rest-url=http://s:6820", "--reaper-account=../r"], {}, "rest_url needs reaper_account"),
    "rest as two words": (["--rest-url=http://s:6820", "--reaper-account=a b"], {}, "rest_url needs reaper_account"),
    "rest with a password": (["--rest-url=http://u:p@s:6820", "--reaper-account=r"], {}, "rest_url: "),
    "no place": ([], {"JUPYTERHUB_SERVICE_URL": ""}, "needs a url with a port"),
    "nothing to do": (["--key-file=", "--reap-every=0"], {}, "there is nothing to do"),
}


@pytest.mark.parametrize(("options", "environment", "why"), WRONG.values(), ids=WRONG)
def test_settings_that_do_not_fit_together_are_told(
    options: list[str], environment: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence before anything is done."""
    usual = {
        "JUPYTERHUB_API_TOKEN": "x",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:10103",
    }
    for name, value in {**usual, **environment}.items():
        monkeypatch.setenv(name, value)
    app = SlurmService()
    given = {one.partition("=")[0]: one for one in ("--hub-id=jupyter-example-org", "--key-file=/etc/key", *options)}
    app.parse_command_line([*given.values()])
    with pytest.raises(WrongSettings, match=why):
        app.check()
    good = SlurmService()
    for name, value in usual.items():
        monkeypatch.setenv(name, value)
    good.parse_command_line(["--hub-id=jupyter-example-org", "--key-file=/etc/key"])
    good.check()


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://slurm.example.org:6820", True),
        ("http://10.1.2.3:6820", True),
        ("http://[2001:db8::1]:6820", True),
        ("http://localhost.example.org:6820", True),
        ("https://slurm.example.org:6820", False),
        ("http://127.0.0.1:6820", False),
        ("http://[::1]:6820", False),
        ("http://LOCALHOST:6820", False),
    ],
)
async def test_tokens_that_cross_a_network_readably_are_warned_of(
    url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Once at the start, with the address; not for this machine's own, and not over TLS."""
    app = SlurmService(log=logging.getLogger("tests.slurm_service"))
    app.key_file, app.reaper_account, app.rest_url = "/etc/key", "reaper", url
    await app._slurm().close()
    told = f"tokens for Slurm cross the network readably to {url}: https:// is expected"
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == ([told] if warned else [])


def test_an_unknown_option_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not passed over with a warning, as traitlets would."""
    monkeypatch.setattr(sys, "argv", ["nbplatform-slurm"])
    with pytest.raises(SystemExit) as caught:
        SlurmService().parse_command_line(["--lifspan=60"])
    assert caught.value.code == 2


async def test_the_services_own_token_needs_the_key(tmp_path: Any) -> None:
    """A key that cannot be read is Slurm out of reach, said without anything of the key."""
    with pytest.raises(SlurmUnavailable, match="cannot be read"):
        await KeyTokens(Key(str(tmp_path / "none"), 600), "reaper").token()
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(b"k" * 32)
    made = await KeyTokens(Key(str(path), 600), "reaper").token()
    assert made.user == "reaper"
    assert made.text not in repr(made)


def test_the_table_names_jobs_and_is_empty_in_words() -> None:
    """What ``--dry-run`` prints; names that users chose cannot colour a terminal."""
    tag = Tag("h", "ada", "a\x1b[31m", "r1", "0a1b2c3d4e5f")
    job = JobState("4711", "dask-worker-0a1b2c3d4e5f-1\x1b[31m", "ada", "RUNNING", tag=tag.text())
    text = table([Orphan(job, tag, "its server is gone")])
    assert "4711" in text
    assert "\x1b" not in text
    assert table([]) == "no job is without its server"


def test_a_door_to_the_hub_is_made_for_any_token_that_a_header_can_show() -> None:
    """What the handler lets through is no error of the door's."""
    HubApi("http://127.0.0.1:8081/hub/api", "".join(map(chr, range(0x21, 0x7F)))).close()
