"""The daemons of the cluster for tests that can stop, hang and come back: munged, slurmctld, slurmrestd."""

from __future__ import annotations

import signal
import subprocess

from .docker_wait import wait_for
from .keeper import Kept
from .ports import listens
from .slurm_config import Places
from .slurm_machines import LoginNode

REST_PLUGINS = "openapi/v0.0.38,openapi/v0.0.37,openapi/v0.0.36"


class Daemons:
    """What of a cluster runs on this machine, but its accounting.

    Attributes:
        places: where its files lie.
        login: this machine as users see it.
    """

    def __init__(self, places: Places, login: LoginNode) -> None:
        self.places = places
        self.login = login
        self._controller: Kept | None = None
        self._rest: Kept | None = None

    def stop_controller(self) -> None:
        """Stop slurmctld orderly; its state stays."""
        assert self._controller is not None
        self._controller.signal(signal.SIGCONT)
        self._controller.stop()

    def kill_controller(self) -> None:
        """Kill slurmctld."""
        assert self._controller is not None
        self._controller.kill9()

    def start_controller(self) -> None:
        """Start slurmctld, on the state it has, and wait until it answers."""
        assert self._controller is None or not self._controller.alive(), "it runs"
        log = self.places.top / "log" / "slurmctld.out"
        self._controller = self.login.start(["slurmctld", "-D", "-f", str(self.places.conf)], log)
        wait_for(self._answers, self._controller.alive, "slurmctld", log)

    def restart(self) -> None:
        """Stop slurmctld and start it again."""
        self.stop_controller()
        self.start_controller()

    def hang_controller(self) -> None:
        """Stop slurmctld in its tracks: it takes connections and never answers."""
        assert self._controller is not None
        self._controller.signal(signal.SIGSTOP)

    def continue_controller(self) -> None:
        """Let a hung slurmctld go on."""
        assert self._controller is not None
        self._controller.signal(signal.SIGCONT)

    def mend_daemons(self) -> None:
        """Let all of them run and answer again."""
        assert self._controller is not None
        assert self._rest is not None
        self._controller.signal(signal.SIGCONT)
        self._rest.signal(signal.SIGCONT)
        if not self._controller.alive():
            self.start_controller()
        if not self._rest.alive():
            self.start_rest()

    def stop_rest(self) -> None:
        """Stop slurmrestd."""
        assert self._rest is not None
        self._rest.signal(signal.SIGCONT)
        self._rest.stop()

    def hang_rest(self) -> None:
        """Stop slurmrestd in its tracks."""
        assert self._rest is not None
        self._rest.signal(signal.SIGSTOP)

    def continue_rest(self) -> None:
        """Let a hung slurmrestd go on."""
        assert self._rest is not None
        self._rest.signal(signal.SIGCONT)

    def start_rest(self) -> None:
        """Start slurmrestd and wait until it listens."""
        log = self.places.top / "log" / "slurmrestd.out"
        where = f"{self.places.address}:{self.places.rest_port}"
        account = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        command = ["slurmrestd", "-f", str(self.places.conf), "-a", "rest_auth/jwt", "-s", REST_PLUGINS, where]
        self._rest = self.login.start([*account, *command], log, env={"SLURM_JWT": "daemon"})
        port = self.places.rest_port
        wait_for(lambda: listens(port, self.places.address), self._rest.alive, "slurmrestd", log)

    def start_munge(self) -> None:
        """Start munged and wait for its socket."""
        top = self.places.top
        files = ["socket", self.places.munge_socket], ["pid-file", top / "run" / "munged.pid"]
        more = ["key-file", top / "key" / "munge.key"], ["log-file", top / "log" / "munged.log"]
        options = [f"--{name}={path}" for name, path in (*files, *more, ["seed-file", top / "key" / "munge.seed"])]
        log = top / "log" / "munged.out"
        daemon = self.login.start(["munged", "--foreground", "--force", *options], log)
        wait_for(self.places.munge_socket.exists, daemon.alive, "munged", log)

    def _answers(self) -> bool:
        try:
            return "is UP" in self.login.run(["scontrol", "ping"], 5).stdout
        except subprocess.TimeoutExpired:
            return False
