"""Containers as values: what labels say, and what a host's list says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.hosts.admit import Placement
from nbplatform_spawners.hosts.containers import HUB_LABEL, Container, containers_of, labels_of
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.plan import SpawnPlan

GIB = 1024**3
TOKEN = "0123456789abcdef-planted"


def plan(
    user: str = "ada", server: str = "two", gpus: tuple[str, ...] = ("GPU-1",), memory: int | None = GIB
) -> SpawnPlan:
    """A plan with a token in its environment and in its command."""
    return SpawnPlan(
        identity=Identity(user, 20000, 61000, {"users": 61000}, "users", "/home/ada"),
        server=server,
        profile="gpu",
        command=("nbplatform-singleuser", f"--token={TOKEN}"),
        image="base:1",
        memory=memory,
        cpu=1,
        mounts=(),
        hidden=(),
        env={"JUPYTERHUB_API_TOKEN": TOKEN},
        placement=Placement("wn1", "gpu", gpus),
        reasons={"allow": "allowed by rule 'x'"},
        generation="3f9c",
        gpus=len(gpus),
    )


def entry(labels: Any, **more: Any) -> dict[str, Any]:
    """One container of the answer of ``GET /containers/json``."""
    return {"Id": "f00", "Names": ["/hub-ada"], "State": "running", "Labels": labels, "Ports": [], **more}


def read(labels: Any, **more: Any) -> Container:
    """The container that such an answer tells of."""
    (found,) = containers_of("wn1", [entry(labels, **more)], 8888)
    return found


def test_labels_say_whose_a_container_is_and_what_it_holds() -> None:
    """The whole set of labels; all are texts, as Docker demands."""
    assert labels_of(plan(gpus=("GPU-1", "GPU-2")), "my-hub") == {
        "nbplatform.hub": "my-hub",
        "nbplatform.user": "ada",
        "nbplatform.server": "two",
        "nbplatform.profile": "gpu",
        "nbplatform.gpus": '["GPU-1", "GPU-2"]',
        "nbplatform.memory": str(GIB),
        "nbplatform.generation": "3f9c",
    }


def test_labels_hold_no_secret() -> None:
    """Everybody who may ask the host reads them."""
    assert TOKEN not in json.dumps(labels_of(plan(), "my-hub"))


def test_the_hub_label_is_what_hosts_are_asked_for() -> None:
    """Containers without it, or with another value, are foreign."""
    assert labels_of(plan(), "my-hub")[HUB_LABEL] == "my-hub"


@given(
    user=st.from_regex(r"[a-z][a-z0-9_.-]{0,20}[a-z]", fullmatch=True),
    server=st.text(max_size=20),
    gpus=st.lists(st.text(min_size=1, max_size=30), max_size=4, unique=True).map(tuple),
    memory=st.integers(0, 10**15),
)
def test_what_labels_say_is_read_back_whole(user: str, server: str, gpus: tuple[str, ...], memory: int) -> None:
    """Whatever a server and a GPU are called: the ledger of a hub that starts anew is what it was."""
    found = read(labels_of(plan(user, server, gpus, memory), "my-hub"))
    assert found == Container("wn1", "f00", "hub-ada", user, server, "running", gpus, memory)


UNREADABLE: dict[str, tuple[Any, tuple[str, ...], int]] = {
    "no labels at all": (None, (), 0),
    "labels that are a list": (["nbplatform.gpus"], (), 0),
    "empty texts": ({"nbplatform.gpus": "", "nbplatform.memory": ""}, (), 0),
    "no JSON": ({"nbplatform.gpus": "GPU-1,GPU-2"}, (), 0),
    "JSON that is no list": ({"nbplatform.gpus": '{"a": 1}'}, (), 0),
    "a text for a list": ({"nbplatform.gpus": '"GPU-1"'}, (), 0),
    "numbers for ids": ({"nbplatform.gpus": "[0, 1]"}, ("0", "1"), 0),
    "negative memory": ({"nbplatform.memory": "-5"}, (), 0),
    "memory with a unit": ({"nbplatform.memory": "4G"}, (), 0),
    "more digits than any memory has": ({"nbplatform.memory": "9" * 5000}, (), 0),
    "digits of another script": ({"nbplatform.memory": "٤٢"}, (), 42),
    "superscript digits": ({"nbplatform.memory": "²"}, (), 0),
}


@pytest.mark.parametrize(("labels", "gpus", "memory"), UNREADABLE.values(), ids=UNREADABLE)
def test_labels_that_cannot_be_read_hold_nothing(labels: Any, gpus: tuple[str, ...], memory: int) -> None:
    """One odd container must not hide all others of its host."""
    found = read(labels)
    assert (found.gpus, found.memory) == (gpus, memory)


def test_an_entry_without_anything_is_still_a_container() -> None:
    """A host may leave fields out."""
    (found,) = containers_of("wn1", [{}], 8888)
    assert found == Container("wn1", "", "", "", "", "")


PORTS: dict[str, tuple[Any, int]] = {
    "none": ([], 0),
    "null": (None, 0),
    "published": ([{"PrivatePort": 8888, "PublicPort": 49153, "Type": "tcp"}], 49153),
    "exposed, not published": ([{"PrivatePort": 8888, "Type": "tcp"}], 0),
    "another port": ([{"PrivatePort": 9999, "PublicPort": 49153, "Type": "tcp"}], 0),
    "another protocol": ([{"PrivatePort": 8888, "PublicPort": 49153, "Type": "udp"}], 0),
    "for both families": (
        [
            {"IP": "0.0.0.0", "PrivatePort": 8888, "PublicPort": 49153, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 8888, "PublicPort": 49154, "Type": "tcp"},
        ],
        49153,
    ),
}


@pytest.mark.parametrize(("ports", "port"), PORTS.values(), ids=PORTS)
def test_the_published_port_is_that_of_the_server(ports: Any, port: int) -> None:
    """A restarted host may publish a server elsewhere than before."""
    assert read({}, Ports=ports).port == port


ENDED = {
    **dict.fromkeys(["created", "running", "paused", "restarting", "removing", ""], False),
    **dict.fromkeys(["exited", "dead"], True),
}


@pytest.mark.parametrize(("state", "ended"), ENDED.items(), ids=[state or "unknown" for state in ENDED])
def test_only_what_surely_has_ended_holds_nothing(state: str, ended: bool) -> None:
    """A container that is created, paused or being removed may still use its GPU."""
    assert read({}, State=state).ended is ended


def test_the_owner_is_user_and_server() -> None:
    """By these two the hub's books and the hosts are compared."""
    assert read(labels_of(plan(), "my-hub")).owner == ("ada", "two")
