"""Slurm's accounting for tests: a private MariaDB that only the account ``slurm`` may enter, and slurmdbd on it."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from .docker_engine import SYSTEM_PATH
from .docker_wait import HostDied, wait_for
from .keeper import Keeper, Kept
from .slurm_config import QOS, Places, accounts_file
from .slurm_machines import LoginNode

COMMAND_LIMIT = 20.0  # seconds


class Accounting:
    """The database and slurmdbd.

    Making it starts to prepare the database, which takes most of a second; :meth:`start` follows.
    """

    def __init__(self, keeper: Keeper, places: Places) -> None:
        self._keeper = keeper
        self._places = places
        self._folder = places.top / "database"
        self._folder.mkdir(mode=0o700)
        account = pwd.getpwnam("slurm")
        os.chown(self._folder, account.pw_uid, account.pw_gid)
        self._socket = self._folder / "sock"
        self._log = places.top / "log" / "mariadb.log"
        options = ["--auth-root-authentication-method=socket", "--auth-root-socket-user=slurm", "--skip-test-db"]
        command = ["mariadb-install-db", "--no-defaults", "--user=slurm", f"--datadir={self._folder}/data", *options]
        self._install = self._start(*command)
        self._database: Kept | None = None
        self._daemon: Kept | None = None

    def start(self, login: LoginNode) -> None:
        """Start both and enter cluster, accounts and users.

        Raises:
            HostDied: one of them does not come up, or an entry was refused.
        """
        if self._install.wait() != 0:
            raise HostDied(f"the database cannot be made: {self._log.read_text(errors='replace')[-2000:]}")
        options = ["--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]
        files = [f"--datadir={self._folder}/data", f"--socket={self._socket}", f"--pid-file={self._folder}/pid"]
        self._database = self._start("mariadbd", "--no-defaults", "--user=slurm", *files, *options)
        wait_for(self._socket.exists, self._database.alive, "mariadbd", self._log)
        self.start_daemon(login)
        for name, limits in QOS.items():
            sacctmgr(login, "add", "qos", name, *limits)
        file = self._places.top / "etc" / "accounts"
        file.write_text(accounts_file())
        sacctmgr(login, "load", str(file))

    def start_daemon(self, login: LoginNode) -> None:
        """Start slurmdbd and wait until it answers."""
        log = self._places.top / "log" / "slurmdbd.out"
        command = ["setpriv", "--reuid=slurm", "--regid=slurm", "--init-groups", "--", "slurmdbd", "-D"]
        self._daemon = login.start(command, log, env={"MYSQL_UNIX_PORT": str(self._socket)})
        wait_for(lambda: answers(login), self._daemon.alive, "slurmdbd", log)

    def stop_daemon(self) -> None:
        """Stop slurmdbd alone."""
        assert self._daemon is not None
        self._daemon.stop()

    def _start(self, *command: str) -> Kept:
        env = {"PATH": SYSTEM_PATH, "HOME": str(self._folder)}
        return self._keeper.start(command, env=env, cwd=Path("/"), log=self._log)


def answers(login: LoginNode) -> bool:
    """Whether slurmdbd answers."""
    try:
        return login.run(["sacctmgr", "-n", "show", "cluster"], 5).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def sacctmgr(login: LoginNode, *words: str) -> None:
    """Enter something.

    Raises:
        HostDied: it was refused.
    """
    done = login.run(["sacctmgr", "-i", "-Q", *words], COMMAND_LIMIT)
    if done.returncode != 0:
        raise HostDied(f"sacctmgr {' '.join(words)}: {done.stdout} {done.stderr}")
