"""Slurm's key as the service uses it: read anew each time, kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .errors import SlurmUnavailable
from .jwt_key import KeyProblem, mint, read_key
from .token_api import SlurmToken


@dataclass(frozen=True)
class Key:
    """How tokens are made.

    Attributes:
        path: of Slurm's key; it is read anew for each token, so that a new key needs no restart.
        lifespan: seconds that a token is good for.
    """

    path: str
    lifespan: int

    def problem(self) -> str | None:
        """Return why no token can be made now, or None."""
        try:
            read_key(self.path)
        except KeyProblem as error:
            return str(error)
        return None

    def token(self, user: str) -> SlurmToken:
        """Return a new token.

        Raises:
            KeyProblem: the key cannot be used.
            ValueError: no token is made for such a name.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        text = mint(read_key(self.path), user, now, self.lifespan)
        return SlurmToken(user, text, now + timedelta(seconds=self.lifespan))


class KeyTokens:
    """The service's own tokens, for the account in whose name it ends jobs; see :class:`.token_api.Tokens`.

    Args:
        key: how they are made.
        user: for whom.
    """

    def __init__(self, key: Key, user: str) -> None:
        self._key, self._user = key, user

    async def token(self) -> SlurmToken:
        """Return a new token.

        Raises:
            SlurmUnavailable: the key cannot be used.
        """
        try:
            return self._key.token(self._user)
        except KeyProblem as error:
            raise SlurmUnavailable(str(error)) from None

    def drop(self, token: SlurmToken) -> None:
        """Do nothing: none is kept."""

    async def close(self) -> None:
        """Do nothing: nothing is open."""
