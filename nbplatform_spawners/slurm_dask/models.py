"""Dask clusters on Slurm as values: what Slurm says of a job, and what the site's file says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Way = Literal["commands", "rest"]
"""How Slurm is asked: with its own commands, or over HTTP at slurmrestd."""

PENDING_STATES = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    }
)
ENDED_STATES = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "REVOKED",
        "TIMEOUT",
    }
)
GIB = 1024**3


@dataclass(frozen=True)
class JobState:
    """What Slurm says of one job.

    Attributes:
        id: the job's number, as text.
        name: the job's name.
        user: login name of the user it runs as.
        state: Slurm's word in capitals, without what may follow it (``CANCELLED``).
        reason: Slurm's word for why it waits or has ended; empty when there is none.
        tag: its comment, as it stands there; see :mod:`.tag`.
        partition: the queue.
        submitted, started: aware times; None when unknown or not yet.
        expected: aware time at which Slurm means to start a waiting job; None when it does not say.
        nodes: the nodes' names in Slurm's short form; empty before it starts.
        exit_code: of an ended job; 128 and more for a signal.  None while it has not ended, or when nobody says.
    """

    id: str
    name: str
    user: str
    state: str
    reason: str = ""
    tag: str = ""
    partition: str = ""
    submitted: datetime | None = None
    started: datetime | None = None
    expected: datetime | None = None
    nodes: str = ""
    exit_code: int | None = None

    @property
    def pending(self) -> bool:
        """It waits, or its nodes are being made ready."""
        return self.state in PENDING_STATES

    @property
    def ended(self) -> bool:
        """It is over.  A state that is not known here is not an end."""
        return self.state in ENDED_STATES

    @property
    def running(self) -> bool:
        """It holds nodes: it runs, is suspended, is completing, or is in a state that is not known here."""
        return not self.pending and not self.ended


@dataclass(frozen=True)
class Limits:
    """What one user may ask for; None is no limit of the site's own.

    Attributes:
        workers: workers of one cluster.
        cores: cores of one worker.
        memory: bytes of one worker.
        gpus: GPUs of one worker.
        walltime: seconds that a job may run.
        clusters: clusters of one user at once.
    """

    workers: int | None = None
    cores: int | None = None
    memory: int | None = None
    gpus: int | None = None
    walltime: int | None = None
    clusters: int | None = None


@dataclass(frozen=True)
class Defaults:
    """What a cluster has where nobody says otherwise.

    Attributes:
        queue, account: Slurm's partition and account; None leaves the choice to Slurm.
        cores: cores of one worker.
        memory: bytes of one worker.
        walltime: seconds that a job may run.
        n_workers: workers at the start.
        gpus: GPUs of one worker.
    """

    queue: str | None = None
    account: str | None = None
    cores: int = 1
    memory: int = 2 * GIB
    walltime: int = 3600
    n_workers: int = 0
    gpus: int = 0


@dataclass(frozen=True)
class GroupDefaults:
    """Account and queue for the members of a group; None leaves that one to the entries behind it."""

    group: str
    account: str | None = None
    queue: str | None = None


@dataclass(frozen=True)
class Site:
    """The whole site file.

    Attributes:
        way: how Slurm is asked.
        rest_url: address of slurmrestd; None unless ``way`` is ``rest``.
        token_url: where a server gets its Slurm token; None stands for the hub's service ``nbplatform-slurm``.
        timeout: seconds that one call of Slurm may take.
        network: addresses (CIDR) of which a node uses its own; None stands for the one that its host name has.
        scheduler_cores, scheduler_memory: cores and bytes of the scheduler's job.
        worker_python: path of the Python on the nodes; None stands for the kernel's own.
        prologue: shell lines that every job runs first, such as ``module load``.
        shared: folders that the nodes share with the servers.
        folder: where the folders of clusters lie, ``{home}`` and ``{username}`` filled in; None is :data:`FOLDER`.
        idle: seconds without any client and owner after which a scheduler ends.
        owner_grace: seconds that a scheduler outlives the connection to the notebook that owns it.
        defaults, groups, limits: what clusters have, and may have.
        support: whom users ask.
        absent: path at which there is no site file, so that all of this is a default; None where there is one.
    """

    way: Way = "commands"
    rest_url: str | None = None
    token_url: str | None = None
    timeout: int = 10
    network: str | None = None
    scheduler_cores: int = 1
    scheduler_memory: int = 2 * GIB
    worker_python: str | None = None
    prologue: tuple[str, ...] = ()
    shared: tuple[str, ...] = ("/home",)
    folder: str | None = None
    idle: int = 1800
    owner_grace: int = 30
    defaults: Defaults = field(default_factory=Defaults)
    groups: tuple[GroupDefaults, ...] = ()
    limits: Limits = field(default_factory=Limits)
    support: str = "your administrators"
    absent: str | None = None


FOLDER = "{home}/.nbplatform/dask"
"""Where the folders of clusters lie unless the site says otherwise."""
SITE_ENV = "NBPLATFORM_SLURM_SITE"
"""Environment variable with the path of the site file."""
SITE_FILE = "/etc/nbplatform/slurm.yaml"
"""Where the site file lies where the variable is not set; without it the shipped defaults hold."""
