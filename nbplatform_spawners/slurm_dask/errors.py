"""What can go wrong with a Dask cluster on Slurm; every message is one sentence that the user may read."""

from __future__ import annotations

from ..errors import NbplatformError


class SlurmDaskError(NbplatformError):
    """Base of the errors of this package.

    Args:
        message: one sentence with the value and what to do.  Holds no secret.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SlurmUnavailable(SlurmDaskError):
    """Slurm cannot be asked now: it is down, hung or out of reach.  Says nothing about any job."""


class SlurmRefused(SlurmDaskError):
    """Slurm was asked and says no."""


class ClusterRefused(SlurmDaskError):
    """The site's limits or settings do not allow what was asked; nothing was submitted."""


class CannotCarry(ClusterRefused):
    """A job script holds an option that Slurm's REST interface has no field for; nothing was submitted."""


class ClusterFailed(SlurmDaskError):
    """A cluster was submitted, and died."""
