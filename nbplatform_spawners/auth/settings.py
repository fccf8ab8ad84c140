"""What an administrator sets for the identities of users, and the account directory that follows from it."""

from __future__ import annotations

from functools import cached_property

from jupyterhub.auth import Authenticator
from traitlets import Float, Integer, Unicode, default

from ..accounts.directory import SPECS, AccountDirectory, open_directory
from ..identity import MAX_ID, IdRange
from .errors import SUPPORT


class IdentitySettings(Authenticator):  # type: ignore[misc]
    """The traits of ``IdentityMixin``; set them as ``c.IdentityMixin.…`` or under the authenticator's own name."""

    accounts = Unicode(
        "",
        help="""The account directory: ``nss``, the machine's own accounts as ``id`` shows them; the path of a YAML
        file of accounts; ``ldap:FILE.yaml`` or ``http:FILE.yaml``, the settings of an LDAP server or of a JSON
        service.  Default: none; it must be set (``nbplatform-pam`` sets ``nss``; ``nbplatform-keycloak`` does
        without, where the token says everything).  Example:
        ``c.IdentityMixin.accounts = "/etc/jupyterhub/accounts.yaml"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    min_uid = Integer(
        1000,
        min=1,
        max=MAX_ID,
        help="""The smallest uid that a server may run as; an account below it is refused.  Default: 1000.
        Example: ``c.IdentityMixin.min_uid = 60000``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    max_uid = Integer(
        MAX_ID,
        min=1,
        max=MAX_ID,
        help="""The largest uid that a server may run as; an account above it is refused.  Default: 4294967294.
        Example: ``c.IdentityMixin.max_uid = 69999``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    min_gid = Integer(
        1000,
        min=1,
        max=MAX_ID,
        help="""The smallest gid that a server may have.  An account whose primary group is below it is refused; of
        the supplementary groups below it, ``nss``, ``ldap:`` and ``http:`` leave out (``docker`` or ``sudo`` of the
        hub's machine must not reach a notebook), a YAML file is refused.  Default: 1000.  Example:
        ``c.IdentityMixin.min_gid = 100``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    max_gid = Integer(
        MAX_ID,
        min=1,
        max=MAX_ID,
        help="""The largest gid that a server may have, as ``min_gid``.  Default: 4294967294.
        Example: ``c.IdentityMixin.max_gid = 69999``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    directory_timeout = Float(
        10.0,
        min=0.1,
        help="""Seconds within which the account directory must answer.  After that it counts as unreachable: logins
        and new spawns are refused with that reason, running servers are left alone.  Default: 10.
        Example: ``c.IdentityMixin.directory_timeout = 5``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    support = Unicode(
        SUPPORT,
        help="""Whom the page of a refused login tells the user to ask.  Default: what
        ``c.NbplatformSpawner.support`` says for refused servers.
        Example: ``c.IdentityMixin.support = "support@example.org"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    directory_grace = Float(
        0.0,
        min=0,
        help="""Seconds for which somebody the directory knew may still log in and start servers while it cannot be
        asked, with the identity that it gave last.  New users are refused meanwhile, and so is an account whose end
        was known and has come.  Default: 0, nobody (``nbplatform-keycloak``: 3600).
        Example: ``c.IdentityMixin.directory_grace = 1800``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    account_check_interval = Integer(
        600,
        min=0,
        help="""Seconds between two rounds in which the account directory is asked about every user with a running
        server; the servers of an account that has positively ended, is gone or is out of range are stopped.  A
        directory that cannot be asked stops none, and neither does a name that ``nss`` does not know: that may be
        an outage.  0 turns it off.  Default: 600.  Example: ``c.IdentityMixin.account_check_interval = 60``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    account_end_grace = Integer(
        0,
        min=0,
        help="""Seconds that the running servers of an account which has positively ended, is gone or is out of range
        are left, so that work can be saved; counted from the round of ``account_check_interval`` that finds it.
        The owner reads the time and the reason on the home page and in the server; an account that is good again
        in the meantime keeps its servers.  Default: 0, they are stopped at once.
        Example: ``c.IdentityMixin.account_end_grace = 86400``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    needs_directory = True
    """Whether :attr:`accounts` must be set; not where the login itself can say everything."""

    @default("support")
    def _support_default(self) -> str:
        told = self.config.NbplatformSpawner.get("support", SUPPORT)
        return told if isinstance(told, str) else SUPPORT

    @default("enable_auth_state")
    def _enable_auth_state_default(self) -> bool:
        return True

    @cached_property
    def directory(self) -> AccountDirectory:
        """The account directory that :attr:`accounts` names.

        Raises:
            ValueError, BadFile, DirectoryUnavailable: see ``open_directory``.
        """
        if not self.accounts:
            name = type(self).__name__
            raise ValueError(f"c.{name}.accounts is not set; it is {SPECS}")
        return open_directory(self.accounts, self.allowed_ids, log=self.log)

    @property
    def allowed_ids(self) -> IdRange:
        """The uids and gids that servers may have."""
        return IdRange(self.min_uid, self.max_uid, self.min_gid, self.max_gid)
