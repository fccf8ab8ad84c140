"""Settings of a command as they are read: what has no effect, or is no setting, is an error."""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tornado.log import LogFormatter
from traitlets import TraitError, default
from traitlets.config import Application

_USAGE = 2
_TRAITLETS_OWN = ("help", "help-all", "show-config", "show-config-json")


class WrongSettings(Exception):
    """The settings do not fit together; one sentence."""


class CheckedApplication(Application):
    """A command that reads its command line and its configuration file, and passes over nothing in silence.

    The section of its settings in a configuration file has the name of its class; it has a setting ``config_file``.
    """

    raise_config_file_errors = True
    _log_formatter_cls = LogFormatter  # type: ignore[assignment]

    @default("log_level")
    def _log_level_default(self) -> int:
        return logging.INFO

    @default("log_datefmt")
    def _log_datefmt_default(self) -> str:
        return "%Y-%m-%d %H:%M:%S"

    @default("log_format")
    def _log_format_default(self) -> str:  # the hub's own, so that one log reads as one
        return "%(color)s[%(levelname)1.1s %(asctime)s.%(msecs).03d %(name)s]%(end_color)s %(message)s"

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
        section = type(self).__name__
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
        if not path.exists() and "config_file" in self.cli_config.get(section, {}):
            raise WrongSettings(f"there is no configuration file {path}")
        for name in self.config:
            if name not in (section, "Application"):
                raise WrongSettings(f"there is nothing called {name} to configure here, only {section}")
        known = self.trait_names(config=True)
        for name in self.config.get(section, {}):
            if name not in known:
                raise WrongSettings(f"there is no setting {section}.{name}{_meant(name, known, '')}")


def _meant(name: str, known: Iterable[str], before: str) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {before}{close[0]}?" if close else ""
