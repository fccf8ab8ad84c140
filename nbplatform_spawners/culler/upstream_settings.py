"""The settings of jupyterhub-idle-culler, by the same names and with the same meanings."""

from __future__ import annotations

import os
from typing import Any

from traitlets import Bool, Callable, Int, Unicode, default

from ..checked_settings import CheckedApplication


class UpstreamSettings(CheckedApplication):
    """What an administrator sets as ``c.IdleCuller.…``, or on the command line, as with upstream's culler."""

    timeout = Int(
        0,
        help="""Seconds without use after which a server is stopped, where no rule says anything; 0: never.
        Default: 600 without ``rules_directory``, else 0.  Example: ``c.IdleCuller.timeout = 3600``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    cull_every = Int(
        help="""Seconds between two passes; a tenth more or less is left to chance.
        Default: half of ``timeout`` without ``rules_directory``, else 300.  Example: ``c.IdleCuller.cull_every = 120``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    max_age = Int(
        0,
        help="""Seconds after its start at which any server is stopped, used or not, where no rule says less; 0: never.
        Default: 0.  Example: ``c.IdleCuller.max_age = 604800``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    concurrency = Int(
        10,
        help="""Requests to the hub, and stops, under way at once.  A stop that takes longer than 2 seconds no longer
        counts.  Default: 10.  Example: ``c.IdleCuller.concurrency = 20``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    api_page_size = Int(
        0,
        help="""Users a page when the hub's users are listed; 0: as many as the hub likes.
        Default: 0.  Example: ``c.IdleCuller.api_page_size = 100``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    cull_default_servers = Bool(
        True,
        help="""Whether users' default servers are stopped when they are idle.
        Default: true.  Example: ``c.IdleCuller.cull_default_servers = False``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    cull_named_servers = Bool(
        True,
        help="""Whether named servers are stopped when they are idle.
        Default: true.  Example: ``c.IdleCuller.cull_named_servers = False``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    remove_named_servers = Bool(
        False,
        help="""Whether a named server that is stopped is also removed from its user's list.
        Default: false.  Example: ``c.IdleCuller.remove_named_servers = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    cull_users = Bool(
        False,
        help="""Whether users without a server, and not there for ``timeout`` seconds, are deleted: for sites of
        temporary users.  Needs further scopes, and a ``timeout``.  Default: false.
        Example: ``c.IdleCuller.cull_users = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    cull_admin_users = Bool(
        True,
        help="""Whether ``cull_users`` deletes administrators, too.  Default: true, as upstream's culler does.
        Example: ``c.IdleCuller.cull_admin_users = False``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    cull_arbiter_hook = Callable(
        None,
        allow_none=True,
        help="""A plain function that decides alone whether a server is idle, as upstream's culler has it: it is called
        with ``inactive`` (timedelta since the hub's last activity), ``inactive_limit`` (seconds) and ``server`` (the
        hub's model) and returns whether the server is stopped.  Nobody is warned then.  Default: none.
        Example: ``c.IdleCuller.cull_arbiter_hook = lambda inactive, inactive_limit, server: inactive.days >= 2``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    url = Unicode(
        help="""Address of the hub's API.  Default: the environment's ``JUPYTERHUB_API_URL``, which the hub sets.
        Example: ``c.IdleCuller.url = "http://127.0.0.1:8081/hub/api"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    ssl_enabled = Bool(
        False,
        help="""Whether the hub has internal TLS (``c.JupyterHub.internal_ssl``): its certificates are then used.
        Default: false.  Example: ``c.IdleCuller.ssl_enabled = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    internal_certs_location = Unicode(
        "internal-ssl",
        help="""Folder of the hub's internal certificates, for ``ssl_enabled``.
        Default: ``internal-ssl`` in the working directory.
        Example: ``c.IdleCuller.internal_certs_location = "/srv/jupyterhub/internal-ssl"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    config_file = Unicode(
        "idle_culler_config.py",
        help="""Configuration file to load; it need not be there.  Default: ``idle_culler_config.py``.
        Example: ``c.IdleCuller.config_file = "/etc/jupyterhub/culler.py"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    generate_config = Bool(
        False,
        help="""Print a configuration file with every setting, and end.  Default: false.
        Example: ``c.IdleCuller.generate_config = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @default("url")
    def _url_default(self) -> Any:
        return os.environ.get("JUPYTERHUB_API_URL", "")
