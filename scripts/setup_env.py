"""Make the project's own Python environment outside the checkout and print the path of its Python.

Runs on any Python from 3.11 on, with the standard library alone: a fresh Debian has neither pip nor ensurepip.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from optional_extras import install_optional, needed, optional, worth_another_try
from pip_wheel import fetch_pip
from steps import StepError, cannot_reach, run, say

CHECKOUT = Path(__file__).resolve().parent.parent
MARKER = "complete.json"
"""Written last: an environment without it is half-made and made again."""
UNUSED_AFTER = 14 * 86400
"""Seconds after which an environment that nobody used may go."""


def cache_folder() -> Path:
    """Return the folder, outside every checkout, that holds what the commands of this project make."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "nbplatform"


def environment_folder(checkout: Path, extras: Sequence[str], python: str = sys.executable) -> Path:
    """Return where the environment belongs.

    Another checkout, another Python, other extras and other requirements each give another folder: the package is
    installed editable, so that a shared environment would run the wrong checkout.
    """
    digest = hashlib.sha256()
    for part in (str(checkout), os.path.realpath(python), sys.version, *sorted(set(extras))):
        digest.update(part.encode() + b"\0")
    for name in ("setup.cfg", "pyproject.toml"):
        digest.update((checkout / name).read_bytes() + b"\0")
    return cache_folder() / f"env-{digest.hexdigest()[:16]}"


def all_extras(checkout: Path) -> list[str]:
    """Return the names of all extras of the package."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(checkout / "setup.cfg")
    return settings.options("options.extras_require")


def is_complete(folder: Path) -> bool:
    """Tell whether the environment was made to its end and its Python is still there."""
    return (folder / MARKER).is_file() and os.access(folder / "bin" / "python", os.X_OK)


def ensure_environment(checkout: Path, extras: Sequence[str]) -> Path:
    """Return the environment's folder; makes it when it is not there.  Two runs at once wait for each other.

    Raises:
        StepError: it cannot be made; says why and where the log is.
    """
    folder = environment_folder(checkout, extras)
    if not is_complete(folder) or to_try_again(folder):
        with locked(cache_folder() / f"lock-{hashlib.sha256(str(checkout).encode()).hexdigest()[:16]}"):
            if not is_complete(folder):
                make_environment(folder, checkout, extras)
                remove_unused(cache_folder(), keep=folder, now=time.time())
            elif again := to_try_again(folder):
                add_optional(folder, checkout, extras, again)
    with contextlib.suppress(OSError):  # a cache that is read-only serves as well
        os.utime(folder / MARKER)
    return folder


def make_environment(folder: Path, checkout: Path, extras: Sequence[str]) -> None:
    """Make the environment anew in ``folder`` and mark it complete.

    Raises:
        StepError: a step failed; the half-made folder stays without its marker.
    """
    if not os.access(checkout, os.W_OK):
        raise StepError(
            f"{checkout} cannot be written by this user, and the package is installed from there; use a clone"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    say(f"making a Python environment in {folder} (once, a minute or two)")
    python = make_empty(folder, log)
    names = ",".join(needed(extras))
    say(f"installing the package and its requirements [{names}]")
    target = f"{checkout}[{names}]" if names else str(checkout)
    pip_install(python, ["--editable", target], log)
    add_optional(folder, checkout, extras, optional(extras))


def add_optional(folder: Path, checkout: Path, extras: Sequence[str], wanted: Sequence[str]) -> None:
    """Install optional extras in an environment that has everything else, and mark it complete with or without them.

    Args:
        folder: of the environment.
        checkout: what it is for.
        extras: all that it was made for.
        wanted: those of them to install now.
    """
    log, python = folder.with_suffix(".log"), folder / "bin" / "python"
    without = install_optional(wanted, checkout, log, lambda what: pip_install(python, what, log))
    marker = folder / (MARKER + ".new")
    made = {"checkout": str(checkout), "extras": sorted(set(extras)), "without": sorted(without)}
    marker.write_text(json.dumps(made) + "\n")
    marker.replace(folder / MARKER)


def to_try_again(folder: Path) -> list[str]:
    """Return the optional extras that a complete environment lacks and that may be had now."""
    try:
        without = json.loads((folder / MARKER).read_text()).get("without", [])
    except (OSError, ValueError, AttributeError):
        return []
    return [extra for extra in optional(without) if worth_another_try(extra)]


def make_empty(folder: Path, log: Path) -> Path:
    """Make an environment that holds pip and nothing else; returns its Python.

    Debian splits ensurepip off into python3-venv.  Its absence is made good from the index in every case, as root too:
    that changes nothing on the machine and takes two seconds.
    """
    python = folder / "bin" / "python"
    if importlib.util.find_spec("ensurepip") is not None:
        run([sys.executable, "-m", "venv", str(folder)], log)
        return python
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)], log)
    say("fetching pip from the package index")
    wheel = fetch_pip(folder)
    pip_install(python, [str(wheel)], log, pip=str(wheel / "pip"))
    wheel.unlink()
    return python


def pip_install(python: Path, what: Sequence[str], log: Path, pip: str | None = None) -> None:
    """Install with pip (``pip``: the path of one that is not installed), under the user's own pip settings."""
    command = [str(python), *([pip] if pip else ["-m", "pip"]), "install", "--no-input", *what]
    # The one setting that cannot hold here: an environment has no place for `--user` installations.
    environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run(command, log, env=environment, explain=cannot_reach)


def remove_unused(cache: Path, keep: Path, now: float) -> None:
    """Remove environments whose checkout is gone or that nobody used for long; ``now`` in seconds since 1970."""
    for marker in cache.glob(f"env-*/{MARKER}"):
        try:
            checkout = Path(json.loads(marker.read_text())["checkout"])
            old = now - marker.stat().st_mtime > UNUSED_AFTER
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if marker.parent != keep and (old or not checkout.exists()):
            marker.unlink(missing_ok=True)
            shutil.rmtree(marker.parent, ignore_errors=True)
            marker.parent.with_suffix(".log").unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file; says so when another run holds it.

    The system frees it when the holder has ended, and every program that it started under the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that makes an environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str]) -> int:
    """Print the path of the Python of an environment with these extras (``all``: with every one); return the status."""
    try:
        extras = all_extras(CHECKOUT) if list(arguments) == ["all"] else arguments
        folder = ensure_environment(CHECKOUT, extras)
    except StepError as failed:
        say(str(failed))
        return 1
    except KeyboardInterrupt:
        say("stopped; the next run starts the environment anew")
        return 130
    sys.stdout.write(f"{folder / 'bin' / 'python'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
