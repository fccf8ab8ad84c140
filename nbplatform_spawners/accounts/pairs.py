"""Names of accounts, and the pair of identity provider and subject that a person of a federation is: pure."""

from __future__ import annotations

from ..names import bounded, is_safe

MAX_SUBJECT = 1024
"""Characters that a subject may have."""


def normal_name(name: str) -> str:
    """Return the name of an account as the hub has it."""
    # Only ASCII is lower-cased: the Kelvin sign would become a k, and a look-alike somebody else.
    return name.lower() if name.isascii() else name


def parse_provider(text: str) -> str:
    """Return the alias of an identity provider.

    Raises:
        ValueError: it is not a safe name.
    """
    if not is_safe(text):
        raise ValueError("letters, digits, '_', '.', '@' and '-' are expected, at most 64")
    return text


def parse_subject(text: str) -> str:
    """Return who somebody is at an identity provider.

    Raises:
        ValueError: it is empty, too long or not printable.
    """
    if not text or len(text) > MAX_SUBJECT or not text.isprintable():
        raise ValueError(f"printable text of 1 to {MAX_SUBJECT} characters is expected")
    return text


def check_pair(provider: str, subject: str) -> None:
    """Check that an identity provider and a subject may stand in an accounts file.

    Raises:
        ValueError: one may not; says which.
    """
    for what, text, parser in (("provider", provider, parse_provider), ("subject", subject, parse_subject)):
        try:
            parser(text)
        except ValueError as error:
            raise ValueError(f"{what} {bounded(text)}: {error}") from None
