"""What a ``jupyterhub_config.py`` may name: every class with settings, JupyterHub's and the project's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jupyterhub.app import JupyterHub
from jupyterhub.auth import PAMAuthenticator
from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets.config import Config, Configurable, PyFileConfigLoader

from .test_traits import GENERATOR


def configurable_classes(*more: type) -> dict[str, type[Configurable]]:
    """Return every class that a configuration may name: JupyterHub's, the project's, further ones, and their bases.

    Args:
        more: classes that the configuration itself makes or imports.
    """
    roots = [JupyterHub, ConfigurableHTTPProxy, PAMAuthenticator, *GENERATOR.registered_classes(), *more]
    return {cls.__name__: cls for root in roots for cls in root.__mro__ if issubclass(cls, Configurable)}


def exists(owner: str, name: str, known: Mapping[str, type[Configurable]]) -> bool:
    """Tell whether ``c.OWNER.NAME`` is a setting.

    Named by c.IdentityMixin, defined in a base: an instance of any class below has all of them.
    """
    below = [cls for cls in known.values() if owner in known and issubclass(cls, known[owner])]
    return any(name in cls.class_trait_names(config=True) for cls in below)


def load(path: Path) -> Config:
    """Return a configuration file, run as JupyterHub runs it."""
    return PyFileConfigLoader(path.name, path=str(path.parent)).load_config()


def mistakes(config: Config) -> list[str]:
    """Return what is wrong with a configuration: settings that do not exist, and values that they do not take."""
    made = [value for section in config.values() for value in section.values() if isinstance(value, type)]
    known = configurable_classes(*made)
    found = []
    for owner, section in config.items():
        for name, value in section.items():
            if not exists(owner, name, known):
                found.append(f"c.{owner}.{name} does not exist")
                continue
            cls = next(one for one in known.values() if issubclass(one, known[owner]) and name in one.class_traits())
            try:
                cls.class_traits()[name]._validate(cls.__new__(cls), value)
            except Exception as wrong:  # noqa: BLE001 - whatever a setting raises about a value
                found.append(f"c.{owner}.{name}: {wrong}")
    return found
