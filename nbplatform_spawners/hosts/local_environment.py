"""Where the Python environment of a server's command lies: what its view must show besides the system."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..mounts import is_below

_MAX_LINKS = 10
_PACKAGE = Path(__file__).resolve().parents[1]


def hub_environment() -> tuple[str, ...]:
    """Return the folders of the environment that this process runs in, this package included."""
    found = [_PACKAGE]
    for prefix in (sys.prefix, sys.base_prefix):
        found += [Path(prefix), Path(prefix).resolve()]
    return tuple(dict.fromkeys([*map(str, found), *_interpreter_places(Path(sys.executable))]))


def command_environment(program: str) -> tuple[str, ...]:
    """Return what the program at an absolute path needs to see of the environment it belongs to.

    That is its Python environment (a virtual environment with what it was made from, or a conda one) or else the file
    alone: a program in somebody's ``bin`` does not show their home.  Nothing for a program that is not there.
    """
    path = Path(program)
    if not path.is_absolute() or not path.exists():
        return ()
    found = list(_interpreter_places(path))
    interpreter = _interpreter_of(path)
    if interpreter is not None:
        found += _interpreter_places(interpreter)
    return tuple(dict.fromkeys(found))


def find_program(command: str, path: str) -> str:
    """Return the absolute path of a command: in ``path``, else beside this process's interpreter, else as given."""
    if "/" in command:
        return command
    beside = str(Path(sys.executable).parent)
    return shutil.which(command, path=path) or shutil.which(command, path=beside) or command


def outermost(paths: Iterable[str], folders: Sequence[str]) -> tuple[str, ...]:
    """Return the paths that lie neither in ``folders`` nor in one another, sorted."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if path != "/" and not any(path == other or is_below(path, other) for other in (*folders, *kept)):
            kept.append(path)
    return tuple(kept)


def _interpreter_places(program: Path) -> list[str]:
    """Return the environments (or files) along a program's chain of symbolic links, and what they were made from."""
    found: list[str] = []
    for _ in range(_MAX_LINKS):
        found += _places(program)
        if not program.is_symlink():
            break
        program = Path(os.path.normpath(program.parent / program.readlink()))
    return [*found, *_places(program.resolve())]


def _places(program: Path) -> list[str]:
    prefix = program.parent.parent
    if program.parent.name != "bin" or not _is_environment(prefix):
        return [str(program)]
    found = [str(prefix), str(prefix.resolve())]
    made_from = _made_from(prefix)
    if made_from is not None and made_from != prefix:
        found += [str(made_from), str(made_from.resolve())]
    return found


def _is_environment(prefix: Path) -> bool:
    if (prefix / "pyvenv.cfg").is_file() or (prefix / "conda-meta").is_dir():
        return True
    return any((prefix / "lib").glob("python3*/os.py"))


def _made_from(prefix: Path) -> Path | None:
    """Return the prefix of the installation that a virtual environment was made from."""
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    homes = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "home"]
    return Path(homes[0]).parent if homes and Path(homes[0]).is_absolute() else None


def _interpreter_of(program: Path) -> Path | None:
    """Return the interpreter that a script names in its first line, by absolute path; None for other files."""
    try:
        with program.open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return None
    words = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    return Path(words[0]) if words and words[0].startswith("/") and Path(words[0]).exists() else None
