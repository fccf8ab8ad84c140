"""The settings of the service for Slurm."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from traitlets import Bool, Int, List, Unicode, default

from ..checked_settings import CheckedApplication, WrongSettings
from ..identity import MAX_ID
from ..names import bounded, is_safe
from ..server_env import HUB_ID_ENV
from .jwt_key import MAX_LIFESPAN
from .token_api import check_url

TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable
SERVICE_URL = "JUPYTERHUB_SERVICE_URL"
_LEAST_LIFESPAN = 60


class SlurmSettings(CheckedApplication):
    """What an administrator sets as ``c.SlurmService.…``, or on the command line."""

    hub_id = Unicode(
        help="""Name of this hub: ``c.NbplatformSpawner.hub_id``.  Jobs of servers of this hub carry it, and no others
        are ended.  Required.  Default: the environment's ``NBPLATFORM_HUB_ID``.
        Example: ``c.SlurmService.hub_id = "jupyter-example-org"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    url = Unicode(
        help="""Address of the hub's API.  Default: the environment's ``JUPYTERHUB_API_URL``, which the hub sets.
        Example: ``c.SlurmService.url = "http://127.0.0.1:8081/hub/api"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    key_file = Unicode(
        help="""File with Slurm's key for tokens, the ``jwt_key=`` of ``slurm.conf``; the hub's user owns it, and nobody
        else reads it.  It is read anew for each token.  Default: empty, no tokens are made: where servers use Slurm's
        commands none are needed.  Example: ``c.SlurmService.key_file = "/etc/jupyterhub/slurm-jwt.key"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    lifespan = Int(
        600,
        help="""Seconds that a token for Slurm is good for, 60 to 3600.  Default: 600.
        Example: ``c.SlurmService.lifespan = 300``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    min_uid = Int(
        1000,
        help="""The smallest uid for which a token is made.  Default: 1000.
        Example: ``c.SlurmService.min_uid = 60000``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    max_uid = Int(
        MAX_ID,
        help="""The largest uid for which a token is made.  Default: 4294967294, the largest there is.
        Example: ``c.SlurmService.max_uid = 69999``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    refused_users = List(
        Unicode(),
        ["root", "slurm"],
        help="""Accounts for which no token is ever made: ``SlurmUser`` of ``slurm.conf``, whoever administers Slurm.
        ``root`` and ``reaper_account`` are always among them.  Default: ``["root", "slurm"]``.
        Example: ``c.SlurmService.refused_users = ["root", "slurm", "slurm-admin"]``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    rest_url = Unicode(
        help="""Address of slurmrestd, by which the service ends jobs; it needs ``key_file`` and ``reaper_account``.
        Default: empty, it uses Slurm's commands, as the hub's user.
        Example: ``c.SlurmService.rest_url = "https://slurm.example.org:6820"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    reaper_account = Unicode(
        help="""Account in whose name jobs are ended over ``rest_url``: an operator of Slurm's, of no other use.
        Not root, and no number, which Slurm takes for a uid.
        Default: empty.  Example: ``c.SlurmService.reaper_account = "jupyter-reaper"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    slurm_timeout = Int(
        20,
        help="""Seconds that one call of Slurm may take.  Default: 20.
        Example: ``c.SlurmService.slurm_timeout = 60``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    reap_every = Int(
        60,
        help="""Seconds between two looks for jobs whose server is gone; 0: none are looked for.  Default: 60.
        Example: ``c.SlurmService.reap_every = 120``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    pass_timeout = Int(
        300,
        help="""Seconds after which such a look is given up.  Default: 300.
        Example: ``c.SlurmService.pass_timeout = 600``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    audit_file = Unicode(
        help="""File to which each job that is ended is added, one JSON object a line.
        Default: empty, none.  Example: ``c.SlurmService.audit_file = "/var/log/jupyterhub/audit.jsonl"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    metrics_ip = Unicode(
        "127.0.0.1",
        help="""Address at which Prometheus is answered.  Default: ``127.0.0.1``.
        Example: ``c.SlurmService.metrics_ip = "10.0.0.5"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    metrics_port = Int(
        0,
        help="""Port at which Prometheus is answered; 0: it is not.  Default: 0.
        Example: ``c.SlurmService.metrics_port = 9411``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    config_file = Unicode(
        "slurm_service_config.py",
        help="""Configuration file to load; it need not be there.  Default: ``slurm_service_config.py``.
        Example: ``c.SlurmService.config_file = "/etc/jupyterhub/slurm_service.py"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    generate_config = Bool(
        False,
        help="""Print a configuration file with every setting, and end.  Default: false.
        Example: ``c.SlurmService.generate_config = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    once = Bool(
        False,
        help="""Look once, end what has no server, and end; no tokens are made.  Default: false.
        Example: ``c.SlurmService.once = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    dry_run = Bool(
        False,
        help="""Print which jobs have no server, end none, and end.  Default: false.
        Example: ``c.SlurmService.dry_run = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @default("url")
    def _url_default(self) -> Any:
        return os.environ.get("JUPYTERHUB_API_URL", "")

    @default("hub_id")
    def _hub_id_default(self) -> Any:
        return os.environ.get(HUB_ID_ENV, "")

    def check(self) -> None:
        """Check that the settings fit together.

        Raises:
            WrongSettings: they do not.
        """
        if not is_safe(self.hub_id) or "@" in self.hub_id:
            raise WrongSettings("there is no name of the hub: set --hub-id to c.NbplatformSpawner.hub_id")
        if not self.url:
            raise WrongSettings("there is no address of the hub's API: set JUPYTERHUB_API_URL, or --url")
        if not os.environ.get(TOKEN):
            raise WrongSettings(f"there is no token: run this as a service of the hub, or set {TOKEN}")
        if not _LEAST_LIFESPAN <= self.lifespan <= MAX_LIFESPAN:
            raise WrongSettings(f"lifespan must be from {_LEAST_LIFESPAN} to {MAX_LIFESPAN}, got {self.lifespan}")
        for name, least in {"min_uid": 1, "slurm_timeout": 1, "pass_timeout": 1, "reap_every": 0}.items():
            if getattr(self, name) < least:
                raise WrongSettings(f"{name} must be at least {least}, got {getattr(self, name)}")
        self._check_rest()
        self._check_place()

    def _check_rest(self) -> None:
        if not self.rest_url:
            return
        try:
            check_url(self.rest_url, "of slurmrestd")
        except ValueError as error:
            raise WrongSettings(f"rest_url: {error}") from None
        if not self.key_file:
            raise WrongSettings("rest_url needs key_file: tokens for Slurm are made with it")
        name = self.reaper_account
        if not is_safe(name) or name.isdecimal() or name.casefold() == "root":
            raise WrongSettings(
                "rest_url needs reaper_account: the name, not root and no number, of the account in whose name jobs "
                f"are ended, got {bounded(name)}"
            )

    def _check_place(self) -> None:
        """Check that there is something to do, and a place for it."""
        place = urlsplit(os.environ.get(SERVICE_URL, ""))
        if self.key_file and not (self.once or self.dry_run) and not place.port:
            raise WrongSettings("the service's entry in c.JupyterHub.services needs a url with a port")
        if not self.key_file and not self.reap_every and not (self.once or self.dry_run):
            raise WrongSettings("there is nothing to do: set key_file, or reap_every above 0")
