"""A real Slurm for tests: slurmctld, three slurmd, munge, slurmrestd with JWT, slurmdbd with accounts; up in seconds.

    with running_slurm() as slurm:
        slurm.run_as("alice", ["sbatch", "--parsable", "--wrap", "id -un"])
        slurm.rest_url, slurm.mint("alice")
        slurm.lose_node("n2")

Each node has its own address, processes and host name; Docker hosts can be put on the same network (``slurm.lan``).
Users exist for the cluster's own processes alone: the machine's /etc is not changed.  Everything ends when the block
or the owner ends, even by ``kill -9``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from .docker_fleet import local_network
from .docker_lan import Lan
from .docker_wait import wait_for
from .keeper import Kept, keeper
from .ports import free_ports
from .slurm_accounts import Accounting
from .slurm_config import NODES, PARTITIONS, USERS, Places
from .slurm_daemons import Daemons
from .slurm_files import check_machine, make_files
from .slurm_machines import LoginNode, Node, Words, as_user

__all__ = ["USERS", "Slurm", "running_slurm"]

LIMIT = 20.0  # seconds that one command of Slurm may take
ENDED_LIMIT = 30.0  # seconds until jobs that were cancelled must be gone


class Slurm(Daemons):
    """A running cluster.

    Attributes:
        lan: its network; further machines, such as Docker hosts, can be plugged in.
        login: this machine as users see it.
        nodes: the compute nodes, by name.
        accounting: the database and slurmdbd; None without.
        places: where its files lie.
        conf: ``slurm.conf``.
        munge_folder: folder with munged's socket alone, for containers.
        jwt_key: the key of all JWTs; only root and ``slurm`` may read it.
        rest_url: of slurmrestd, reachable from this machine, the nodes and containers.
        address: of this machine on the cluster's network.
        home: folder of all HOMEs, which every node sees at the same path.
        programs: ``programs / NAME`` is a folder for PATH whose ``sbatch``, ``squeue``... run as that user.
    """

    def __init__(self, lan: Lan, top: Path, *, accounting: bool) -> None:
        ports = free_ports()
        self.lan = lan
        self.address = lan.hub_ip
        host = socket.gethostname().partition(".")[0]
        places = Places(top, self.address, host, ports.public, ports.hub, ports.proxy_api)
        self.conf = places.conf
        self.munge_folder = places.munge_folder
        self.jwt_key = places.jwt_key
        self.home = places.home
        self.rest_url = f"http://{self.address}:{places.rest_port}"
        self.nodes = {name: Node(name, lan, top, self.conf) for name in NODES}
        make_files(places, {name: node.address for name, node in self.nodes.items()}, accounting=accounting)
        self.accounting = Accounting(lan.keeper, places) if accounting else None
        super().__init__(places, LoginNode(lan.keeper, top, self.conf))
        self.programs = self.login.programs

    def start(self) -> None:
        """Start everything; returns when three nodes are idle."""
        for node in self.nodes.values():
            node.launch()
        self.login.wait()
        self.start_munge()
        if self.accounting is not None:
            self.accounting.start(self.login)
        self.start_controller()
        for node in self.nodes.values():
            node.start()
        self.start_rest()
        self.wait_for_nodes(*self.nodes)

    # ---- users

    def environment(self, user: str) -> dict[str, str]:
        """Return a whole environment for a process of root's whose ``sbatch``, ``squeue``... run as a user."""
        return {**self.login.environment, "PATH": f"{self.programs / user}:{self.login.environment['PATH']}"}

    def run_as(
        self, user: str, argv: Words, *, timeout: float = LIMIT, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the login node as a user, in the HOME; its output is text.

        Raises:
            subprocess.TimeoutExpired: it takes longer than ``timeout`` seconds.
        """
        return subprocess.run(
            self.words_as(user, argv), env=self.user_environment(user, env), input=stdin, capture_output=True,
            text=True, timeout=timeout, cwd="/",
        )  # fmt: skip

    def start_as(self, user: str, argv: Words, *, log: Path, env: Mapping[str, str] | None = None) -> Kept:
        """Start a program that stays, on the login node as a user, in the HOME; it ends with the cluster."""
        words = self.words_as(user, argv)
        return self.lan.keeper.start(words, env=self.user_environment(user, env), cwd=Path("/"), log=log)

    def words_as(self, user: str, argv: Words) -> list[str]:
        """Return a command of root's that runs another on the login node as a user, in the HOME."""
        return [*self.login.enter(self.home / user), *as_user(user), *map(os.fspath, argv)]

    def user_environment(self, user: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a user's processes on the login node."""
        about = {"HOME": str(self.home / user), "USER": user, "LOGNAME": user, "SHELL": "/bin/sh"}
        return {**self.login.environment, **about, **(more or {})}

    def mint(self, user: str, lifespan: int = 600) -> str:
        """Return a JWT for a user; one of a negative lifespan, in seconds, has ended."""
        import jwt

        now = int(time.time())
        key = self.jwt_key.read_bytes()
        return jwt.encode({"iat": min(now, now + lifespan - 1), "exp": now + lifespan, "sun": user}, key, "HS256")

    # ---- what it says

    def command(self, *argv: str, timeout: float = LIMIT) -> str:
        """Run one of Slurm's commands as root and return what it writes.

        Raises:
            AssertionError: it failed; holds its words.
        """
        done = self.login.run(argv, timeout)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def squeue(self, user: str = "", states: str = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING") -> list[str]:
        """Return ``ID NAME STATE REASON`` of the jobs that are not over, of one user or of all."""
        words = ["--noheader", f"--states={states}", "--format=%i %j %T %r", *([f"--user={user}"] if user else [])]
        return self.command("squeue", *words).splitlines()

    def job_count(self, user: str = "") -> int:
        """Return how many jobs are not over."""
        return len(self.squeue(user))

    def wait_for_jobs(self, count: int, user: str = "", limit: float = ENDED_LIMIT) -> None:
        """Wait until so many jobs are not over.

        Raises:
            AssertionError: another number stays.
        """
        end = time.monotonic() + limit
        while len(found := self.squeue(user)) != count:
            assert time.monotonic() < end, f"{count} jobs wanted, there are: {found}"
            time.sleep(0.05)

    def wait_for_nodes(self, *names: str) -> None:
        """Wait until nodes are up and idle or at work."""
        assert self._controller is not None
        log = self.places.top / "log" / "slurmctld.log"
        wait_for(lambda: self._up(names), self._controller.alive, f"one of the nodes {names}", log)

    def clear(self) -> None:
        """End all jobs and wait until they are gone."""
        if ids := [line.split()[0] for line in self.squeue()]:
            self.command("scancel", "--full", *ids)
            self.wait_for_jobs(0)

    def mend(self) -> None:
        """Undo every fault that is left, and end all jobs."""
        self.mend_daemons()
        for name, node in self.nodes.items():
            node.mend()
            if node.is_lost():
                self.bring_back(name)
        for name in PARTITIONS:
            self.set_partition(name, "DOWN" if name == "closed" else "UP")
        self.clear()

    def lose_node(self, name: str) -> None:
        """Let a node go down at once, with every process of every job; Slurm finds out by itself after some 10 s."""
        self.nodes[name].lose()

    def bring_back(self, name: str) -> None:
        """Bring a lost node back and wait until Slurm uses it."""
        node = self.nodes[name]
        node.launch()
        node.start()
        self.wait_for_nodes(name)

    def set_partition(self, name: str, state: str) -> None:
        """Set a partition ``UP``, ``DOWN``, ``DRAIN`` or ``INACTIVE``."""
        self.command("scontrol", "update", f"PartitionName={name}", f"State={state}")

    @contextmanager
    def filled(self, partition: str = "tiny", user: str = "bob") -> Iterator[str]:
        """Have one running job fill a partition (only ``tiny`` is that small); yields its id, and ends it."""
        script = "#!/bin/sh\nexec sleep 600\n"
        options = ["--parsable", f"--partition={partition}", "--job-name=filler", "--output=/dev/null", "--mem=10"]
        done = self.run_as(user, ["sbatch", *options], stdin=script)
        assert done.returncode == 0, done.stderr
        number = done.stdout.strip()
        try:
            while not any(line.split()[2] == "RUNNING" for line in self.squeue(user) if line.startswith(f"{number} ")):
                time.sleep(0.05)
            yield number
        finally:
            self.command("scancel", "--full", number)

    def _up(self, names: tuple[str, ...]) -> bool:
        return all(self._is_up(name) for name in names)

    def _is_up(self, name: str) -> bool:
        """Whether Slurm uses a node, and knows the slurmd that runs now."""
        words = self.login.run(["scontrol", "--oneliner", "show", "node", name], LIMIT).stdout.split()
        found = dict(word.split("=", 1) for word in words if "=" in word)
        started = found.get("SlurmdStartTime", "None")
        if started == "None" or datetime.fromisoformat(started) < self.nodes[name].started:
            return False
        return found["State"] in ("IDLE", "MIXED", "ALLOCATED", "IDLE+COMPLETING", "MIXED+COMPLETING")


@contextmanager
def running_slurm(lan: Lan | None = None, *, accounting: bool = True) -> Iterator[Slurm]:
    """A cluster with three idle nodes.

    Args:
        lan: the network of a Docker fleet that it is put on; its own when None.
        accounting: whether there are accounts with limits, kept by slurmdbd.

    Raises:
        MissingComponent: this machine lacks something.
        HostDied: a part does not come up; ends with its log.
    """
    check_machine(accounting=accounting)
    if lan is not None:
        slurm = Slurm(lan, lan.folder / "slurm", accounting=accounting)
        slurm.start()
        yield slurm
        return
    with keeper("sl", grace=3.0) as one:
        own = local_network(one)
        slurm = Slurm(own, own.folder / "slurm", accounting=accounting)
        slurm.start()
        yield slurm
