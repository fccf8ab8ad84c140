"""The culler's settings as they are read: what has no effect, or does not fit together, is an error."""

from __future__ import annotations

import inspect
import os

from ..checked_settings import WrongSettings
from .settings import CullerSettings

TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable


class CheckedSettings(CullerSettings):
    """Checks what the command line and the configuration file say together."""

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
