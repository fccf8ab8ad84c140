"""What the cluster for tests consists of, and the files that say so: users, partitions, ``slurm.conf`` and the like.

Pure text; :mod:`tests.components.slurm` starts the programs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CLUSTER = "nbtest"
NODES = ("n1", "n2", "n3")
GPUS = 2
GPU_NODE = "n3"
CPUS, MEMORY = 8, 16000  # of each node; memory in MB
GROUPS = {"atlas": 62100, "cms": 62200, "grid": 62300}
DATABASE = "slurm_acct"
PARTITIONS = {
    "main": f"Nodes={','.join(NODES)} MaxTime=01:00:00 State=UP",
    "htc": f"Nodes={','.join(NODES)} MaxTime=1-00:00:00 State=UP Default=YES",
    "gpu": f"Nodes={GPU_NODE} MaxTime=1-00:00:00 State=UP",
    "tiny": "Nodes=n2 MaxTime=1-00:00:00 State=UP MaxCPUsPerNode=1",
    "closed": "Nodes=n1 MaxTime=01:00:00 State=DOWN",
}
"""One running job fills ``tiny``; ``closed`` is down."""


@dataclass(frozen=True)
class User:
    """An account of the site.

    Attributes:
        name: the user's name.
        uid: its number.
        group: the primary group.
        groups: the other groups.
        account: the default account in Slurm; empty for a user whom Slurm's accounting does not know.
        more_accounts: others that may be charged.
        limits: further words for the user's associations.
    """

    name: str
    uid: int
    group: str
    groups: tuple[str, ...] = ()
    account: str = ""
    more_accounts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def gid(self) -> int:
        """Number of the primary group."""
        return GROUPS[self.group]


USERS = {
    user.name: user
    for user in (
        User("alice", 62001, "atlas", ("grid",), account="atlas", more_accounts=("cms",)),
        User("bob", 62002, "cms", account="cms"),
        User("carol", 62003, "cms", ("grid",), account="cms", limits=("MaxJobs=1", "MaxSubmitJobs=2")),
        User("dave", 62004, "atlas"),
        User("reaper", 62005, "grid", account="service", limits=("AdminLevel='Operator'",)),
    )
}
QOS = {"short": ("MaxWall=00:05:00", "MaxTRESPerUser=cpu=2")}


@dataclass(frozen=True)
class Places:
    """Where everything of one cluster lies.

    Attributes:
        top: the folder of all.
        address: of the machine on the cluster's network.
        host: the machine's host name.
        controller_port: of slurmctld.
        database_port: of slurmdbd.
        rest_port: of slurmrestd.
    """

    top: Path
    address: str
    host: str
    controller_port: int
    database_port: int
    rest_port: int

    @property
    def conf(self) -> Path:
        """``slurm.conf``; what else it needs lies beside it."""
        return self.top / "etc" / "slurm.conf"

    @property
    def munge_folder(self) -> Path:
        """Folder that holds munged's socket, and nothing else."""
        return self.top / "munge"

    @property
    def munge_socket(self) -> Path:
        """Where munged listens."""
        return self.munge_folder / "munge.socket"

    @property
    def jwt_key(self) -> Path:
        """The key of all JWTs."""
        return self.top / "state" / "jwt.key"

    @property
    def home(self) -> Path:
        """Folder of all HOMEs."""
        return self.top / "home"


def slurm_conf(places: Places, addresses: dict[str, str], *, accounting: bool) -> str:
    """Return ``slurm.conf``.

    Args:
        places: where everything lies.
        addresses: of the nodes, by name.
        accounting: whether there is a slurmdbd.
    """
    top = places.top
    lines = [
        f"ClusterName={CLUSTER}",
        f"SlurmctldHost={places.host}({places.address})",
        f"SlurmctldPort={places.controller_port}",
        "SlurmUser=slurm",
        "AuthType=auth/munge",
        f"AuthInfo=socket={places.munge_socket}",
        "CredType=cred/munge",
        "AuthAltTypes=auth/jwt",
        f"AuthAltParameters=jwt_key={places.jwt_key}",
        "CommunicationParameters=NoCtldInAddrAny",
        f"StateSaveLocation={top}/state",
        f"SlurmctldPidFile={top}/run/slurmctld.pid",
        f"SlurmctldLogFile={top}/log/slurmctld.log",
        f"SlurmdSpoolDir={top}/spool/%n",
        f"SlurmdPidFile={top}/run/slurmd.%n.pid",
        f"SlurmdLogFile={top}/log/slurmd.%n.log",
        "SlurmdParameters=config_overrides",
        "SlurmdTimeout=10",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/linux",
        "MpiDefault=none",
        "ReturnToService=2",
        "KillWait=2",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "DefMemPerCPU=500",
        "EnforcePartLimits=ANY",
        "SchedulerParameters=bf_interval=5,sched_min_interval=0,batch_sched_delay=0",
        "GresTypes=gpu",
        *(accounting_lines(places) if accounting else ["AccountingStorageType=accounting_storage/none"]),
    ]
    for name, address in addresses.items():
        gres = f" Gres=gpu:{GPUS}" if name == GPU_NODE else ""
        lines.append(f"NodeName={name} NodeAddr={address} CPUs={CPUS} RealMemory={MEMORY}{gres}")
    return "\n".join([*lines, *partition_lines()]) + "\n"


def accounting_lines(places: Places) -> list[str]:
    """Return the lines about slurmdbd; its password is a socket of munged where that is not in its usual place."""
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        f"AccountingStorageHost={places.address}",
        f"AccountingStoragePort={places.database_port}",
        f"AccountingStoragePass={places.munge_socket}",
        "AccountingStorageEnforce=associations,limits,qos",
        "AccountingStoreFlags=job_comment",
    ]


def partition_lines() -> list[str]:
    """Return the lines about partitions."""
    return [f"PartitionName={name} {settings} DefaultTime=00:10:00" for name, settings in PARTITIONS.items()]


def slurmdbd_conf(places: Places) -> str:
    """Return ``slurmdbd.conf``, which only Slurm's own account may read."""
    return "\n".join(
        [
            "AuthType=auth/munge",
            f"AuthInfo=socket={places.munge_socket}",
            f"DbdHost={places.host}",
            f"DbdAddr={places.address}",
            f"DbdPort={places.database_port}",
            "SlurmUser=slurm",
            "StorageType=accounting_storage/mysql",
            "StorageHost=localhost",
            "StorageUser=slurm",
            f"StorageLoc={DATABASE}",
            f"PidFile={places.top}/run/slurmdbd.pid",
            f"LogFile={places.top}/log/slurmdbd.log",
            "",
        ]
    )


def gres_conf(places: Places) -> str:
    """Return ``gres.conf``."""
    return f"NodeName={GPU_NODE} Name=gpu File={places.top}/dev/nvidia[0-{GPUS - 1}]\n"


def cgroup_conf() -> str:
    """Return ``cgroup.conf``; nothing is put into control groups."""
    return "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainCores=no\n"


def account_files(places: Places, addresses: dict[str, str]) -> dict[str, str]:
    """Return the files below /etc that the cluster's programs see in place of the machine's own."""
    passwd = kept_lines(Path("/etc/passwd"), USERS)
    passwd += [f"{user.name}:x:{user.uid}:{user.gid}::{places.home / user.name}:/bin/sh" for user in USERS.values()]
    group = kept_lines(Path("/etc/group"), GROUPS)
    for name, gid in GROUPS.items():
        group.append(f"{name}:x:{gid}:{','.join(user.name for user in USERS.values() if name in user.groups)}")
    hosts = ["127.0.0.1 localhost", f"{places.address} {places.host}"]
    hosts += [f"{address} {name}" for name, address in addresses.items()]
    return {
        "passwd": "\n".join(passwd) + "\n",
        "group": "\n".join(group) + "\n",
        "hosts": "\n".join(hosts) + "\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    }


def kept_lines(path: Path, but: Iterable[str]) -> list[str]:
    """Return the lines of a file of accounts, but those of some names."""
    names = set(but)
    return [line for line in path.read_text().splitlines() if line.partition(":")[0] not in names]


def accounts_file() -> str:
    """Return cluster, accounts and users as ``sacctmgr load`` reads them; adding one by one takes seconds."""
    lines = [f"Cluster - '{CLUSTER}':DefaultQOS='normal':QOS='normal'", "Parent - 'root'"]
    charged = {name: (user.account, *user.more_accounts) for name, user in USERS.items() if user.account}
    accounts = sorted({account for names in charged.values() for account in names})
    for account in accounts:
        about = f"Description='{account}':Organization='{account}'"
        lines.append(f"Account - '{account}':{about}:QOS='{','.join(['normal', *QOS])}'")
    for account in accounts:
        lines.append(f"Parent - '{account}'")
        for name, names in charged.items():
            if account in names:
                lines.append(":".join([f"User - '{name}'", f"DefaultAccount='{names[0]}'", *USERS[name].limits]))
    return "\n".join(lines) + "\n"
