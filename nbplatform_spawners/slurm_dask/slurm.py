"""What the rest asks of Slurm, whichever way it is asked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from .models import JobState


class Slurm(Protocol):
    """One way to Slurm.  Every call ends within the site's time limit, and leaves nothing behind when cancelled.

    Raised by every call:
        SlurmUnavailable: Slurm is down, hung or out of reach; it says which.
        SlurmRefused: Slurm says no.
    """

    async def submit(self, script: str, *, name: str) -> str:
        """Submit a job script and return the job's id.

        Args:
            script: the whole text, its ``#SBATCH`` lines included.
            name: the job's name, the one that the script has: by it a job is found and cancelled whose submission
                was cut short.

        Raises:
            CannotCarry: the script has an option that this way cannot pass on; nothing was submitted.
        """
        ...

    async def jobs(self, ids: Collection[str] | None = None) -> dict[str, JobState]:
        """Return jobs by id, those just ended included; a job that Slurm no longer knows is left out.

        Args:
            ids: which; None for all that this door sees: the user's own, or with ``all_users`` everybody's.
        """
        ...

    async def cancel(self, ids: Collection[str]) -> None:
        """Cancel jobs, all in one call; one that has ended already is no error."""
        ...

    async def partitions(self) -> list[str]:
        """Return the names of the partitions that this user may see."""
        ...

    async def close(self) -> None:
        """Give back what the door holds; it is not used afterwards."""
        ...
