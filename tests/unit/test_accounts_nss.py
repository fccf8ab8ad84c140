"""The machine's own accounts, asked for real, in a process that sees accounts of its own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.accounts.directory import UnknownAccount
from nbplatform_spawners.accounts.nss import NSSDirectory, group_ids
from nbplatform_spawners.identity import IdRange
from tests.hub.private_accounts import PrivateAccounts

PASSWD = (
    "root:x:0:0:root:/root:/bin/bash",
    "ann:x:5001:6000:Ann:/home/ann/:/bin/bash",
    "bob:x:5002:100:Bob:/home/bob:",
    "cy:x:0:6000:not root:/home/cy:/bin/bash",
    "dora:x:5004:6000:Dora:home/dora:/bin/bash",
    "Eve:x:5005:6000:Eve:/home/eve:/bin/bash",
    "fay:x:5006:7777:Fay:/home/fay:/bin/bash",
    "gil:x:5007:6004:Gil:/home/gil:/bin/bash",
)
GROUP = (
    "root:x:0:",
    "sudo:x:27:ann",
    "users:x:100:",
    "docker:x:998:ann",
    "staff:x:6000:",
    "atlas:x:6001:ann,gil",
    "Domain Users:x:6002:ann",
    "atlas:x:6003:ann",
    "Domain Guests:x:6004:",
)
LOOKUP = """
import json
from nbplatform_spawners.accounts.nss import NSSDirectory
from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.identity import IdRange
directory = NSSDirectory(IdRange(gid_max=6500))
answers = {}
for name in json.loads(NAMES):
    try:
        answers[name] = directory.lookup(name).identity.to_dict()
    except Refusal as refusal:
        answers[name] = f"{type(refusal).__name__}: {refusal.message}"
print(json.dumps(answers))
"""
TELLS = """
import logging
from nbplatform_spawners.accounts.nss import NSSDirectory
from nbplatform_spawners.identity import IdRange
logging.basicConfig(format="%(levelname)s %(message)s")
directory = NSSDirectory(IdRange(gid_max=6500), logging.getLogger("hub"))
for _ in range(3):
    for name in ("ann", "gil", "fay"):
        directory.lookup(name)
"""
NAMES = [
    "ann",
    "bob",
    "cy",
    "dora",
    "eve",
    "Eve",
    "fay",
    "gil",
    "root",
    "nobody",
    "a\nb",
    "\ud800",
    "a\0b",
    "",
    "a" * 300,
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the directory answers to every name."""
    accounts = PrivateAccounts(tmp_path_factory.mktemp("accounts") / "etc")
    problem = accounts.problem()
    if problem:
        pytest.skip(f"a process cannot have accounts of its own here: {problem}")
    accounts.write("passwd", *PASSWD)
    accounts.write("group", *GROUP)
    found: dict[str, Any] = json.loads(accounts.run(f"NAMES = {json.dumps(json.dumps(NAMES))}\n{LOOKUP}"))
    return found


def test_an_account_has_its_numbers_and_supplementary_groups(answers: dict[str, Any]) -> None:
    """Whole: system groups (sudo, docker) are left out, an unsafe or doubled group name keeps its gid alone."""
    assert answers["ann"] == {
        "name": "ann",
        "uid": 5001,
        "gid": 6000,
        "groups": {"staff": 6000, "atlas": 6001},
        "primary_group": "staff",
        "home": "/home/ann",
        "shell": "/bin/bash",
        "provider": None,
        "unnamed_gids": [6002, 6003],
    }


def test_the_primary_group_is_never_left_out(answers: dict[str, Any]) -> None:
    """Below the range it is for the check of the range to refuse it; no shell means /bin/sh, as passwd(5) says."""
    assert answers["bob"]["gid"] == 100
    assert answers["bob"]["groups"] == {"users": 100}
    assert answers["bob"]["shell"] == "/bin/sh"


def test_a_primary_group_without_a_usable_name_keeps_its_gid(answers: dict[str, Any]) -> None:
    """A gid that no group has, and a name with a space in it."""
    assert (answers["fay"]["gid"], answers["fay"]["primary_group"]) == (7777, None)
    assert (answers["gil"]["gid"], answers["gil"]["primary_group"], answers["gil"]["groups"]) == (
        6004,
        None,
        {"atlas": 6001},
    )


REFUSED = {
    "a second root": ("cy", "Refusal: account 'cy': the uid"),
    "root": ("root", "Refusal: account 'root': this user name is not allowed here"),
    "a relative home": ("dora", "Refusal: account 'dora': the home 'home/dora' is refused"),
    "an unknown name": ("nobody", "UnknownAccount: account 'nobody': this site has no such account"),
    "a name in other case": ("eve", "UnknownAccount: account 'eve'"),
    "a line break": ("a\nb", "UnknownAccount: account 'a\\nb'"),
    "a lone surrogate": ("\ud800", "UnknownAccount: account '\\ud800'"),
    "a NUL": ("a\0b", "UnknownAccount: account 'a\\x00b'"),
    "nothing": ("", "UnknownAccount: account ''"),
    "300 characters": ("a" * 300, "UnknownAccount: account 'aaa"),
}


@pytest.mark.parametrize(("name", "start"), REFUSED.values(), ids=REFUSED)
def test_an_account_that_is_unknown_or_unsafe_is_refused(answers: dict[str, Any], name: str, start: str) -> None:
    """With the reason, whatever was asked."""
    assert answers[name].startswith(start)


def test_a_group_without_a_safe_name_is_told_once(tmp_path: Path) -> None:
    """One line for each name, however often its members are looked up; a gid without any name is none."""
    accounts = PrivateAccounts(tmp_path / "etc")
    problem = accounts.problem()
    if problem:
        pytest.skip(f"a process cannot have accounts of its own here: {problem}")
    accounts.write("passwd", *PASSWD)
    accounts.write("group", *GROUP)
    said = accounts.run("import sys; sys.stderr = sys.stdout\n" + TELLS)
    assert said.splitlines() == [
        "WARNING group 'Domain Users' has no safe name: its members keep gid 6002, no rule can match it",
        "WARNING group 'Domain Guests' has no safe name: its members keep gid 6004, no rule can match it",
    ]


def test_the_groups_are_those_that_the_system_gives() -> None:
    """Our own call of getgrouplist agrees with Python's, which would stop the hub while it waits."""
    assert sorted(group_ids("root", 0)) == sorted(os.getgrouplist("root", 0))


def test_an_outage_of_the_name_service_proves_nothing() -> None:
    """The machine does not tell unknown from unreachable: nobody loses a session by it."""
    assert not NSSDirectory(IdRange()).absence_is_proof
    with pytest.raises(UnknownAccount):
        NSSDirectory(IdRange()).lookup("nobody-has-this-name")


def test_more_groups_than_fit_at_first_are_all_returned(tmp_path: Path) -> None:
    """The call is repeated with more room."""
    accounts = PrivateAccounts(tmp_path / "etc")
    problem = accounts.problem()
    if problem:
        pytest.skip(f"a process cannot have accounts of its own here: {problem}")
    accounts.write("passwd", "ann:x:5001:6000:Ann:/home/ann:/bin/bash")
    accounts.write("group", "staff:x:6000:", *(f"g{number}:x:{number}:ann" for number in range(10_000, 10_300)))
    code = "from nbplatform_spawners.accounts.nss import group_ids; print(len(set(group_ids('ann', 6000))))"
    assert accounts.run(code) == "301\n"
