"""Whether the Python on the nodes can work with the kernel's own."""

from __future__ import annotations

from collections.abc import Mapping

from ..names import bounded

Versions = Mapping[str, str]
"""Name to version: ``{"python": "3.11", "distributed": "2026.8.0"}``; missing when it is not installed."""
COMPARED = ("python", "distributed", "dask", "cloudpickle", "msgpack")
"""What is compared, the most telling first."""
_PARTS = {"python": 2, "cloudpickle": 1, "msgpack": 1}
"""How many of a version's numbers must be equal; without an entry all of it."""
_NAMES = {"python": "Python"}


def mismatch(here: Versions, there: Versions) -> str | None:
    """Return one sentence about what is too different, or None when both sides can work together.

    Args:
        here: the kernel's side.
        there: a node's.
    """
    wrong = [name for name in COMPARED if _cut(name, here) != _cut(name, there)]
    if not wrong:
        return None
    nodes = _listed(wrong, there)
    kernel = _listed(wrong, here)
    return (
        f"the nodes have {nodes}, this notebook has {kernel}, and these must be the same: use a kernel that is "
        "installed on storage which the nodes share, or ask for the matching worker Python"
    )


def _cut(name: str, versions: Versions) -> str | None:
    version = versions.get(name)
    return version if version is None or name not in _PARTS else ".".join(version.split(".")[: _PARTS[name]])


def _listed(names: list[str], versions: Versions) -> str:
    return " and ".join(filter(None, (", ".join(_shown(name, versions) for name in part) for part in _split(names))))


def _split(names: list[str]) -> tuple[list[str], list[str]]:
    return names[:-1], names[-1:]


def _shown(name: str, versions: Versions) -> str:
    said = _NAMES.get(name, name)
    return f"{said} {bounded(versions[name], 24)[1:-1]}" if name in versions else f"no {said}"
