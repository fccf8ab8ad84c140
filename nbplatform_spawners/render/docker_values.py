"""How a value of a site's own Docker configuration is read: what may hold of it, made anew, or None."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Keep = Callable[[object], Any]
"""Takes a value as the site gave it; returns what of it may hold, or None."""

_APPARMOR = re.compile(r"apparmor=(?!unconfined\Z)[A-Za-z0-9_./-]+")
_SELINUX = re.compile(r"label=type:(?!(?:spc|unconfined|container_runtime|kernel|init)_t\Z)[A-Za-z0-9_.]+")
_SYSCTL = re.compile(r"(?:net|fs\.mqueue)\.[A-Za-z0-9_./-]+|kernel\.(?:msg|shm)[a-z_]+|kernel\.sem")
"""What belongs to the container's own network and messages; the rest is the host's."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOREIGN_VARIABLES = re.compile(r"JUPYTERHUB_.*|JPY_.*|NVIDIA_(?!DRIVER_CAPABILITIES|REQUIRE_|DISABLE_REQUIRE).*")
_OTHER_DEVICES = ("AMD_VISIBLE_DEVICES", "HABANA_VISIBLE_DEVICES")
_LOGGED = re.compile(r"(?:(?!\{\{).|\{\{\.(?:ID|FullID|Name|ImageID|ImageFullID|ImageName|DaemonName)\}\})*", re.DOTALL)
"""Templates of a log option that show no part of the environment."""
_LARGEST = 2**62


def text(value: object) -> str | None:
    """Return a text that is not empty and has no NUL character."""
    return value if isinstance(value, str) and value and "\0" not in value else None


def texts(value: object) -> list[str] | None:
    """Return the texts of a list."""
    found = [entry for entry in value if text(entry)] if isinstance(value, list | tuple) else []
    return found or None


def text_map(value: object) -> dict[str, str] | None:
    """Return the texts of a mapping, in order of their names."""
    if not isinstance(value, Mapping):
        return None
    found = {key: entry for key, entry in value.items() if text(key) and isinstance(entry, str) and "\0" not in entry}
    return dict(sorted(found.items())) or None


def whole(low: int, high: int = _LARGEST) -> Keep:
    """Return the reader of a whole number."""

    def keep(value: object) -> int | None:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return value if good else None  # type: ignore[return-value]

    return keep


def entries(**fields: Keep) -> Keep:
    """Return the reader of a list of mappings, of which all ``fields`` are read and nothing else."""

    def one(entry: object) -> dict[str, Any] | None:
        found = {name: keep(entry.get(name)) for name, keep in fields.items()} if isinstance(entry, Mapping) else {}
        return found if found and None not in found.values() else None

    def keep(value: object) -> list[dict[str, Any]] | None:
        found = [one(entry) for entry in value] if isinstance(value, list | tuple) else []
        return [entry for entry in found if entry is not None] or None

    return keep


def healthcheck(value: object) -> dict[str, Any] | None:
    """Return how Docker looks whether a server is well."""
    if not isinstance(value, Mapping):
        return None
    nanoseconds = whole(0)
    readers = {"Test": texts, **dict.fromkeys(("Interval", "Timeout", "StartPeriod", "StartInterval"), nanoseconds)}
    found = {key: readers[key](value[key]) for key in readers if key in value}
    found["Retries"] = whole(0)(value.get("Retries"))
    return {key: entry for key, entry in found.items() if entry is not None} or None


def log_config(value: object) -> dict[str, Any] | None:
    """Return a logging driver and its options, without those that would log the environment: a token is in it."""
    driver = text(value.get("Type")) if isinstance(value, Mapping) else None
    if driver is None or not isinstance(value, Mapping):
        return None
    if "Config" not in value:
        return {"Type": driver}
    options = {key: option for key, option in (text_map(value["Config"]) or {}).items() if _LOGGED.fullmatch(option)}
    return {"Type": driver, "Config": {key: options[key] for key in options if key not in ("env", "env-regex")}}


def security_opt(value: object) -> list[str] | None:
    """Return the options that name an AppArmor profile or an SELinux type, other than those that confine nothing."""
    return [entry for entry in texts(value) or () if _APPARMOR.fullmatch(entry) or _SELINUX.fullmatch(entry)] or None


def sysctls(value: object) -> dict[str, str] | None:
    """Return the kernel's settings that are the container's own."""
    return {key: entry for key, entry in (text_map(value) or {}).items() if _SYSCTL.fullmatch(key)} or None


def variables(value: object) -> list[str] | None:
    """Return ``NAME=value`` of variables that are neither the hub's nor give devices."""
    found = [entry for entry in texts(value) or () if "=" in entry and _is_free(entry.partition("=")[0])]
    return found or None


def labels(value: object) -> dict[str, str] | None:
    """Return the labels that are not the platform's own."""
    return {key: entry for key, entry in (text_map(value) or {}).items() if not key.startswith("nbplatform.")} or None


def _is_free(name: str) -> bool:
    foreign = _FOREIGN_VARIABLES.fullmatch(name) or name in _OTHER_DEVICES
    return not foreign and _VARIABLE.fullmatch(name) is not None
