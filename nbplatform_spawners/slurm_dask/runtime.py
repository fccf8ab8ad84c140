"""What a cluster has outside of Dask: its request, its folder and certificate, its jobs, and its owner's link."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from distributed.security import Security

from . import here
from .certificates import make_certificate
from .errors import ClusterRefused
from .folder import CERT, KEY, ClusterFolder, remove_expired
from .jobqueue import Place, user_config
from .jobs import SchedulerJob, Scripts
from .ledger import Entry, Ledger
from .limits import check
from .meanings import ending
from .models import Site
from .owner import OwnerLink
from .request import held_clusters, make_request
from .slurm import Slurm
from .waiting import LOG_TAIL, LONGEST_WAIT, last_words, read_mismatch

LOGS = "log"
_QUICK_LOOK = 2.0
"""Seconds that a look at Slurm may take when the scheduler may be dead: the user waits for it."""
_REMOVALS = 10


class Runtime:
    """One cluster's things; :meth:`prepare` makes them, :meth:`close` leaves nothing.

    Args:
        arguments: of ``SlurmCluster``; None is not said.
        site: the site's file; None reads it.
        slurm: the way to Slurm; None opens the site's.
        environment: of the process.

    Raises:
        ClusterRefused: the arguments or the site's file are not usable; nothing was made.
    """

    def __init__(
        self, arguments: Mapping[str, Any], site: Site | None, slurm: Slurm | None, environment: Mapping[str, str]
    ) -> None:
        self.site = here.load_site(environment) if site is None else site
        self.request = make_request(arguments, user_config(), self.site, here.group_names(), sys.executable)
        check(self.request.wish, self.site, 0)
        self.id = secrets.token_hex(6)
        self.environment = environment
        self.tag = here.make_tag(environment, self.id)
        self._root = here.folder_root(self.site)
        self.path = PurePosixPath(self._root, self.id)
        self.log_folder = str(Path(self.request.log_directory or self.path / LOGS).absolute())
        place = Place(str(self.path), self.log_folder, self.tag.text(), self.request.job.python)
        self.scripts = Scripts(self.id, self.request.job, place, self.site)
        self.ledger = Ledger(here.open_slurm(self.site, environment) if slurm is None else slurm)
        self.versions = here.versions()
        self.folder: ClusterFolder | None = None
        self._owner: OwnerLink | None = None

    @property
    def security(self) -> Security:
        """The certificate for the kernel's side, by its paths."""
        cert, key = str(self.path / CERT), str(self.path / KEY)
        roles = {
            f"tls_{role}_{what}": path
            for role in ("client", "scheduler", "worker")
            for what, path in (("cert", cert), ("key", key))
        }
        return Security(tls_ca_file=cert, require_encryption=True, **roles)

    @property
    def scheduler_entry(self) -> Entry | None:
        """The scheduler's job; None before it is submitted."""
        return self.ledger.entries.get(self.scripts.scheduler_name())

    async def prepare(self) -> None:
        """Check what only Slurm knows, and make the folder with all that the nodes need.

        Raises:
            SlurmDaskError: refused, or Slurm cannot be asked; nothing was submitted.
        """
        self.scripts.scheduler(), self.scripts.worker(0)
        if self.site.limits.clusters is not None:
            held = held_clusters(await self.ledger.slurm.jobs(None), self.tag.user)
            check(self.request.wish, self.site, held)
        await asyncio.to_thread(self._make_folder)

    def scheduler_job(self, first_workers: Callable[[str | None], None]) -> SchedulerJob:
        """Return the scheduler's job, not yet submitted; ``first_workers`` as in ``SchedulerJob``.

        Raises:
            ClusterRefused: :meth:`prepare` has not been called.
        """
        if self.folder is None:
            raise ClusterRefused("this cluster was closed before it had a folder: make a new one")
        return SchedulerJob(self.ledger, self.scripts, self.folder, self.versions, first_workers, self.site.support)

    async def link(self, address: str, lost: Callable[[], None]) -> None:
        """Open the owner's link; ``lost`` is called when the scheduler is gone.

        Raises:
            OSError: the scheduler cannot be reached.
        """
        connection = self.security.get_connection_args("client")
        self._owner = OwnerLink(address, connection, self.site.owner_grace, self._alive, lost)
        await self._owner.open()

    async def unlink(self) -> None:
        """Close the owner's link."""
        if self._owner is not None:
            await self._owner.close()

    async def why_gone(self) -> str:
        """Return the sentence about a scheduler that is gone."""
        await self._alive()
        entry = self.scheduler_entry
        if entry is None or entry.job_id is None:
            return "the cluster's scheduler is gone: make a new cluster"
        state = entry.state
        why = ending(state) if state is not None and state.ended else "nothing answers at its address any longer"
        last = await asyncio.to_thread(self.last_words_of, entry)
        return f"the scheduler's job {entry.job_id} is gone, and with it the cluster: {why}: make a new one{last}"

    def why_ended(self, entry: Entry) -> str:
        """Return the sentence about a worker's job that has ended by itself."""
        mismatch = f"mismatch-{entry.job_id}.json"
        if self.folder is not None and mismatch in self.folder.names():
            return f"the worker's job {entry.job_id} ended: {read_mismatch(self.folder, mismatch, self.versions)}"
        why = ending(entry.state) if entry.state is not None and entry.state.ended else "Slurm no longer knows it"
        return f"the worker's job {entry.job_id} ended: {why}"

    def last_words_of(self, entry: Entry) -> str:
        """Return the last line of a job's output as the end of a sentence."""
        return last_words(self.output(entry.name, LOG_TAIL))

    def output(self, job_name: str, limit: int) -> str:
        """Return the end of a job's output."""
        if self.folder is not None and self.request.log_directory is None:
            return self.folder.tail(f"{LOGS}/{job_name}.log", limit)
        with suppress(OSError):
            return Path(self.log_folder, f"{job_name}.log").read_bytes()[-limit:].decode("utf-8", "replace")
        return ""

    async def close(self) -> None:
        """Cancel every job and remove the folder.

        Raises:
            ClusterFailed: jobs may be left; it names them.
        """
        try:
            await self.ledger.close()
        finally:
            if self.folder is not None:
                await _in_thread(self._remove, self.folder)

    async def _alive(self) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ledger.look(), _QUICK_LOOK)
        entry = self.scheduler_entry
        if entry is None or entry.ended:
            return False
        return entry.state is None or entry.state.state != "COMPLETING"

    def _make_folder(self) -> None:
        self.folder = folder = ClusterFolder.make(self._root, self.id)
        remove_expired(self._root, datetime.now(UTC))  # what kernels that were killed have left
        certificate = make_certificate(self.id, datetime.now(UTC), self.request.wish.walltime + LONGEST_WAIT)
        folder.write(CERT, certificate.cert)
        folder.write(KEY, certificate.key)
        folder.write("node.py", Path(__file__).with_name("node.py").read_bytes())
        folder.write("expected.json", json.dumps(self._expected()).encode())
        if self.request.log_directory is None:
            folder.make_inside(LOGS)
        else:
            try:
                Path(self.log_folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ClusterRefused(f"log_directory={self.log_folder} cannot be made: {error.strerror}") from None

    def _expected(self) -> dict[str, Any]:
        return {
            "versions": self.versions,
            "network": self.site.network,
            "owner_grace": self.site.owner_grace,
            "idle": self.site.idle,
            "cluster": self.id,
            "prefix": self.environment.get("JUPYTERHUB_SERVICE_PREFIX", ""),
        }

    def _remove(self, folder: ClusterFolder) -> None:
        """Remove the folder; a node whose job is just ending may write once more."""
        for _ in range(_REMOVALS):
            if folder.remove():
                return


async def _in_thread(call: Callable[[ClusterFolder], None], folder: ClusterFolder) -> None:
    """Call in a thread; at the end of the process, when none can be had any longer, here."""
    try:
        await asyncio.to_thread(call, folder)
    except RuntimeError:
        call(folder)
