"""Make the example site usable on one machine: its rules, accounts and storage below one folder."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import argon2
import yaml

from .conversion import mount_sources, relocate_mounts, set_passwords
from .storage import make_storage, places

MARKER = ".nbplatform-demo"
"""Says that a folder was made by the demo, and for which path: its rules hold that path."""
HALF_MADE = " (half made)"
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""For passwords that are typed: without l, o, 0 and 1."""


class NotOurs(Exception):
    """The folder holds something that the demo did not make there."""


@dataclass(frozen=True)
class Site:
    """A site on this machine.

    Attributes:
        folder: everything below is in it.
        rules: the rule files.
        accounts: the accounts file, with the hashes of ``passwords``.
        passwords: name to password, for every account of the file.
        kept: the rule files were there already, from an earlier run.
    """

    folder: Path
    rules: Path
    accounts: Path
    passwords: Mapping[str, str]
    kept: bool


def make_site(example: Path, folder: Path, *, as_root: bool) -> Site:
    """Copy the example site into ``folder`` and make the storage it speaks of.

    A folder that an earlier run left is used again: its rules and storage stay as they are, the passwords are new.

    Args:
        example: the example site: ``accounts.yaml`` and ``placement_rules/``.
        folder: absolute; new, empty or made by an earlier run.
        as_root: give homes and storage the owners and modes of the site; otherwise all belongs to this user.

    Raises:
        NotOurs: the folder holds other things, or was moved.
        OSError: it cannot be written.
    """
    kept = claim(folder)
    rules = folder / "placement_rules"
    if not kept:
        copy_rules(example / "placement_rules", rules, str(folder))
    text = (example / "accounts.yaml").read_text()
    accounts = yaml.safe_load(text)
    passwords = {name: new_password() for name in accounts["accounts"]}
    write_private(folder / "accounts.yaml", set_passwords(text, hash_passwords(passwords)))
    lines = (f"{name:10} {password}\n" for name, password in passwords.items())
    write_private(folder / "passwords.txt", "# Made for this run of the demo.\n" + "".join(lines))
    if not kept:
        mounts = [pair for file in sorted(rules.glob("*.yaml")) for pair in mount_sources(file.read_text())]
        make_storage(places(mounts, accounts), as_root=as_root)
        (folder / MARKER).write_text(f"{folder}\n")
    return Site(folder, rules, folder / "accounts.yaml", passwords, kept)


def claim(folder: Path) -> bool:
    """Make the folder, or tell that an earlier run made it.

    Returns:
        True when the whole site of an earlier run is in it; a half-made one is made again.

    Raises:
        NotOurs: see ``make_site``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    if marker.is_file():
        made_for, half_made, _ = marker.read_text().rstrip("\n").partition(HALF_MADE)
        if made_for != str(folder):
            raise NotOurs(f"{folder} was made as {made_for}, and its rules name that path; give a new folder")
        return not half_made
    if any(folder.iterdir()):
        raise NotOurs(f"{folder} holds files that no demo made; give a new or an empty folder")
    marker.write_text(f"{folder}{HALF_MADE}\n")
    return False


def copy_rules(source: Path, target: Path, folder: str) -> None:
    """Copy the rule files with every mount source put below ``folder``; the site's own cases are copied as they are."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    for file in sorted(target.glob("*.yaml")):
        file.write_text(relocate_mounts(file.read_text(), folder))


def new_password() -> str:
    """Return a password that is easy to type: 60 bits, in three parts."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))


def hash_passwords(passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the Argon2 hash of each password."""
    # OWASP's smallest setting: these are random and live for one run, and there are many to hash at each start.
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
    return {name: hasher.hash(password) for name, password in passwords.items()}


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user reads, from its first byte on; an old one is replaced as a whole."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
