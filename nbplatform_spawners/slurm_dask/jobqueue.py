"""Job scripts as dask-jobqueue writes them: the only door to it, and what its import does to a process stays here.

Importing dask-jobqueue replaces the handler of SIGINT by one that exits, and fails off the main thread.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

import dask.config

from .amounts import format_memory, format_walltime
from .errors import ClusterRefused

_IMPORTING = threading.Lock()
_SCHEDULER_TOO = ("--qos", "-q", "--reservation", "--clusters", "-M")
"""Of a user's own directives, those without which Slurm would refuse the scheduler's job, too."""


@dataclass(frozen=True)
class WorkerJob:
    """What the job of one worker asks for.

    Attributes:
        queue, account: Slurm's partition and account; None leaves the choice to Slurm.
        cores, memory, gpus: of the job; memory in bytes.
        processes: Dask workers that share them.
        walltime: seconds.
        python: path on the nodes.
        prologue: shell lines before the worker.
        directives: more options of ``sbatch``, without ``#SBATCH``.
        extra_args: more arguments of ``dask worker``.
        local_directory: where a worker spills to; None is what the node's own settings say.
        options: further arguments of dask-jobqueue's job, by its names.
    """

    queue: str | None
    account: str | None
    cores: int
    memory: int
    gpus: int
    processes: int
    walltime: int
    python: str
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()
    local_directory: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where the jobs of one cluster find each other.

    Attributes:
        folder: the cluster's folder, with certificate, key and ``node.py``.
        log_folder: where the jobs' outputs go.
        tag: text of every job's comment.
        node_python: path of the Python on the nodes.
    """

    folder: str
    log_folder: str
    tag: str
    node_python: str

    def path(self, name: str) -> str:
        """Return the path of a file in the folder, quoted for a shell."""
        return shlex.quote(str(PurePosixPath(self.folder, name)))

    def tls(self) -> tuple[str, ...]:
        """Return the options by which every process of the cluster finds its certificate."""
        pairs = (("--tls-ca-file", "tls.pem"), ("--tls-cert", "tls.pem"), ("--tls-key", "tls.key"))
        return tuple(word for option, name in pairs for word in (option, self.path(name)))

    def address(self) -> str:
        """Return the shell line that finds the node's own address."""
        return f"address=$({shlex.quote(self.node_python)} {self.path('node.py')} address) || exit 1"

    def directives(self, name: str, dependency: str | None) -> tuple[str, ...]:
        """Return what every job of the cluster tells Slurm.

        Args:
            name: the job's.
            dependency: id of the job that must have begun before; None for none.
        """
        after = (f"--dependency=after:{dependency}",) if dependency else ()
        return (
            f"--output={_quoted(str(PurePosixPath(self.log_folder, f'{name}.log')))}",
            f"--comment={_quoted(self.tag)}",
            "--no-requeue",
            *after,
        )


def worker_script(job: WorkerJob, place: Place, name: str, job_name: str, dependency: str | None = None) -> str:
    """Return the script of one worker's job, as dask-jobqueue writes it.

    Args:
        job: what it asks for.
        place: of its cluster.
        name: the Dask worker's.
        job_name: the job's in Slurm.
        dependency: id of a job that must have begun before; None for none.

    Raises:
        ClusterRefused: dask-jobqueue does not accept the arguments.
    """
    preload = ("--preload", place.path("node.py"), "--preload-nanny", place.path("node.py"))
    where = ("--host", '"tls://$address"', "--dashboard-address", '"$address:0"')
    gpus = (f"--gres=gpu:{job.gpus}",) if job.gpus else ()
    arguments: dict[str, Any] = {
        **job.options,
        "scheduler": f"--scheduler-file {place.path('scheduler.json')}",
        "name": name,
        "queue": job.queue,
        "account": job.account,
        "cores": job.cores,
        "memory": f"{job.memory}B",
        "processes": job.processes,
        "walltime": format_walltime(job.walltime),
        "python": shlex.quote(job.python),
        "interface": "",  # the nodes' address is found on the nodes
        "job_name": job_name,
        "job_extra_directives": [*gpus, *job.directives, *place.directives(job_name, dependency)],
        "job_script_prologue": [*job.prologue, place.address()],
        "worker_extra_args": [*job.extra_args, *where, *preload, *place.tls()],
        "job_directives_skip": [*job.options.get("job_directives_skip", ()), "#SBATCH -e ", "#SBATCH -o "],
    }
    if job.local_directory is not None:
        arguments["local_directory"] = job.local_directory
    try:
        return str(_jobqueue().slurm.SLURMJob(**arguments).job_script())
    except (TypeError, ValueError) as error:
        raise ClusterRefused(f"dask-jobqueue does not accept the arguments of this cluster: {error}") from None


def scheduler_script(job: WorkerJob, place: Place, job_name: str, cores: int, memory: int) -> str:
    """Return the script of the scheduler's job.

    Args:
        job: what a worker's job asks for: queue, account, wall time, prologue and Python are the same.
        place: of its cluster.
        job_name: the job's in Slurm.
        cores: of the scheduler.
        memory: bytes.
    """
    own = [line for line in job.directives if line.replace("=", " ").split(" ")[0] in _SCHEDULER_TOO]
    header = [
        f"-J {job_name}",
        *([f"-p {job.queue}"] if job.queue else []),
        *([f"-A {job.account}"] if job.account else []),
        "-n 1",
        f"--cpus-per-task={cores}",
        f"--mem={format_memory(memory)}",
        f"-t {format_walltime(job.walltime)}",
        *own,
        *place.directives(job_name, None),
    ]
    command = [
        shlex.quote(job.python),
        "-m distributed.cli.dask_scheduler",
        '--host "tls://$address" --port 0 --dashboard-address "$address:0"',
        f"--scheduler-file {place.path('scheduler.json')} --preload {place.path('node.py')}",
        *place.tls(),
    ]
    shebang = str(dask.config.get("jobqueue.slurm.shebang", None) or "#!/usr/bin/env bash")
    shell = [*job.prologue, place.address(), " ".join(command)]
    lines = [shebang, "", *(f"#SBATCH {line}" for line in header), *shell]
    return "\n".join(lines) + "\n"


def user_config() -> dict[str, Any]:
    """Return what the user's own Dask configuration says under ``jobqueue.slurm``, with underscores in its keys.

    What dask-jobqueue ships as defaults is left out: its 30 minutes are nobody's wish.
    """
    _jobqueue()
    shipped = _slurm_section(_shipped())
    written = _slurm_section(dask.config.collect(paths=dask.config.paths, env=os.environ))
    live = _slurm_section(dask.config.config)
    return {
        key: value for key, value in live.items() if value is not None and (key in written or value != shipped.get(key))
    }


def choose_python(wanted: str | None, executable: str, shared: Sequence[str], worker_python: str | None) -> str:
    """Return the Python that the nodes run.

    Args:
        wanted: what the user asks for; it is taken as it is.
        executable: the kernel's own, used where it lies on storage that the nodes share.
        shared: folders that the nodes share.
        worker_python: the site's; None for none.

    Raises:
        ClusterRefused: there is none that the nodes could have.
    """
    if wanted:
        return wanted
    path = PurePosixPath(executable)
    if ".." not in path.parts and any(path.is_relative_to(folder) for folder in shared):
        return executable
    if worker_python:
        return worker_python
    raise ClusterRefused(
        f"the Python of this notebook ({executable}) is not on storage that the nodes share ({', '.join(shared)}): "
        "use a kernel that is installed there, or say python= with the path of one that the nodes have"
    )


def _jobqueue() -> ModuleType:
    with _IMPORTING, _signals_kept():
        import dask_jobqueue
        import dask_jobqueue.slurm

        return dask_jobqueue


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Let an import in this thread set no handler of SIGINT; other threads set theirs as ever."""
    original, importer = signal.signal, threading.get_ident()

    def kept(number: int, handler: Any) -> Any:
        if number == signal.SIGINT and threading.get_ident() == importer:
            return signal.getsignal(number)
        return original(number, handler)

    signal.signal = kept  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = original


def _shipped() -> Mapping[str, Any]:
    return next((entry for entry in reversed(dask.config.defaults) if _slurm_section(entry)), {})


def _slurm_section(config: Mapping[str, Any]) -> dict[str, Any]:
    section = config.get("jobqueue") or {}
    slurm = (section.get("slurm") if isinstance(section, Mapping) else None) or {}
    return {str(key).replace("-", "_"): value for key, value in slurm.items()} if isinstance(slurm, Mapping) else {}


def _quoted(text: str) -> str:
    """Return text as one word of an ``#SBATCH`` line."""
    if any(sign in text for sign in '"\\\n'):
        raise ClusterRefused(f"the path or name {ascii(text)[:200]} cannot stand in a job script")
    return f'"{text}"' if any(sign in text for sign in " '#;") else text
