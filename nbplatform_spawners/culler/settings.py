"""The culler's settings: those of upstream's culler, and ours."""

from __future__ import annotations

from traitlets import Bool, Enum, Int, List, Unicode, default

from .upstream_settings import UpstreamSettings

_UPSTREAMS_TIMEOUT = 600
_EVERY_WITH_RULES = 300


class CullerSettings(UpstreamSettings):
    """What an administrator sets as ``c.IdleCuller.…``, or on the command line."""

    rules_directory = Unicode(
        help="""Directory of the rules, the same as the spawners'.  Their ``idle`` limits hold, as they are now.
        Default: empty, no rules: the limits noted at each server's start hold, else ``timeout`` and ``max_age``.
        Example: ``c.IdleCuller.rules_directory = "/etc/jupyterhub/placement_rules"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    record_file = Unicode(
        "nbplatform-culler.json",
        help="""File in which the culler keeps what must survive its restart: why servers were stopped, who was warned,
        when the hub was away.  Default: ``nbplatform-culler.json`` in the working directory, which is the hub's.
        Example: ``c.IdleCuller.record_file = "/srv/jupyterhub/culler.json"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    audit_file = Unicode(
        help="""File to which each warning, extension and stop is added, one JSON object a line.
        Default: empty, none.  Example: ``c.IdleCuller.audit_file = "/var/log/jupyterhub/audit.jsonl"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    start_delay = Int(
        120,
        help="""Seconds before the first pass, and before one after the hub was away: servers and users come back first.
        Default: 120.  Example: ``c.IdleCuller.start_delay = 300``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    stop_timeout = Int(
        300,
        help="""Seconds that a server may take to be gone before its stop counts as failed.
        Default: 300.  Example: ``c.IdleCuller.stop_timeout = 600``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    pass_timeout = Int(
        1800,
        help="""Seconds after which a pass is given up.  Default: 1800.
        Example: ``c.IdleCuller.pass_timeout = 3600``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    no_longer_allowed = Enum(
        ("keep", "warn", "stop"),
        default_value="keep",
        help="""What happens to a server that the rules no longer allow, one whose user left the GPU whitelist, say:
        ``keep`` only lists it, ``warn`` tells its user, ``stop`` tells them and stops it after ``warn_before``.
        Default: ``keep``.  Example: ``c.IdleCuller.no_longer_allowed = "stop"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    unanswered_max = Int(
        0,
        help="""Seconds by which a server may idle longer when it does not answer; 0: it is never stopped for idling.
        Default: 0.  Example: ``c.IdleCuller.unanswered_max = 604800``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    warn_command = List(
        Unicode(),
        help="""A command that is run for each warning, to send mail, say; the event is its standard input, as JSON.
        Program and arguments; no shell reads them.  Default: none.
        Example: ``c.IdleCuller.warn_command = ["/usr/local/bin/mail-warning"]``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    warn_webhook = Unicode(
        help="""An address to which each warning is posted as JSON.  Default: empty, none.
        Example: ``c.IdleCuller.warn_webhook = "https://chat.example.org/hooks/jupyter"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    warn_webhook_header_file = Unicode(
        help="""File that only its owner reads, with one header line for ``warn_webhook``, ``Authorization: …`` say.
        Default: empty, none.  Example: ``c.IdleCuller.warn_webhook_header_file = "/etc/jupyterhub/hook-header"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    metrics_ip = Unicode(
        "127.0.0.1",
        help="""Address at which Prometheus is answered.  Default: ``127.0.0.1``.
        Example: ``c.IdleCuller.metrics_ip = "10.0.0.5"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    metrics_port = Int(
        0,
        help="""Port at which Prometheus is answered; 0: it is not.  Default: 0.
        Example: ``c.IdleCuller.metrics_port = 9410``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    once = Bool(
        False,
        help="""Make one pass, print a table of all servers, and end.  Default: false.
        Example: ``c.IdleCuller.once = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    dry_run = Bool(
        False,
        help="""Print the table of what one pass would do, do nothing, and end.  Default: false.
        Example: ``c.IdleCuller.dry_run = True``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @default("timeout")
    def _timeout_default(self) -> int:
        return 0 if self.rules_directory else _UPSTREAMS_TIMEOUT

    @default("cull_every")
    def _cull_every_default(self) -> int:
        return _EVERY_WITH_RULES if self.rules_directory else max(self.timeout // 2, 1)
