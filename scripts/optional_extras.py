"""Extras of the package that are compiled: installed where that works, elsewhere everything else goes on without them.

Standard library alone, as setup_env.py.
"""

from __future__ import annotations

import configparser
import shutil
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import StepError, apt_install, can_apt, say


@dataclass(frozen=True)
class Build:
    """What compiling an extra needs.

    Attributes:
        use: what the extra is for.
        packages: Debian packages that have all of it.
        headers: files below the compiler's own include folders.
    """

    use: str
    packages: tuple[str, ...]
    headers: tuple[str, ...]


OPTIONAL = {
    "ldap": Build(
        "accounts in LDAP",
        ("gcc", "libc6-dev", "libldap2-dev", "libsasl2-dev", "python3-dev"),
        ("ldap.h", "lber.h", "sasl/sasl.h"),
    )
}
"""By extra; python-ldap is published as source alone."""
_INCLUDE = ("/usr/include", "/usr/local/include")


def needed(extras: Sequence[str]) -> list[str]:
    """Return the extras without which there is no environment."""
    return [extra for extra in extras if extra not in OPTIONAL]


def optional(extras: Sequence[str]) -> list[str]:
    """Return the extras that may be left out."""
    return [extra for extra in extras if extra in OPTIONAL]


def can_build(extra: str) -> bool:
    """Tell whether this machine seems to have what compiling it needs."""
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        return False
    places = [Path(place) for place in _INCLUDE]
    has_headers = all(any((place / name).is_file() for place in places) for name in OPTIONAL[extra].headers)
    return has_headers and Path(sysconfig.get_path("include"), "Python.h").is_file()


def worth_another_try(extra: str) -> bool:
    """Tell whether an extra that could not be installed before may be installed now."""
    return can_build(extra) or can_apt()


def requirements(checkout: Path, extra: str) -> list[str]:
    """Return what an extra installs."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(checkout / "setup.cfg")
    return settings.get("options.extras_require", extra, fallback="").split("\n")[1:]


def install_optional(extras: Sequence[str], checkout: Path, log: Path, pip: Callable[[list[str]], None]) -> list[str]:
    """Install optional extras, with Debian's packages when this is root; return those that cannot be had here.

    Args:
        extras: which.
        checkout: its setup.cfg says what they are.
        log: of what is run.
        pip: installs requirements; raises StepError.
    """
    without = []
    for extra in extras:
        build = OPTIONAL[extra]
        try:
            if not can_build(extra) and can_apt():
                apt_install(build.packages, log)
            say(f"installing [{extra}], {build.use}: it is compiled")
            pip(requirements(checkout, extra))
        except StepError as failed:
            say(str(failed))
            say(f"going on without [{extra}], {build.use} (as root: apt-get install {' '.join(build.packages)})")
            without.append(extra)
    return without
