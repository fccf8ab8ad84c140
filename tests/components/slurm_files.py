"""What the cluster for tests needs of this machine, and the files that it is made from."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from . import MissingComponent
from .docker_engine import can_make_hosts
from .slurm_config import GPUS, USERS, Places, account_files, cgroup_conf, gres_conf, slurm_conf, slurmdbd_conf

PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "slurmrestd": "slurmrestd",
    "tini": "tini",
    "setpriv": "util-linux",
}
ACCOUNTING_PROGRAMS = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server"}
JWT_PLUGIN = "usr/lib/*/slurm*/auth_jwt.so"


def check_machine(*, accounting: bool) -> None:
    """Return if this machine can run a cluster.

    Raises:
        MissingComponent: it cannot; says why.
    """
    if os.geteuid() != 0:
        raise MissingComponent("a Slurm for tests needs root: its jobs run under other accounts")
    for program, package in {**PROGRAMS, **(ACCOUNTING_PROGRAMS if accounting else {})}.items():
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            raise MissingComponent(f"{program} is not installed (as root: apt-get install {package})")
    if not any(Path("/").glob(JWT_PLUGIN)):
        raise MissingComponent("Slurm's JWT plugin is not installed (as root: apt-get install slurm-wlm-jwt-plugin)")
    can_make_hosts()


def make_files(places: Places, addresses: dict[str, str], *, accounting: bool) -> None:
    """Write everything that the cluster's programs read."""
    top = places.top
    slurm = pwd.getpwnam("slurm")
    for name in ("etc", "etc.d", "munge", "home", "log", "run", "state", "spool", "dev", "key", "spare"):
        (top / name).mkdir(parents=True, exist_ok=True)
        (top / name).chmod(0o755)
    (top / "key").chmod(0o700)
    top.chmod(0o755)
    for name in ("state", "log", "run"):
        os.chown(top / name, slurm.pw_uid, slurm.pw_gid)
    write(top / "key" / "munge.key", os.urandom(128), 0o400)
    write(places.jwt_key, os.urandom(32), 0o600, slurm.pw_uid)
    write(places.conf, slurm_conf(places, addresses, accounting=accounting).encode())
    write(places.conf.with_name("gres.conf"), gres_conf(places).encode())
    write(places.conf.with_name("cgroup.conf"), cgroup_conf().encode())
    if accounting:
        write(places.conf.with_name("slurmdbd.conf"), slurmdbd_conf(places).encode(), 0o600, slurm.pw_uid)
    for name, text in account_files(places, addresses).items():
        write(top / "etc.d" / name, text.encode())
    for number in range(GPUS):
        os.mknod(top / "dev" / f"nvidia{number}", 0o20666, os.makedev(1, 3))
    for user in USERS.values():
        (places.home / user.name).mkdir(mode=0o700)
        os.chown(places.home / user.name, user.uid, user.gid)


def write(path: Path, content: bytes, mode: int = 0o644, uid: int = 0) -> None:
    """Write a file that has this mode and owner."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    os.chown(path, uid, 0)
    path.chmod(mode)
