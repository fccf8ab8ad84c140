"""The storage of the demo's site: homes, group storage, software and CVMFS as plain folders with something to see."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["home", "group", "throng", "shared"]
NEWS = ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
"""Where JupyterLab keeps whether the user wants news: the question would cover what the demo shows."""
MODES: Mapping[Kind, int] = {"home": 0o700, "group": 0o2770, "throng": 0o2750, "shared": 0o755}


@dataclass(frozen=True)
class Place:
    """One folder of the site's storage.

    Attributes:
        path: on this machine.
        target: where servers see it.
        kind: whose it is: one user's, a group's, those of a primary group, or everybody's to read.
        uid, gid: its owner where owners can be given.
    """

    path: str
    target: str
    kind: Kind
    uid: int = 0
    gid: int = 0


def places(mounts: Iterable[tuple[str, str]], accounts: Mapping[str, Any]) -> list[Place]:
    """Return every folder that mounts can name, for all accounts and groups of a site.

    Args:
        mounts: (source, target) as the rules write them, placeholders included.
        accounts: the accounts file: ``groups`` and ``accounts``.
    """
    groups: Mapping[str, int] = accounts["groups"]
    found: list[Place] = []
    plain = []
    for source, target in mounts:

        def place(kind: Kind, uid: int, gid: int, source: str = source, target: str = target, **values: str) -> Place:
            return Place(source.format_map(values), target.format_map(values), kind, uid, gid)

        if "{home}" in target:
            for name, account in accounts["accounts"].items():
                home = account.get("home", f"/home/{name}")
                found.append(place("home", account["uid"], groups[account["group"]], home=home))
        elif "{group}" in target:
            found += [place("group", 0, gid, group=name) for name, gid in groups.items()]
        elif "{primary_group}" in target:
            found += [place("throng", 0, gid, primary_group=name) for name, gid in groups.items()]
        else:
            plain.append(place("shared", 0, 0))
    # A rule may name one group's storage in plain: the group's own entry says whose it is.
    return list({one.path: one for one in [*plain, *found]}.values())


def make_storage(wanted: Sequence[Place], *, as_root: bool) -> None:
    """Make the folders, each with a few files; as root with the owners and modes of the site.

    Raises:
        OSError: a folder cannot be made.
    """
    for place in wanted:
        folder = Path(place.path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents(place).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            (folder / name).chmod(0o664 if place.kind == "group" else 0o644)
        if as_root:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, place.uid, place.gid, follow_symlinks=False)
        folder.chmod(MODES[place.kind])  # after chown, which takes the set-group-id bit away


def contents(place: Place) -> dict[str, str]:
    """Return the files of a folder: name to text."""
    name = place.target.rsplit("/", 1)[-1]
    if place.kind == "home":
        return {"welcome.ipynb": welcome_notebook(name), NEWS: '{"fetchNews": "false"}\n'}
    if place.kind == "group":
        rows = "".join(f"{run},{name},{run * run % 97}\n" for run in range(1, 21))
        return {
            "README": f"Storage of the group {name}: its members read and write here, nobody else sees it.\n",
            "runs.csv": "run,group,events\n" + rows,
        }
    if place.kind == "throng":
        return {"README": f"Common files of those whose primary group is {name}; read only for them.\n"}
    return {"README": f"{place.target} of the example site, a plain folder here; read only for everybody.\n"}


def welcome_notebook(name: str) -> str:
    """Return a notebook that shows its reader who they are here and what they may touch."""
    shown = [
        ("# Who am I here?\nuid, gid and groups are those of your account.", "!id"),
        ("# Which storage do I have?\nThat of your groups: other groups' storage is not even visible.", "!ls -l /sps"),
        ("# Is HOME mine?", "!touch ~/written-here && ls -la ~"),
        ("# And what belongs to everybody?\nReadable, not writable.", "!ls -l /cvmfs; touch /cvmfs/mine"),
    ]
    cells: list[dict[str, Any]] = []
    for number, (text, code) in enumerate(shown):
        cells.append({"id": f"text-{number}", "cell_type": "markdown", "metadata": {}, "source": text})
        code_only: dict[str, Any] = {"execution_count": None, "outputs": []}
        cells.append({"id": f"code-{number}", "cell_type": "code", "metadata": {}, "source": code, **code_only})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    title = {"id": "title", "cell_type": "markdown", "metadata": {}, "source": f"Welcome, {name}. Run the cells."}
    return json.dumps(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [title, *cells]}, indent=1
    )
