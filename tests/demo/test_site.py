"""The example site made usable on one machine: its texts, its accounts and its storage."""

from __future__ import annotations

import os
import stat
from datetime import datetime
from itertools import product
from pathlib import Path

import argon2
import pytest
import yaml

from hub_config.demo import site as demo_site
from hub_config.demo.conversion import UnknownShape, mount_sources, relocate_mounts, set_passwords
from hub_config.demo.site import MARKER, NotOurs, make_site
from hub_config.demo.storage import Place, contents, places
from nbplatform_spawners.accounts.parse import parse_accounts
from nbplatform_spawners.rules.engine import decide
from nbplatform_spawners.rules.store import load

EXAMPLE = Path(__file__).resolve().parents[2] / "placement_rules" / "example-site"

RELOCATED = [
    pytest.param(
        'defaults:\n  mounts:\n    - {source: "{home}"}  # HOME\n',
        'defaults:\n  mounts:\n    - {source: "/d{home}", target: "{home}"}  # HOME\n',
        id="a comment stays",
    ),
    pytest.param(
        "defaults: {mounts: [{source: /cvmfs, read_only: true}]}",
        'defaults: {mounts: [{source: "/d/cvmfs", target: "/cvmfs", read_only: true}]}',
        id="other keys stay",
    ),
    pytest.param(
        "defaults: {mounts: [{read_only: true, source: /a, target: /b}]}",
        'defaults: {mounts: [{read_only: true, source: "/d/a", target: /b}]}',
        id="a target that is written stays",
    ),
    pytest.param(
        "rules:\n  - name: x\n    match: {}\n    mounts:\n      - source: /a\n        optional: true\n",
        'rules:\n  - name: x\n    match: {}\n    mounts:\n      - source: "/d/a"\n        target: "/a"\n'
        "        optional: true\n",
        id="block style",
    ),
    pytest.param(
        "profiles: {cpu: {title: C, mounts: [{source: '/a b'}]}}",
        'profiles: {cpu: {title: C, mounts: [{source: "/d/a b", target: "/a b"}]}}',
        id="a profile's mounts, single quotes",
    ),
    pytest.param(
        "rules: [{mounts: [{target: /sps/x, hide: true}]}]",
        "rules: [{mounts: [{target: /sps/x, hide: true}]}]",
        id="a hidden target has no source",
    ),
    pytest.param("pools: {cpu: {}}  # nothing here\n", "pools: {cpu: {}}  # nothing here\n", id="no mounts"),
    pytest.param("# empty\n", "# empty\n", id="an empty file"),
]


@pytest.mark.parametrize(("text", "expected"), RELOCATED)
def test_sources_move_and_targets_stay(text: str, expected: str) -> None:
    """Only the sources change, and a target is added where it was the source."""
    assert relocate_mounts(text, "/d") == expected


@pytest.mark.parametrize("folder", ["/d", "/a b", "/with{brace}", '/with"quote', "/with#hash: x", "/ünï\\code"])
def test_any_folder_gives_the_same_mounts_below_it(folder: str) -> None:
    """What the folder is called breaks neither YAML nor the placeholders."""
    before = mount_sources((EXAMPLE / "placement_rules" / "90-defaults.yaml").read_text())
    after = mount_sources(relocate_mounts((EXAMPLE / "placement_rules" / "90-defaults.yaml").read_text(), folder))
    values = {"home": "/home/x", "primary_group": "users"}
    assert [target for _, target in after] == [target for _, target in before]
    assert [source.format_map(values) for source, _ in after] == [folder + s.format_map(values) for s, _ in before]


@pytest.mark.parametrize("text", ["defaults: {mounts: [/a]}", "defaults: {mounts: [{source: [/a]}]}"])
def test_mount_of_another_shape_is_named_with_its_line(text: str) -> None:
    """Nothing is converted by guessing."""
    with pytest.raises(UnknownShape, match=r"^line 1: "):
        relocate_mounts(text, "/d")


def test_alias_is_relocated_once() -> None:
    """Two rules that share one list through an anchor still mount the same thing."""
    text = "rules:\n  - mounts: &m [{source: /a}]\n  - mounts: *m\n"
    assert mount_sources(relocate_mounts(text, "/d")) == [("/d/a", "/a")]


PASSWORDS = [
    pytest.param(
        "accounts:\n  a: {uid: 1, groups: []}  # x\n  b: {uid: 2}\n",
        'accounts:\n  a: {uid: 1, groups: [], password: "$h"}  # x\n  b: {uid: 2}\n',
        id="flow style",
    ),
    pytest.param('accounts: {a: {password: "old", uid: 1}}', 'accounts: {a: {password: "$h", uid: 1}}', id="replaced"),
    pytest.param(
        "accounts:\n  a:\n    uid: 1\n    home: /x\n",
        'accounts:\n  a:\n    password: "$h"\n    uid: 1\n    home: /x\n',
        id="block style",
    ),
]


@pytest.mark.parametrize(("text", "expected"), PASSWORDS)
def test_password_is_set_and_nothing_else_changes(text: str, expected: str) -> None:
    """Other accounts, other keys and comments stay as they were."""
    assert set_passwords(text, {"a": "$h"}) == expected


@pytest.mark.parametrize("text", ["accounts: {b: {uid: 1}}", "accounts: {a: }", "accounts: {a: {}}", "{}", ""])
def test_account_that_is_not_there_gets_no_password(text: str) -> None:
    """A password for nobody is a mistake, not a new account."""
    with pytest.raises(UnknownShape, match="'a'"):
        set_passwords(text, {"a": "$h"})


def test_storage_is_made_for_every_account_and_group() -> None:
    """Homes belong to their users, group storage to its group; a plain path of a group's storage is that storage."""
    accounts = {
        "groups": {"g": 61000, "euclid": 61107},
        "accounts": {"ann": {"uid": 62001, "group": "g", "home": "/h/ann"}, "ben": {"uid": 62002, "group": "euclid"}},
    }
    mounts = [
        ("/d{home}", "{home}"),
        ("/d/sps/euclid", "/sps/euclid"),
        ("/d/sps/{group}", "/sps/{group}"),
        ("/d/throng/{primary_group}", "/throng/{primary_group}"),
        ("/d/cvmfs", "/cvmfs"),
    ]
    assert {place.path: place for place in places(mounts, accounts)} == {
        "/d/h/ann": Place("/d/h/ann", "/h/ann", "home", 62001, 61000),
        "/d/home/ben": Place("/d/home/ben", "/home/ben", "home", 62002, 61107),
        "/d/sps/g": Place("/d/sps/g", "/sps/g", "group", 0, 61000),
        "/d/sps/euclid": Place("/d/sps/euclid", "/sps/euclid", "group", 0, 61107),
        "/d/throng/g": Place("/d/throng/g", "/throng/g", "throng", 0, 61000),
        "/d/throng/euclid": Place("/d/throng/euclid", "/throng/euclid", "throng", 0, 61107),
        "/d/cvmfs": Place("/d/cvmfs", "/cvmfs", "shared", 0, 0),
    }


def test_each_folder_has_something_to_see() -> None:
    """A user who lists a folder must not think that it is broken."""
    for kind in ("home", "group", "throng", "shared"):
        assert contents(Place("/d/x", "/x", kind))  # type: ignore[arg-type]


def test_site_on_this_machine_is_complete(tmp_path: Path) -> None:
    """Every account's HOME and storage is there, passwords fit their hashes, secrets are private, cases are kept."""
    as_root = os.geteuid() == 0
    site = make_site(EXAMPLE, tmp_path / "demo", as_root=as_root)
    accounts = yaml.safe_load(site.accounts.read_text())["accounts"]
    assert set(site.passwords) == set(accounts)
    for name in ("alice", "old"):
        argon2.PasswordHasher().verify(accounts[name]["password"], site.passwords[name])
    assert (site.rules / "tests" / "cases.yaml").read_bytes() == (
        EXAMPLE / "placement_rules" / "tests" / "cases.yaml"
    ).read_bytes()
    for private in (site.accounts, site.folder / "passwords.txt"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    home, storage = (site.folder / "home" / "erin").stat(), (site.folder / "sps" / "virgo").stat()
    assert (stat.S_IMODE(home.st_mode), stat.S_IMODE(storage.st_mode)) == (0o700, 0o2770)
    if as_root:
        assert ((home.st_uid, home.st_gid), (storage.st_uid, storage.st_gid)) == ((62005, 61000), (0, 61105))


def test_every_decision_is_the_same_with_sources_below_the_folder(tmp_path: Path) -> None:
    """For each account and profile: fields, reasons, targets and environment as on the real site."""
    folder = tmp_path / "with {brace} and 'quote'"
    site = make_site(EXAMPLE, folder, as_root=False)
    real, here = load(EXAMPLE / "placement_rules"), load(site.rules)
    accounts = parse_accounts(site.accounts.read_bytes(), "accounts.yaml")
    now = datetime.fromisoformat("2026-11-25T12:00+01:00")
    mounted = set()
    for name, profile in product(site.passwords, real.profiles):
        identity = accounts.accounts[name].identity
        expected = decide(real, identity, profile=profile, now=now).to_dict()
        got = decide(here, identity, profile=profile, now=now).to_dict()
        for mount in expected["mounts"]:
            mount["source"] = f"{folder}{mount['source']}"
            mounted.add(mount["source"])
        assert {**got, "generation": None} == {**expected, "generation": None}
    assert mounted
    assert not [path for path in mounted if not Path(path).is_dir()]


def test_second_run_keeps_edits_and_makes_new_passwords(tmp_path: Path) -> None:
    """What the user wrote into rules and homes is never lost; an old password does not open a new run."""
    first = make_site(EXAMPLE, tmp_path, as_root=False)
    (first.rules / "90-defaults.yaml").write_text("# mine\n")
    (tmp_path / "home" / "alice" / "work").write_text("mine")
    (tmp_path / "home" / "alice" / "welcome.ipynb").write_text("mine")
    second = make_site(EXAMPLE, tmp_path, as_root=False)
    assert (first.kept, second.kept) == (False, True)
    assert (second.rules / "90-defaults.yaml").read_text() == "# mine\n"
    assert (tmp_path / "home" / "alice" / "welcome.ipynb").read_text() == "mine"
    assert not set(first.passwords.values()) & set(second.passwords.values())


def test_site_that_was_made_by_half_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the site is made must not leave a folder that no later run takes."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo_site, "make_storage", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_site(EXAMPLE, tmp_path, as_root=False)
    again = make_site(EXAMPLE, tmp_path, as_root=False)
    assert not again.kept
    assert (tmp_path / "home" / "alice" / "welcome.ipynb").is_file()
    assert make_site(EXAMPLE, tmp_path, as_root=False).kept


def test_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """``--dir ~`` must not turn HOME into a demo."""
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(NotOurs, match="give a new or an empty folder"):
        make_site(EXAMPLE, tmp_path, as_root=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_moved_folder_is_refused(tmp_path: Path) -> None:
    """Its rules would mount from where it was."""
    make_site(EXAMPLE, tmp_path / "here", as_root=False)
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(NotOurs, match="/here"):
        make_site(EXAMPLE, tmp_path / "there", as_root=False)
    assert (tmp_path / "there" / MARKER).exists()
