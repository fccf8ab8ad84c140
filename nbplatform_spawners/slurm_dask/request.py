"""What a user asks for, made definite: every argument with the site's default behind it, within the site's limits."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from ..names import bounded
from ..rules.units import format_count
from .amounts import shown
from .errors import ClusterRefused
from .jobqueue import WorkerJob, choose_python
from .limits import Wish, check_workers, effective
from .models import JobState, Site
from .tag import read_tag

OURS = {
    "interface": "the nodes' addresses are found on the nodes; the site's file may name a network",
    "protocol": "everything is TLS",
    "security": "each cluster has a certificate of its own",
    "scheduler_options": "the scheduler is a job of its own",
    "scheduler_cls": "the scheduler is a job of its own",
    "shared_temp_directory": "each cluster has a folder of its own",
    "silence_logs": "the scheduler's log is with get_logs()",
    "header_skip": "its name is job_directives_skip",
    "env_extra": "its name is job_script_prologue",
    "extra": "its name is worker_extra_args",
    "job_extra": "its name is job_extra_directives",
    "project": "its name is account",
}
"""Arguments of dask-jobqueue that have no place here, and why."""
PASSED = ("nanny", "death_timeout", "job_directives_skip", "job_cpu", "job_mem", "shebang")
"""Arguments that dask-jobqueue gets as they are."""
LISTS = ("job_extra_directives", "job_script_prologue", "worker_extra_args")
WISHES = ("queue", "account", "cores", "memory", "walltime", "n_workers", "gpus")
KNOWN = (*WISHES, *PASSED, *LISTS, "processes", "python", "local_directory", "log_directory")


@dataclass(frozen=True)
class Request:
    """A cluster to be.

    Attributes:
        wish: what is checked against the site's limits.
        job: what each worker's job asks for.
        log_directory: where outputs go; None is the cluster's folder.
    """

    wish: Wish
    job: WorkerJob
    log_directory: str | None


def make_request(
    arguments: Mapping[str, Any], config: Mapping[str, Any], site: Site, groups: Collection[str], executable: str
) -> Request:
    """Return what a cluster is to be.

    Args:
        arguments: of ``SlurmCluster``; None is not said.
        config: the user's own ``jobqueue.slurm`` configuration.
        site: the site's file.
        groups: the user's.
        executable: path of the kernel's Python.

    Raises:
        ClusterRefused: an argument is unknown, or none of its kind.
    """
    _demand_known(arguments)
    said = {**config, **{key: value for key, value in arguments.items() if value is not None}}
    wish = effective(arguments, config, site, groups)
    lists = {name: _lines(name, said.get(name)) for name in LISTS}
    processes = _processes(said.get("processes"), wish.cores, site)
    job = WorkerJob(
        queue=wish.queue,
        account=wish.account,
        cores=wish.cores,
        memory=wish.memory,
        gpus=wish.gpus,
        processes=processes,
        walltime=wish.walltime,
        python=_python(said.get("python"), executable, site),
        prologue=(*site.prologue, *lists["job_script_prologue"]),
        directives=lists["job_extra_directives"],
        extra_args=lists["worker_extra_args"],
        local_directory=said.get("local_directory"),
        options={name: said[name] for name in PASSED if name in said},
    )
    whole = math.ceil(wish.n_workers / processes) * processes  # the workers of the last job come all or not at all
    return Request(replace(wish, n_workers=whole), job, said.get("log_directory"))


def held_clusters(jobs: Mapping[str, JobState], user: str) -> int:
    """Return how many clusters the user's own jobs in Slurm belong to."""
    tags = (read_tag(job.tag) for job in jobs.values() if not job.ended and job.state != "COMPLETING")
    return len({tag.cluster for tag in tags if tag is not None and tag.user == user})


def _processes(value: Any, cores: int, site: Site) -> int:
    processes = 1 if value is None else value
    if not isinstance(processes, int) or isinstance(processes, bool) or not 1 <= processes <= cores:
        most = f"the {format_count(cores, 'core')} of a job"
        raise ClusterRefused(f"processes={shown(processes)} is no whole number from 1 to {most}")
    check_workers(processes, site, "processes")
    return processes


def _python(wanted: str | None, executable: str, site: Site) -> str:
    try:
        return choose_python(wanted, executable, site.shared, site.worker_python)
    except ClusterRefused as error:
        if site.absent is None:
            raise
        told = f"there is no site file {site.absent} that names one"
        raise ClusterRefused(f"{error.message}; {told}: tell {site.support}") from None


def _demand_known(arguments: Mapping[str, Any]) -> None:
    for name in arguments:
        if name in OURS:
            raise ClusterRefused(f"{name}= is not for a SlurmCluster: {OURS[name]}")
        if name not in KNOWN:
            near = get_close_matches(name, KNOWN, 1)
            raise ClusterRefused(
                f"SlurmCluster has no argument {bounded(name)}{f', did you mean {near[0]}=' if near else ''}"
            )


def _lines(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = [f"{key}={each}" if each is not None else str(key) for key, each in value.items()]
    if isinstance(value, str) or not all(isinstance(line, str) and "\n" not in line for line in value):
        raise ClusterRefused(f"{name}= is a list of texts of one line each, not {bounded(value)}")
    return tuple(value)
