"""The settings of the local backend."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jupyterhub.traitlets import ByteSpecification
from traitlets import Float, List, Unicode, default, validate
from traitlets.config import Configurable


class LocalSettings(Configurable):
    """What an administrator sets for ``nbplatform-local``, as ``c.LocalSpawner.…``."""

    runtime_directory = Unicode(
        help="""Directory for what belongs to running servers: their logs and generated ``passwd`` and ``group`` files.

        Default: ``nbplatform-run`` in the hub's working directory.  Made when missing, for the hub's eyes only.
        Example: ``c.LocalSpawner.runtime_directory = "/run/nbplatform"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    gpus = List(
        Unicode(),
        help="""Ids of this machine's GPUs that may be granted, as ``nvidia-smi -L`` prints them.

        Default: none.  Example: ``c.LocalSpawner.gpus = ["GPU-0a1b", "GPU-2c3d"]``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    gpu_model = Unicode(
        "",
        help="""Model of this machine's GPUs, for profiles with a ``gpu_model``.  Default: empty, none.
        Example: ``c.LocalSpawner.gpu_model = "K80"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    overcommit = Float(
        1.0,
        help="""How many times this machine's memory may be promised to servers, as a factor.  Default: 1.0.
        Example: ``c.LocalSpawner.overcommit = 1.5``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    stop_grace = Float(
        10.0,
        help="""Seconds that a server has to end by itself at a stop before it is killed.  Default: 10.
        Example: ``c.LocalSpawner.stop_grace = 30``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    max_log_size = ByteSpecification(
        "10M",
        help="""Bytes that a server's log may have before it is emptied; looked at whenever the hub polls the server.
        Default: 10M.  Example: ``c.LocalSpawner.max_log_size = "100M"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    bwrap = Unicode(
        "",
        help="""Path of bubblewrap, which makes each server's view of the file system.  Default: empty, looked up in
        ``PATH``.  Example: ``c.LocalSpawner.bwrap = "/opt/bubblewrap/bin/bwrap"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    readable_paths = List(
        Unicode(),
        help="""Folders of this machine that every server may read, beside the system and the hub's own environment.
        Default: none.  Example: ``c.LocalSpawner.readable_paths = ["/opt/software"]``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    @default("runtime_directory")
    def _runtime_directory_default(self) -> str:
        return str(Path.cwd() / "nbplatform-run")

    @default("cmd")
    def _cmd_default(self) -> list[str]:
        # -P as a console script has it: a file of the user's HOME must not stand in for a module of the server.
        return [sys.executable, "-P", "-m", "nbplatform_spawners.singleuser"]

    @default("ip")
    def _ip_default(self) -> str:
        return "127.0.0.1"

    @validate("overcommit")
    def _check_overcommit(self, proposal: Any) -> float:
        if not proposal["value"] > 0:
            raise ValueError(f"LocalSpawner.overcommit must be above 0, got {proposal['value']}")
        return float(proposal["value"])
