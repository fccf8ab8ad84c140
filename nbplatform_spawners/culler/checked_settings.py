"""The culler's settings as they are read: what has no effect, or does not fit together, is an error."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from traitlets import TraitError

from .settings import CullerSettings

TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable
_USAGE = 2
_SECTIONS = ("IdleCuller", "Application")
_TRAITLETS_OWN = ("help", "help-all", "show-config", "show-config-json")


class WrongSettings(Exception):
    """The settings do not fit together; one sentence."""


class CheckedSettings(CullerSettings):
    """Reads command line and configuration file, and checks both."""

    def parse_command_line(self, argv: Any = None) -> None:
        """Read the command line.  Called by traitlets, which lets an option that is unknown pass with a warning."""
        known = {*self.aliases, *self.flags, *_TRAITLETS_OWN}
        options = [text[2:].partition("=")[0] for text in argv or sys.argv[1:] if text.startswith("--")]
        for option in options:
            if "." not in option and option not in known:
                self.log.critical("there is no option --%s%s", option[:80], _meant(option, known, "--"))
                self.exit(_USAGE)
        super().parse_command_line(argv)

    def load(self, path: Path) -> None:
        """Read the configuration file; a setting, or a word, that would have no effect must not pass in silence.

        Args:
            path: of the file; it need not be there unless somebody named it.

        Raises:
            WrongSettings: it is not a good one.
        """
        if self.extra_args:
            raise WrongSettings(
                f"there is nothing to do with {' '.join(self.extra_args)[:80]!r}: options begin with --"
            )
        try:
            self.load_config_file(path.name, path=str(path.parent))
        except TraitError as error:
            raise WrongSettings(str(error)) from None
        except Exception as error:  # noqa: BLE001 - it is Python, and anything may happen in it
            raise WrongSettings(f"the configuration file {path} cannot be read: {error!r}") from None
        if not path.exists() and "config_file" in self.cli_config.get("IdleCuller", {}):
            raise WrongSettings(f"there is no configuration file {path}")
        for section in self.config:
            if section not in _SECTIONS:
                raise WrongSettings(f"there is nothing called {section} to configure here, only IdleCuller")
        known = self.trait_names(config=True)
        for name in self.config.get("IdleCuller", {}):
            if name not in known:
                raise WrongSettings(f"there is no setting IdleCuller.{name}{_meant(name, known, '')}")

    def check(self) -> None:
        """Check that the settings fit together.

        Raises:
            WrongSettings: they do not.
        """
        if not self.url:
            raise WrongSettings("there is no address of the hub's API: set JUPYTERHUB_API_URL, or --url")
        if not os.environ.get(TOKEN):
            raise WrongSettings(f"there is no token: run this as a service of the hub, or set {TOKEN}")
        if inspect.iscoroutinefunction(self.cull_arbiter_hook):
            raise WrongSettings("cull_arbiter_hook must be a plain function")
        if self.cull_users and not self.timeout:
            raise WrongSettings("--cull-users needs --timeout: after how many seconds users are deleted")
        least = {"timeout": 0, "max_age": 0, "concurrency": 1, "cull_every": 1, "start_delay": 0, "unanswered_max": 0}
        for name, number in {**least, "stop_timeout": 1, "pass_timeout": 1, "api_page_size": 0}.items():
            if getattr(self, name) < number:
                raise WrongSettings(f"{name} must be at least {number}, got {getattr(self, name)}")


def _meant(name: str, known: Iterable[str], before: str) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {before}{close[0]}?" if close else ""
