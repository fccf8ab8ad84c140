"""The machines of the cluster for tests: compute nodes that can be lost, and the login node where users work.

A node is namespaces of its own (network, mounts, processes, host name) on a network that Docker hosts for tests may
share; the login node is this machine, seen with the cluster's accounts.  Nothing on the machine itself is changed.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from .docker_engine import SYSTEM_PATH
from .docker_lan import LAN_PROGRAM, Lan
from .docker_wait import wait_for
from .keeper import Keeper, Kept
from .slurm_config import USERS

ROOT = Path(__file__).parents[2]
SHIMS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "sacct", "srun", "sacctmgr")
Words = Sequence[str | os.PathLike[str]]


def prepare(etc: Path, spare: Path) -> str:
    """Return shell commands that let a mount namespace see the cluster's accounts.

    Folders that only root may enter are opened as far as the way to Python and to the checkout needs it.

    Args:
        etc: holds the files that stand in for those of /etc.
        spare: an empty folder.
    """
    lines = [f"mount --bind {shlex.quote(str(path))} /etc/{path.name}" for path in sorted(etc.iterdir())]
    wanted = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix, ROOT)}
    for closed in {top for path in wanted if (top := closed_parent(path))}:
        below, top = shlex.quote(str(spare)), shlex.quote(str(closed))
        lines += [f"mount --rbind {top} {below}", f"mount -t tmpfs -o mode=755 tmpfs {top}"]
        for path in sorted(path for path in wanted if closed in path.parents):
            inner = shlex.quote(str(path.relative_to(closed)))
            lines.append(f"mkdir -p {top}/{inner}; mount --bind {below}/{inner} {top}/{inner}")
    return "\n".join(lines)


def closed_parent(path: Path) -> Path | None:
    """Return the uppermost folder above a path that users may not enter; None where the way is free."""
    return next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)


def as_user(name: str) -> list[str]:
    """Return the words that a command follows to run under a user's account, with all groups."""
    user = USERS[name]
    return ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--init-groups", "--"]


class LoginNode:
    """This machine as the cluster's users see it.

    Attributes:
        environment: of every command there.
        programs: holds for each user a folder of Slurm's commands that any process of root can call; they run as that
            user.
    """

    def __init__(self, keeper: Keeper, top: Path, conf: Path) -> None:
        self._keeper = keeper
        self.programs = top / "as"
        self.environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "SLURM_CONF": str(conf)}
        self._up = top / "login.up"
        script = f"set -e\n{prepare(top / 'etc.d', top / 'spare')}\n: > {self._up}\nexec sleep infinity"
        self._log = top / "log" / "login.log"
        command = ["unshare", "--mount", "--propagation=slave", "sh", "-c", script]
        self._holder = keeper.start(command, env=self.environment, cwd=Path("/"), log=self._log)

    def wait(self) -> None:
        """Wait until users may come, and write their commands."""
        wait_for(self._up.exists, self._holder.alive, "the login node", self._log)
        for name in (*USERS, "root"):
            folder = self.programs / name
            folder.mkdir(parents=True)
            for program in SHIMS:
                words = [*self.enter(), *([] if name == "root" else as_user(name)), f"/usr/bin/{program}"]
                shim = folder / program
                shim.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
                shim.chmod(0o755)

    def enter(self, cwd: Path = Path("/")) -> list[str]:
        """Return the words that a command of root's follows to run there."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", "env", "-C", str(cwd)]

    def start(self, argv: Words, log: Path, *, user: str = "", env: Mapping[str, str] | None = None) -> Kept:
        """Start a program that stays.

        Args:
            argv: the command.
            log: where its output goes.
            user: one of the cluster's users; root when empty.
            env: added to the environment.
        """
        words = [*self.enter(), *(as_user(user) if user else []), *argv]
        return self._keeper.start(words, env={**self.environment, **(env or {})}, cwd=Path("/"), log=log)

    def run(self, argv: Words, timeout: float, *, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as root; its output is text."""
        words = [*self.enter(), *argv]
        return subprocess.run(
            words, env=self.environment, input=stdin, capture_output=True, text=True, timeout=timeout, cwd="/"
        )


class Node:
    """One compute node.

    Attributes:
        name: its name, also as a host.
        address: on the cluster's network.
        started: local time when its slurmd was started, in whole seconds.
    """

    def __init__(self, name: str, lan: Lan, top: Path, conf: Path) -> None:
        self.name = name
        self.address = lan.next_address()
        self._lan = lan
        self._top = top
        self._conf = conf
        self._folder = top / "nodes" / name
        self._folder.mkdir(parents=True)
        self._host: Kept | None = None
        self._daemon: Kept | None = None
        self._pids = (0, 0)
        self.started = datetime.max

    def launch(self) -> None:
        """Make its namespaces; :meth:`start` follows."""
        (self._folder / "host").unlink(missing_ok=True)
        inside = f"mount --make-rprivate /\n{prepare(self._top / 'etc.d', self._top / 'spare')}"
        group = f"nbplatform-{self._lan.number}-{self.name}"
        words = ["host", self._folder, self.name, str(self._lan.pid), self.address, group, inside]
        command = [sys.executable, "-I", "-S", LAN_PROGRAM, *words]
        self._host = self._lan.keeper.start(command, cwd=Path("/"), log=self._folder / "host.log")

    def start(self) -> None:
        """Start slurmd once the namespaces are there."""
        assert self._host is not None
        host = self._host
        wait_for((self._folder / "host").exists, host.alive, f"the node {self.name}", self._folder / "host.log")
        init, end = (self._folder / "host").read_text().split()
        self._pids = (int(init), int(end))
        self.started = datetime.now().replace(microsecond=0)
        command = [*self.enter(), "slurmd", "-D", "-f", str(self._conf), "-N", self.name]
        env = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}
        self._daemon = self._lan.keeper.start(command, env=env, cwd=Path("/"), log=self._folder / "slurmd.log")

    def enter(self) -> list[str]:
        """Return the words that a command of root's follows to run on the node."""
        return ["nsenter", f"--target={self._pids[0]}", "--net", "--mount", "--pid", "--ipc", "--uts", "--"]

    def lose(self) -> None:
        """Let it go down at once: slurmd, every process of every job, its network."""
        assert self._host is not None
        os.kill(self._pids[1], signal.SIGKILL)
        self._host.wait()
        if self._daemon is not None:
            self._daemon.wait()

    def is_lost(self) -> bool:
        """Whether it is down."""
        return self._daemon is None or not self._daemon.alive()

    def cut(self) -> None:
        """Unplug its network: packets are lost, connections hang, processes live on."""
        self._lan.ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Plug the network in again; nothing happens to a node that is lost."""
        if not self.is_lost():
            self._lan.ip("link", "set", self.name, "up")
