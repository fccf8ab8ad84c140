"""Slurm by its own commands: for a notebook server that has them, the site's ``slurm.conf`` and munge's socket."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .answers import SQUEUE_ENVIRONMENT, read_sbatch, read_sinfo, read_squeue, squeue_format
from .errors import CannotCarry, SlurmDaskError, SlurmUnavailable
from .lost import LostJobs
from .meanings import refusal, safe
from .models import JobState
from .programs import ProgramMissing, Ran, run
from .script import directives

JOB_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of the commands, which a job inherits unless its script says otherwise."""
MAX_IDS = 1000
"""Job ids in one run of ``scancel``."""
_KEPT = ("SLURM_CONF", "HOME", "USER", "LOGNAME")
"""All that is passed on of the caller's environment: it holds tokens, and variables that would change a script."""
_GONE = ("Invalid job id specified", "Job/step already completing or completed")
_ID = re.compile(r"[1-9][0-9]{0,9}")


class CommandSlurm:
    """Runs ``sbatch``, ``squeue``, ``scancel`` and ``sinfo``, each in a process group and an environment of its own.

    Belongs to one event loop.  Implements :class:`~.slurm.Slurm`.

    Args:
        timeout: seconds that one call may take.
        all_users: whether everybody's jobs are seen, as an operator needs them.
        support: whom users ask.
        environ: where the commands are found (``PATH``), and ``SLURM_CONF``; None for the process's environment.
    """

    def __init__(
        self,
        timeout: float = 10.0,
        *,
        all_users: bool = False,
        support: str = "your administrators",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        found = os.environ if environ is None else environ
        self._timeout = timeout
        self._all_users = all_users
        self._support = support
        self._path = found.get("PATH", JOB_PATH)
        self._env = {
            "PATH": JOB_PATH,
            "LANG": "C.UTF-8",
            **{name: found[name] for name in _KEPT if name in found},
        }
        home = Path(found.get("HOME", ""))
        self._cwd = str(home) if home.is_absolute() and home.is_dir() else "/"
        self._lost = LostJobs(self.jobs, self.cancel)

    async def submit(self, script: str, *, name: str) -> str:
        """Submit a job script and return the job's id; see :meth:`.slurm.Slurm.submit`."""
        return await self._lost.submit(name, lambda: self._submit(script))

    async def jobs(self, ids: Collection[str] | None = None) -> dict[str, JobState]:
        """Return jobs by id; see :meth:`.slurm.Slurm.jobs`.

        One user's jobs are asked for as a whole: for several ids Slurm would send those of the whole cluster.
        """
        if ids is not None and not ids:
            return {}
        mark = secrets.token_hex(12)
        words = ["--noheader", "--all", "--states=all", f"--format={squeue_format(mark)}"]
        ran = await self._run(["squeue", *words, *([] if self._all_users else ["--me"])])
        if ran.code != 0:
            raise self._refusal(ran)
        try:
            found = read_squeue(ran.out, mark)
        except ValueError as error:
            raise SlurmUnavailable(f"Slurm's answer cannot be used: {error}; tell {self._support}") from None
        return found if ids is None else {job: found[job] for job in ids if job in found}

    async def cancel(self, ids: Collection[str]) -> None:
        """Cancel jobs; see :meth:`.slurm.Slurm.cancel`.

        Raises:
            ValueError: an id is none.
        """
        wanted = checked_ids(ids)
        end = time.monotonic() + self._timeout
        for at in range(0, len(wanted), MAX_IDS):
            ran = await self._run(["scancel", *wanted[at : at + MAX_IDS]], seconds=end - time.monotonic())
            lines = [line for line in ran.err.splitlines() if line.strip()]
            others = [line for line in lines if not any(word in line for word in _GONE)]
            if ran.code != 0 and (others or not lines):
                raise self._refusal(Ran(ran.code, ran.out, "\n".join(others)))

    async def partitions(self) -> list[str]:
        """Return the names of the partitions that this user may see."""
        ran = await self._run(["sinfo", "--noheader", "--format=%R"])
        if ran.code != 0:
            raise self._refusal(ran)
        return read_sinfo(ran.out)

    async def close(self) -> None:
        """Give back what the door holds; jobs that are looked for are, for ``timeout`` seconds more."""
        await self._lost.close(self._timeout)

    async def _submit(self, script: str) -> str:
        try:
            content = script.encode("utf-8")
        except UnicodeEncodeError:
            raise CannotCarry("the job script is no Unicode text") from None
        ran = await self._run(["sbatch", "--parsable"], content)
        if ran.code != 0:
            raise self._refusal(ran, _asked(script))
        try:
            return read_sbatch(ran.out)
        except ValueError as error:
            raise SlurmUnavailable(f"Slurm's answer cannot be used: {error}; tell {self._support}") from None

    async def _run(self, argv: Sequence[str], stdin: bytes = b"", seconds: float | None = None) -> Ran:
        program = shutil.which(argv[0], path=self._path)
        if program is None:
            raise ProgramMissing(
                f"Slurm's program {argv[0]} is not installed where this notebook runs: tell {self._support}"
            )
        limit = self._timeout if seconds is None else seconds
        # only where it is meant: a job inherits every SLURM_ variable of sbatch, whatever its script says
        env = {**self._env, **(SQUEUE_ENVIRONMENT if argv[0] == "squeue" else {})}
        return await run([program, *argv[1:]], seconds=limit, env=env, cwd=self._cwd, stdin=stdin)

    def _refusal(self, ran: Ran, asked: Mapping[str, str | None] | None = None) -> SlurmDaskError:
        said = ran.err if safe(ran.err) else f"exit status {ran.code} without a word"
        return refusal(said, asked or {}, self._support)


def _asked(script: str) -> Mapping[str, str | None]:
    """Return the options of a script for the sentence about its refusal; sbatch itself has read them already."""
    try:
        return dict(directives(script))
    except CannotCarry:
        return {}


def checked_ids(ids: Collection[str]) -> list[str]:
    """Return job ids, each once, in order.

    Raises:
        ValueError: one is none.
    """
    for job in ids:
        if not isinstance(job, str) or not _ID.fullmatch(job):
            raise ValueError("a job's id must be a whole number, as text")
    return sorted(set(ids), key=int)
