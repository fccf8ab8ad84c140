"""What the helper process is told for one server, and the small files that its view needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..plan import SpawnPlan
from ..render.etc_files import etc_files
from ..render.local import OpenFiles, View, needed, sandbox_argv, server_env, stage
from .local_environment import command_environment, find_program, outermost
from .local_helper import ENTER, SUPERVISOR
from .local_machine import LocalMachine

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Start:
    """One start of one server.

    Attributes:
        plan: what to start.
        machine: what this machine can do.
        directory: the server's private folder, an absolute path.
        cgroups: absolute paths of its control groups.
    """

    plan: SpawnPlan
    machine: LocalMachine
    directory: Path
    cgroups: tuple[str, ...]


def write_files(start: Start) -> None:
    """Write the generated files into the server's private folder.

    Raises:
        Refusal: with the label ``account``, when the account cannot stand in ``passwd``.
        OSError: a file cannot be written.
    """
    for name, text in {**etc_files(start.plan.identity), "empty": ""}.items():
        path = start.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    (start.directory / "stage").mkdir(mode=0o700, exist_ok=True)


def enter_content(start: Start) -> dict[str, Any]:
    """Return the command, the whole environment and the working directory.  Holds the server's token."""
    plan, machine = start.plan, start.machine
    path = plan.env.get("PATH", f"{Path(machine.python).parent}:{_SYSTEM_PATH}")
    command = [find_program(plan.command[0], path), *plan.command[1:]]
    home = plan.identity.home
    env = server_env(plan, home, path)
    if machine.view is None:
        env["HOME"] = home = _plain_home(start)
    return {"command": command, "env": env, "cwd": home}


def helper_spec(start: Start, command: str, files: OpenFiles) -> dict[str, Any]:
    """Return what ``local_launcher.py`` reads.

    Args:
        start: of which server.
        command: the server's program, as ``enter_content`` names it.
        files: what the processes inherit.

    Raises:
        Refusal: with the label ``storage``, when a mount would replace a part of the system.
    """
    identity, machine = start.plan.identity, start.machine
    spec: dict[str, Any] = {
        "mode": machine.mode,
        "uid": identity.uid,
        "gid": identity.gid,
        "groups": identity.gids,
        "cgroups": start.cgroups,
        "stage": str(start.directory / "stage"),
    }
    if machine.view is None:
        script = (machine.python, "-I", "-S")
        inside = (*script, ENTER, str(files.enter), str(files.reached))
        supervised = (*script, SUPERVISOR, str(files.status), *inside)
        return {**spec, "argv": supervised, **_staged(start.plan, (), ())}
    view = _with_environment(machine.view, command)
    argv = sandbox_argv(start.plan, view, str(start.directory), files)
    shown = view.environment if view.resolver is None else (*view.environment, view.resolver)
    return {**spec, "argv": argv, **_staged(start.plan, view.folders, shown)}


def _staged(plan: SpawnPlan, folders: tuple[str, ...], environment: tuple[str, ...]) -> Mapping[str, Any]:
    staged = stage(plan, folders)
    return {"staged": [thing.to_dict() for thing in staged], "needed": needed(staged, environment)}


def _with_environment(view: View, command: str) -> View:
    known = (*view.folders, *(link for _, link in view.links))
    return replace(view, environment=outermost((*view.environment, *command_environment(command)), known))


def _plain_home(start: Start) -> str:
    """Return where HOME's storage really lies; a folder of the server's own when that cannot be written."""
    home = start.plan.identity.home
    for mount in start.plan.mounts:
        if mount.target == home and Path(mount.source).is_dir() and os.access(mount.source, os.W_OK | os.X_OK):
            return mount.source
    own = start.directory / "home"
    own.mkdir(mode=0o700, exist_ok=True)
    return str(own)
