"""Logins by the machine's PAM; identities from the machine's accounts, or from any other directory."""

from __future__ import annotations

import pamela
from jupyterhub.auth import PAMAuthenticator
from traitlets import default

from ..accounts.directory import NotNow
from ..errors import DirectoryUnavailable, Refusal
from ..identity import Account
from ..names import bounded
from .mixin import IdentityMixin

_REFUSING = {
    6: "it may not use this service now",  # PAM_PERM_DENIED
    7: "it may not use this service now",  # PAM_AUTH_ERR
    10: "this site has no such account",  # PAM_USER_UNKNOWN
    12: "its password has ended; change it first",  # PAM_NEW_AUTHTOK_REQD
    13: "it has ended",  # PAM_ACCT_EXPIRED
    16: "it has ended",  # PAM_CRED_EXPIRED
    27: "its password has ended; change it first",  # PAM_AUTHTOK_EXPIRED
}
"""What PAM positively says of an account; any other error number only says that it cannot be asked."""
_ENDED = {13, 16}
"""Of those, what proves the end; a closed door (``/etc/nologin``) or an old password stops no running server."""


class NSSPAMAuthenticator(IdentityMixin, PAMAuthenticator):  # type: ignore[misc]
    """JupyterHub's ``PAMAuthenticator`` with identities: ``accounts`` is ``nss`` unless it is set.

    PAM's account check (``check_account``) is asked at login, before each spawn and at refresh, so that an account
    that ends in ``shadow`` or LDAP gets no new server and loses those that run.
    """

    @default("accounts")
    def _accounts_default(self) -> str:
        return "nss"

    def look_up(self, name: str) -> Account:
        """Return the account of ``name`` when PAM does not refuse it; see ``IdentityMixin.look_up``."""
        account = super().look_up(name)
        if self.check_account:
            self._check_with_pam(name)
        return account

    def _check_with_pam(self, name: str) -> None:
        try:
            pamela.check_account(name, service=self.service, encoding=self.encoding)
        except pamela.PAMError as error:
            why = _REFUSING.get(error.errno)
            if why is None:
                raise DirectoryUnavailable(f"PAM service {self.service}: {error}") from None
            kind = Refusal if error.errno in _ENDED else NotNow
            raise kind("account", f"account {bounded(name)}: {why}") from None
