"""What Slurm's words mean for a user: why a job waits, why it ended, and why one was refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from ..names import bounded
from .errors import SlurmDaskError, SlurmRefused, SlurmUnavailable
from .models import JobState

_SAID = 200
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){1,2}|SLURM_JWT=\S*", re.IGNORECASE)

_WAITING: Mapping[str, str] = MappingProxyType(
    {
        "AccountNotAllowed": "the account may not use the queue {queue}: ask for another queue or account",
        "AssocGrpCpuLimit": "your account uses all the cores that it may have: wait for its other jobs to end",
        "AssocGrpMemLimit": "your account uses all the memory that it may have: wait for its other jobs to end",
        "AssocMaxJobsLimit": "you have as many jobs running as your account allows: wait for others to end",
        "BadConstraints": "no node can be what was asked for: ask for less, or another queue",
        "BeginTime": "its time to begin has not come yet",
        "Cleaning": "Slurm is clearing up behind it after a first try",
        "Dependency": "the job that it depends on has not started yet",
        "DependencyNeverSatisfied": "the job that it depends on has ended, so it never starts: close the cluster",
        "InvalidAccount": "the account is not valid: ask for another",
        "InvalidQOS": "the quality of service (QOS) is not valid: ask for another",
        "JobHeldAdmin": "an administrator holds it: ask {support}",
        "JobHeldUser": "you hold it: release it with scontrol release {id}",
        "Licenses": "a licence that it needs is taken",
        "NodeDown": "a node that it needs is down: ask for another queue, or ask {support}",
        "PartitionConfig": "the queue {queue} can never give it this much: ask for less, or another queue",
        "PartitionDown": "the queue {queue} is down: ask for another, or wait",
        "PartitionInactive": "the queue {queue} is closed: ask for another, or wait",
        "PartitionNodeLimit": "the queue {queue} can never give it this many nodes: ask for less, or another queue",
        "PartitionTimeLimit": "its wall time is more than the queue {queue} ever allows: ask for less with walltime=",
        "Priority": "other jobs are before it in the queue {queue}",
        "QOSNotAllowed": "its quality of service (QOS) may not use the queue {queue}: ask for another queue",
        "ReqNodeNotAvail": "nodes that it could use are reserved or down: wait, or ask for less wall time",
        "Reservation": "its reservation has not begun yet",
        "Resources": "the queue {queue} is full: it starts when nodes are free",
        "None": "Slurm has not looked at it yet",
        "": "Slurm has not looked at it yet",
    }
)
_PER_JOB = re.compile(r"(?:QOS|Assoc)Max(?:\w*Per(?:Job|Node)|Wall)\w*")
_FAMILIES = (
    (_PER_JOB, "one job of it is more than {limit} ever allows: ask for less, or for another queue"),
    (re.compile(r"(?:QOS|Assoc)Max(?:Submit)?Jobs?(?:Submit)?\w*"), "you have as many jobs as {limit} allows"),
    (re.compile(r"(?:QOS|Assoc)Grp\w*"), "{limit} is used up by all who share it: wait for other jobs to end"),
    (
        re.compile(r"(?:QOS|Assoc)Max\w*"),
        "you hold as much as {limit} allows: wait for your jobs to end, or ask for less",
    ),
    (re.compile(r"(?:QOS|Assoc)\w*"), "it is outside of what {limit} allows: ask for less"),
)
_NEVER = frozenset(
    {
        "AccountNotAllowed",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
    }
)
_ENDED: Mapping[str, str] = MappingProxyType(
    {
        "BOOT_FAIL": "its node did not come up",
        "CANCELLED": "it was cancelled",
        "COMPLETED": "it ended by itself",
        "DEADLINE": "its deadline came",
        "FAILED": "its program failed",
        "NODE_FAIL": "its node failed",
        "OUT_OF_MEMORY": "it used more memory than it had asked for: ask for more with memory=",
        "PREEMPTED": "a job of higher priority took its place",
        "TIMEOUT": "it reached its wall time: ask for more with walltime=",
    }
)
_DOWN = (
    "Unable to contact slurm controller",
    "Connection refused",
    "Socket timed out",
    "Communication connection failure",
    "Slurm backup controller in standby mode",
    "Slurmctld is in standby",
    "Unexpected message received",
    "Transport endpoint is not connected",
    "Resource temporarily unavailable",
    "Slurm temporarily unable to accept job",
    "Could not establish a configuration source",
    "Munge decode failed",
    "Failed to connect to",
    "Unable to establish controller machine",
)
_REFUSED: tuple[tuple[str, str], ...] = (
    ("Invalid partition name specified", "Slurm has no queue {queue}: ask for another with queue="),
    ("Invalid account or account/partition", "the account {account} may not use the queue {queue}: ask for others"),
    ("Invalid qos specification", "Slurm does not know the quality of service (QOS) {qos}, or you may not use it"),
    (
        "Requested node configuration is not available",
        "no node of the queue {queue} has {cores} cores, {memory} and {gpus}",
    ),
    (
        "Memory specification can not be satisfied",
        "no node of the queue {queue} has {memory}: ask for less with memory=",
    ),
    (
        "CPU count per node can not be satisfied",
        "no node of the queue {queue} has {cores} cores: ask for less with cores=",
    ),
    ("Requested time limit is invalid", "the wall time {time} is more than the queue {queue} allows: ask for less"),
    (
        "Job violates accounting/QOS policy",
        "your quota, or the queue {queue}, does not allow this many jobs of this size",
    ),
    (
        "Invalid generic resource",
        "the queue {queue} has no such GPUs ({gpus}): ask for another queue, or for less with gpus=",
    ),
    (
        "Requested partition configuration not available",
        "the queue {queue} cannot give this much now, or not for {time}",
    ),
    ("More processors requested than permitted", "the queue {queue} has no {cores} cores for one job: ask for less"),
    ("User's group not permitted to use this partition", "you may not use the queue {queue}: ask for another"),
    ("Job rejected by", "a rule of the site refuses it"),
    ("Requested reservation is invalid", "Slurm does not know the reservation: ask for another"),
    ("Access/permission denied", "you may not do this: ask {support}"),
    ("Invalid user id", "Slurm does not know your user: ask {support}"),
    ("Invalid feature specification", "no node of the queue {queue} has the features that were asked for"),
    ("Zero Bytes were transmitted or received", "Slurm does not accept who you are: ask {support}"),
    ("Authentication failure", "Slurm does not accept who you are: ask {support}"),
    ("Protocol authentication error", "Slurm does not accept who you are: ask {support}"),
)


def waiting(job: JobState, support: str = "your administrators") -> str:
    """Return why a waiting job waits and what to do, as one clause; Slurm's own word stands behind it."""
    if job.state != "PENDING":
        return "its nodes are being made ready"
    word = _word(job)
    known = {name.casefold(): text for name, text in _WAITING.items()}.get(word.casefold())
    if known is None:
        known = next((text for pattern, text in _FAMILIES if pattern.fullmatch(word)), None)
    limit = "your quality of service (QOS)" if word.startswith("QOS") else "your account"
    shown = f" ({bounded(job.reason, _SAID)[1:-1]})" if job.reason else ""
    text = known or "Slurm says no more than this word"
    return text.format(queue=_shown(job.partition, "(none)"), support=support, id=job.id, limit=limit) + shown


def never_starts(job: JobState) -> bool:
    """Tell whether a waiting job waits for what will not come by itself: waiting for it is no use."""
    word = _word(job)
    return job.pending and (word in _NEVER or _PER_JOB.fullmatch(word) is not None)


def ending(job: JobState) -> str:
    """Return why a job has ended, as one clause."""
    text = _ENDED.get(job.state, f"Slurm calls it {bounded(job.state, 40)[1:-1]}")
    facts = []
    if job.exit_code:
        facts.append(f"signal {job.exit_code - 128}" if job.exit_code > 128 else f"exit code {job.exit_code}")
    if job.nodes:
        facts.append(f"on {bounded(job.nodes, 60)[1:-1]}")
    if job.reason and job.state not in ("CANCELLED", "COMPLETED", "TIMEOUT"):
        facts.append(bounded(job.reason, _SAID)[1:-1])
    return f"{text} ({', '.join(facts)})" if facts else text


def refusal(said: str, asked: Mapping[str, str | None], support: str = "your administrators") -> SlurmDaskError:
    """Return what it means that a call of Slurm's failed.

    Args:
        said: what the command or slurmrestd said.
        asked: the options of the job script by their long names (``dict(directives(script))``); may be empty.
        support: whom users ask.

    Returns:
        ``SlurmUnavailable`` when Slurm could not be asked, else ``SlurmRefused``.
    """
    words = safe(said)
    if any(text.casefold() in said.casefold() for text in _DOWN):
        return SlurmUnavailable(f"Slurm cannot be asked now: try again in a few minutes, or ask {support} ({words})")
    for text, meaning in _REFUSED:
        if text.casefold() in said.casefold():
            return SlurmRefused(f"{meaning.format(support=support, **_values(asked))} (Slurm says: {words})")
    return SlurmRefused(f"Slurm says no, ask {support} with this sentence: {words}")


def _word(job: JobState) -> str:
    """Return Slurm's word for why a job waits, without what may follow it."""
    return re.split(r"[\s,:(]", job.reason, maxsplit=1)[0]


def safe(said: str) -> str:
    """Return Slurm's words fit for a user and a log: one line, bounded, without what may be a token."""
    lines = (re.sub(r"^\w+: (?:error|fatal): ", "", line.strip()) for line in said[:4000].split("\n"))
    return bounded(_TOKEN.sub("(a token)", "; ".join(line for line in lines if line)), _SAID)[1:-1]


def _values(asked: Mapping[str, str | None]) -> dict[str, str]:
    gpus = next((asked[name] for name in ("gres", "gpus", "gpus-per-node", "gpus-per-task") if asked.get(name)), None)
    memory = asked.get("mem")
    return {
        "queue": _shown(asked.get("partition"), "(the default one)"),
        "account": _shown(asked.get("account"), "(the default one)"),
        "qos": _shown(asked.get("qos"), "(the default one)"),
        "cores": _shown(asked.get("cpus-per-task"), "1", quoted=False),
        "memory": f"{_shown(memory, '', quoted=False)} of memory" if memory else "the memory",
        "gpus": _shown(gpus, "no GPU", quoted=False),
        "time": _shown(asked.get("time"), "of the queue", quoted=False),
    }


def _shown(text: str | None, otherwise: str, *, quoted: bool = True) -> str:
    if not text:
        return otherwise
    return bounded(text, 64) if quoted else bounded(text, 64)[1:-1]
