"""The settings that every backend has."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Enum, Float, List, Unicode, default, validate
from traitlets.config import Configurable

from ..names import bounded, is_safe
from ..speedups import SPEEDUPS
from .choices import choices
from .options import form_options, judged_at_start

LONGEST_INTERVAL = 60.0
"""Seconds: who looks less often than that finds no server before the start has taken too long."""


class PlatformSettings(Configurable):
    """What an administrator sets for every backend, as ``c.NbplatformSpawner.…``."""

    rules_directory = Unicode(
        "placement_rules",
        help="""Directory of the rules: every ``*.yaml`` file directly in it makes one rule book.

        Default: ``placement_rules`` in the hub's working directory.  Example:
        ``c.NbplatformSpawner.rules_directory = "/etc/jupyterhub/placement_rules"``.
        The files are watched; a change acts within 2 seconds, a bad file changes nothing.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    hub_id = Unicode(
        "",
        help="""Name of this hub, different from that of every other hub of the site.  A server knows it, and the jobs
        that the server submits to Slurm carry it: the reaper ends those of its own hub alone.  Letters, digits,
        ``_``, ``.`` and ``-``.  Default: empty; then no reaper ends the jobs of these servers.
        Example: ``c.NbplatformSpawner.hub_id = "jupyter-example-org"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @validate("hub_id")
    def _check_hub_id(self, proposal: Any) -> str:
        hub_id = str(proposal["value"])
        if hub_id and (not is_safe(hub_id) or "@" in hub_id):
            where = f"{type(self).__name__}.hub_id"
            raise ValueError(f"{where} must be a short name of letters, digits, - . _, got {bounded(hub_id)}")
        return hub_id

    site_name = Unicode(
        "this site",
        help="""What users call the site; shown on the spawn page.  Default: ``this site``.
        Example: ``c.NbplatformSpawner.site_name = "Example Computing Centre"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    directory_lookup = Bool(
        True,
        help="""Whether a user without a stored identity (made by an administrator, or from before an upgrade) is
        looked up in the authenticator's account directory.  Default: true.  When false, or when the authenticator
        has no directory, such a user is refused until they log in once.  Example:
        ``c.NbplatformSpawner.directory_lookup = False``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    help_text = Unicode(
        "",
        help="""Plain text above the choices of the spawn page: what users should know before they choose.
        A blank line begins a new paragraph; an address such as ``https://docs.example.org`` becomes a link.
        Default: empty, nothing is shown.  Example:
        ``c.NbplatformSpawner.help_text = "Notebooks are explained at https://docs.example.org/notebooks"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    support = Unicode(
        "the support desk",
        help="""Whom a refused user should ask: a few words, an e-mail address or a web address; shown with each
        refusal.  Default: ``the support desk``.  Example:
        ``c.NbplatformSpawner.support = "support@example.org"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    audit_file = Unicode(
        "",
        help="""Path of a file to which one JSON object a line is added for each server that is started or refused,
        and for each that is stopped since its account has ended.  It may be the culler's own audit file.
        Default: empty, no file.  Example: ``c.NbplatformSpawner.audit_file = "/var/log/jupyterhub/audit.json"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    speedups = List(
        Enum(SPEEDUPS),
        default_value=list(SPEEDUPS),
        help="""What makes the single-user server faster than stock; each can be left out.  Default: all.

        - ``kernel-nodelay``: messages of kernels and terminals are sent at once, a cell's round trip loses some 40 ms.
        - ``lean-import``: a grammar that takes a second to build is read only when something needs it.
        - ``late-gc``: the garbage collector rests while the server starts.

        They act where the server's command is ``nbplatform-singleuser``, as it is by default.  Example:
        ``c.NbplatformSpawner.speedups = ["kernel-nodelay"]``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    ready_interval = Float(
        0.05,
        help="""Seconds between two looks at a starting server.  The spawner itself waits until the server answers,
        since the hub's own waiting grows from look to look.  Default: 0.05; at least 0.01 is kept to.  With 0 the hub
        waits in its own way.
        Example: ``c.NbplatformSpawner.ready_interval = 0.2``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @default("cmd")
    def _cmd_default(self) -> list[str]:
        return ["nbplatform-singleuser"]

    @default("options_form")
    def _options_form_default(self) -> Any:
        return choices

    @default("options_from_form")
    def _options_from_form_default(self) -> Any:
        return form_options

    @default("apply_user_options")
    def _apply_user_options_default(self) -> Any:
        return judged_at_start

    @default("disable_user_config")
    def _disable_user_config_default(self) -> bool:
        return True  # HOME is the user's own: its configuration must not change the server

    @validate("ready_interval")
    def _check_ready_interval(self, proposal: Any) -> float:
        if not 0 <= proposal["value"] <= LONGEST_INTERVAL:
            shown = f"NbplatformSpawner.ready_interval must be 0 to {LONGEST_INTERVAL:g} seconds"
            raise ValueError(f"{shown}, got {proposal['value']}")
        return float(proposal["value"])
