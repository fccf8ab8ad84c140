"""Job scripts: their ``#SBATCH`` lines read as sbatch reads them, and as slurmrestd wants them.

The text of a script is the single truth: sbatch gets it as it is, slurmrestd gets what this module makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..names import bounded
from .amounts import parse_walltime, walltime_minutes
from .errors import CannotCarry
from .options import ALIASES, FLAGS, OPTIONAL, SHORT, VALUED

_WORD = "#SBATCH"
_VERSION = re.compile(r"v0\.0\.(\d+)")
_FIRST_NEW = 39
"""From this version of the interface on, fields and their types have the names that they have in slurmctld."""
_FIRST_SLASH = 40
_MEGABYTES = {"": 1, "M": 1, "G": 1024, "T": 1024**2}
Option = tuple[str, str | None]


def directives(script: str) -> list[Option]:
    """Return the options of a script's ``#SBATCH`` lines: long name and value, None for a flag.

    As in sbatch, the lines up to the first command count; words are split at blanks, quotes and backslashes hold them
    together, and an open ``#`` begins a comment.

    Raises:
        CannotCarry: the script does not begin with ``#!``, or sbatch itself would not take a line.
    """
    if not script.startswith("#!") or "\0" in script or "\r\n" in script:
        raise CannotCarry("the job script must begin with #! and the path of a shell, and have no DOS line breaks")
    options: list[Option] = []
    for line in script.split("\n"):
        if line.startswith(_WORD):
            options += _options(list(_words(line[len(_WORD) :])))
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return options


def properties(script: str, environment: Mapping[str, str], version: str = "v0.0.38") -> dict[str, Any]:
    """Return slurmrestd's description of the job that sbatch would make of the script.

    Args:
        script: the whole text.
        environment: the job's environment variables; slurmrestd gives a job nothing else.
        version: of the interface, ``v0.0.38`` and newer.

    Raises:
        CannotCarry: an option has no field there, or a value that it does not take; or there is no environment.
    """
    found = _VERSION.fullmatch(version)
    number = int(found[1]) if found else 0
    if number < _FIRST_NEW - 1:
        raise CannotCarry(f"Slurm's REST interface {bounded(version)} is older than v0.0.38, which is needed here")
    if not environment:
        raise CannotCarry("a job without any environment variable cannot be submitted over Slurm's REST interface")
    new = number >= _FIRST_NEW
    job: dict[str, Any] = {
        "name": "sbatch",  # what sbatch calls a job whose script comes by its standard input
        "environment": [f"{name}={value}" for name, value in environment.items()] if new else dict(environment),
    }
    for name, value in directives(script):
        job.update(_field(name, value, number))
    return job


def _words(line: str) -> Iterator[str]:
    word, quote, escaped = "", "", False
    for char in f"{line} ":
        if char.isspace() and not quote:  # sbatch ends a word here even behind a backslash
            if word:
                yield word
            word, escaped = "", False
        elif escaped:
            word, escaped = word + char, False
        elif char == "\\":
            escaped = True
        elif quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "'\"":
            quote = char
        elif char == "#":
            break
        else:
            word += char
    if quote:
        raise CannotCarry(f"the job script has a quote without its end: {bounded(_WORD + line)}")
    if word:
        yield word


def _options(words: list[str]) -> Iterator[Option]:
    words.reverse()
    while words:
        word = words.pop()
        if word.startswith("--"):
            yield _long(word[2:], words)
        elif word.startswith("-") and len(word) > 1:
            yield from _short(word[1:], words)
        else:
            raise CannotCarry(f"the job script has a word that is no option behind #SBATCH: {bounded(word)}")


def _long(text: str, words: list[str]) -> Option:
    written, equals, value = text.partition("=")
    name = _full_name(written)
    if (name in FLAGS and not equals) or name in OPTIONAL:
        return name, value if equals else None
    if name in FLAGS:
        raise CannotCarry(f"the option --{name} of the job script takes no value, and has {bounded(value)}")
    return name, value if equals else _next(name, words)


def _short(letters: str, words: list[str]) -> Iterator[Option]:
    while letters:
        name = SHORT.get(letters[0])
        if name is None:
            raise CannotCarry(f"the job script has the option {bounded('-' + letters[0])}, which sbatch does not know")
        if name not in FLAGS:
            yield name, letters[1:] or (None if name in OPTIONAL else _next(name, words))
            return
        yield name, None
        letters = letters[1:]


def _full_name(written: str) -> str:
    """Return the name that a long option has in full: sbatch takes any beginning that only one has."""
    known = {*VALUED, *FLAGS, *OPTIONAL, *ALIASES}
    near = {ALIASES.get(name, name) for name in known if name.startswith(written)} if written else set()
    if written in known:
        return ALIASES.get(written, written)
    if len(near) != 1:
        raise CannotCarry(f"the job script has the option {bounded('--' + written)}, which is not known here")
    return near.pop()


def _next(name: str, words: list[str]) -> str:
    if not words:
        raise CannotCarry(f"the option --{name} of the job script has no value")
    return words.pop()


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("a whole number is expected")
    return int(text)


def _signed(text: str) -> int:
    return -_whole(text[1:]) if text.startswith("-") else _whole(text)


def _megabytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12})([KMGT]?)[Bb]?", text.upper())
    if not found:
        raise ValueError("a whole number and K, M, G or T is expected")
    return -(-int(found[1]) // 1024) if found[2] == "K" else int(found[1]) * _MEGABYTES[found[2]]


def _minutes(text: str) -> int:
    return walltime_minutes(parse_walltime(text))


def _nodes(text: str) -> str:
    least, dash, most = text.partition("-")
    return f"{_whole(least)}-{_whole(most if dash else least)}"  # a list of two is taken too: its maximum is forgotten


def _exclusive(text: str) -> str:
    if text not in ("exclusive", "user"):
        raise ValueError("nothing or user is expected")
    return text


_PLAIN: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "account": ("account", str),
    "chdir": ("current_working_directory", str),
    "comment": ("comment", str),
    "constraint": ("constraints", str),
    "cpus-per-task": ("cpus_per_task", _whole),
    "dependency": ("dependency", str),
    "error": ("standard_error", str),
    "exclusive": ("exclusive", _exclusive),
    "gpus": ("gpus", str),
    "gpus-per-node": ("gpus_per_node", str),
    "gpus-per-task": ("gpus_per_task", str),
    "gres": ("gres", str),
    "input": ("standard_input", str),
    "job-name": ("name", str),
    "licenses": ("licenses", str),
    "mem": ("memory_per_node", _megabytes),
    "mem-per-cpu": ("memory_per_cpu", _megabytes),
    "nice": ("nice", _signed),
    "nodes": ("nodes", _nodes),
    "ntasks": ("tasks", _whole),
    "output": ("standard_output", str),
    "partition": ("partition", str),
    "qos": ("qos", str),
    "reservation": ("reservation", str),
    "time": ("time_limit", _minutes),
    "time-min": ("time_minimum", _minutes),
    "wckey": ("wckey", str),
}
_FLAG_FIELDS: Mapping[str, tuple[str, bool]] = {
    "hold": ("hold", True),
    "requeue": ("requeue", True),
}
_USUAL_VALUES = {"nice": "100", "exclusive": "exclusive"}
_OLD_ONLY = frozenset({"exclusive"})
_WITHOUT_EFFECT = frozenset({"parsable", "quiet", "verbose"})
_NEW_NUMBERS = frozenset({"memory_per_node", "memory_per_cpu", "time_limit"})
_NEW_TRES = {
    "gres": "tres_per_node",
    "gpus": "tres_per_job",
    "gpus_per_node": "tres_per_node",
    "gpus_per_task": "tres_per_task",
}
_NEW_LISTS = {"exclude": "excluded_nodes", "nodelist": "required_nodes"}


def _field(name: str, value: str | None, version: int) -> dict[str, Any]:
    if name in _WITHOUT_EFFECT or (name == "export" and value in ("NONE", "NIL")):
        return {}
    if name == "no-requeue":  # v0.0.38 takes ``requeue: false`` for true
        return {"requeue": False} if version >= _FIRST_NEW else {"no_requeue": True}
    value = _USUAL_VALUES.get(name) if value is None else value
    if name in _FLAG_FIELDS:
        return dict([_FLAG_FIELDS[name]])
    if name in _NEW_LISTS and version >= _FIRST_NEW and re.fullmatch(r"[A-Za-z0-9_.,-]+", value or ""):
        return {_NEW_LISTS[name]: (value or "").split(",")}
    if name not in _PLAIN or value is None or (name in _OLD_ONLY and version >= _FIRST_NEW):
        shown = f"--{name}" if value is None else f"--{name}={bounded(value)[1:-1]}"
        raise CannotCarry(f"Slurm's REST interface has no field for the option {shown} of the job script: leave it out")
    field, convert = _PLAIN[name]
    try:
        converted = convert(value)
    except ValueError as error:
        raise CannotCarry(f"the option --{name} of the job script has the value {bounded(value)}: {error}") from None
    return _renamed(field, converted, version) if version >= _FIRST_NEW else {field: converted}


def _renamed(field: str, value: Any, version: int) -> dict[str, Any]:
    if field == "nodes":
        least, _, most = value.partition("-")
        return {"minimum_nodes": int(least), "maximum_nodes": int(most)}
    if field in _NEW_NUMBERS:
        return {field: {"set": True, "infinite": False, "number": value}}
    if field in _NEW_TRES:
        between = "/" if version >= _FIRST_SLASH else ":"
        words = value.split(",") if field == "gres" else [f"gpu:{part}" for part in value.split(",")]
        return {_NEW_TRES[field]: ",".join(f"gres{between}{word}" for word in words)}
    return {field: value}
