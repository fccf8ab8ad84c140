"""One connection to an LDAP server, and what its errors mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ldap

from ..errors import DirectoryUnavailable
from ..names import bounded
from .ldap_entries import LdapEntry
from .ldap_settings import LdapSettings
from .secret_file import read_secret

_OF_TLS = ("unknown error code", "certificate")
"""In what the library says of a server that is down, as GnuTLS and OpenSSL have it, when it did not like TLS."""
_WORDS: dict[type[BaseException], str] = {
    ldap.TIMEOUT: "no answer in time",
    ldap.INVALID_CREDENTIALS: "it refuses bind_dn with this password",
    ldap.NO_SUCH_OBJECT: "a base of the settings is not there, or not for our eyes",
    ldap.REFERRAL: "it refers to another server, which is not asked",
    ldap.CONFIDENTIALITY_REQUIRED: "it answers nobody without encryption",
}


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        entries: in the server's order.
        more: there are more than were asked for.
        referred: the server names others that may hold more; they are never asked.
    """

    entries: tuple[LdapEntry, ...] = ()
    more: bool = False
    referred: bool = False


class TooMuch(DirectoryUnavailable):
    """A server would not give all entries of one answer: the fault of its limits, not of its health."""


class Connection:
    """One connection, bound; used by one thread at a time."""

    def __init__(self, url: str, settings: LdapSettings) -> None:
        limit = float(settings.timeout)
        self._limit = limit
        self._ldap: Any = ldap.initialize(url)
        self._ldap.timeout = limit
        for option, value in (
            (ldap.OPT_PROTOCOL_VERSION, 3),
            (ldap.OPT_REFERRALS, 0),  # a referral would send our password to wherever it says
            (ldap.OPT_DEREF, ldap.DEREF_NEVER),
            (ldap.OPT_NETWORK_TIMEOUT, limit),
            (ldap.OPT_TIMEOUT, limit),
            # Said here, so that no ldap.conf or environment of the machine can switch the check off.
            (ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND),
            *([(ldap.OPT_X_TLS_CACERTFILE, settings.ca_file)] if settings.ca_file else []),
        ):
            self._ldap.set_option(option, value)
        try:
            self._ldap.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        except ValueError:
            raise DirectoryUnavailable(f"the library takes no certificates from {settings.ca_file}") from None
        try:
            if settings.encrypted and url.startswith("ldap:"):
                self._ldap.start_tls_s()
            password = read_secret(settings.bind_password_file) if settings.bind_password_file else ""
            self._ldap.simple_bind_s(settings.bind_dn or "", password)
        except BaseException:
            self.close()
            raise

    def search(self, base: str, filter_: str, attributes: Sequence[str], most: int = 0) -> Found:
        """Return the entries below ``base`` that fit.

        Args:
            base: where to look, with everything below.
            filter_: all values in it are escaped.
            attributes: those to return.
            most: entries that are wanted at most; 0 for all.

        Raises:
            ldap.LDAPError: no answer, or an error.
            TooMuch: there are more than the server gives at once.
        """
        try:
            found = self._ldap.search_ext_s(
                base, ldap.SCOPE_SUBTREE, filter_, list(attributes), timeout=self._limit, sizelimit=most
            )
        except ldap.SIZELIMIT_EXCEEDED:
            if not most:
                raise TooMuch("it gives not all of an account's groups: raise its size limit for bind_dn") from None
            return Found(more=True)
        entries = tuple(LdapEntry.of(dn, values) for dn, values in found if dn is not None)
        return Found(entries, referred=any(dn is None for dn, _ in found))

    def close(self) -> None:
        """Close it, whatever state it is in."""
        try:
            self._ldap.unbind_ext_s()
        except (ldap.LDAPError, AttributeError):  # the library forgets an object that was closed
            return


def in_words(error: BaseException) -> str:
    """Return what an error of the LDAP library means, in one line."""
    detail = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    info = str(detail.get("info") or "")
    if isinstance(error, ldap.SERVER_DOWN | ldap.CONNECT_ERROR):
        if isinstance(error, ldap.CONNECT_ERROR) or any(word in info for word in _OF_TLS):
            why = "its certificate is of no trusted authority, for another name, or has ended"
            return f"no TLS: {why} ({bounded(info, 200)})"
        return "it is down, not there, or speaks something else on this port"
    said = [str(detail.get("desc") or type(error).__name__), *([info] if info else [])]
    words = next((words for kind, words in _WORDS.items() if isinstance(error, kind)), "")
    return words or bounded(": ".join(said), 300)
