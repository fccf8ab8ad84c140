"""The key without which the hub cannot keep identities."""

from __future__ import annotations

from typing import Any

from jupyterhub.crypto import CryptKeeper, EncryptionUnavailable
from traitlets import TraitError

HOW_TO_MAKE_A_KEY = (
    "auth_state is on (identities are kept in it, encrypted) but there is no key for it.  Make one with "
    "'openssl rand -hex 32', keep it where only the hub reads it, and give it to the hub as the environment variable "
    "JUPYTERHUB_CRYPT_KEY; with another key at the next start, what is stored is lost."
)


def warn_without_key(log: Any) -> None:
    """Say how to make a key, before the hub ends because there is none.

    Args:
        log: where to say it.
    """
    try:
        CryptKeeper.instance().check_available()
    except (EncryptionUnavailable, TraitError, ValueError):
        log.critical(HOW_TO_MAKE_A_KEY)
