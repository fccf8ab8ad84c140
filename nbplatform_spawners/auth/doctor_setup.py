"""What the doctor examines: the hub's own configuration, read as the hub reads it, or a few options."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.app import JupyterHub
from jupyterhub.utils import url_path_join
from traitlets import TraitError
from traitlets.config import Config

from ..names import bounded
from .doctor_client import HubAddresses
from .doctor_public import Asked
from .doctor_wire import Wire
from .keycloak import KeycloakAuthenticator
from .keycloak_logout import logged_out_address
from .keycloak_provider import Asking, Provider

BACKCHANNEL = "keycloak/backchannel_logout"


class WrongUse(Exception):
    """What was given does not say what to examine; the text says why."""


@dataclass(frozen=True)
class Setup:
    """What is examined.

    Attributes:
        authenticator: the hub's, with all its settings; its questions to the directory are the hub's.
        hub: the hub's own addresses.
        whole: it comes from the hub's configuration, so that allow rules and accounts can be judged.
    """

    authenticator: KeycloakAuthenticator
    hub: HubAddresses
    whole: bool

    @property
    def asked(self) -> Asked:
        """What the hub asks of Keycloak."""
        scope = " ".join(self.authenticator.scope)
        return Asked(self.hub.callback, self.hub.after_logout, scope, self.authenticator.extra_authorize_params)

    def wire(self) -> Wire:
        """Return what sends requests with the hub's own settings."""
        return Wire(self.authenticator.request_timeout, self._options())

    def provider(self, wire: Wire) -> Provider:
        """Return the realm as the hub sees it, through ``wire``."""
        one = self.authenticator
        asking = Asking(one.leeway, one.request_timeout, one.keys_age, self._options())
        return Provider(one.issuer, one.client_id, one.client_secret, asking, wire.fetch)

    def _options(self) -> dict[str, Any]:
        return {"validate_cert": self.authenticator.validate_server_cert, **self.authenticator.http_request_kwargs}


def from_config(path: Path, hub_url: str) -> Setup:
    """Read a ``jupyterhub_config.py``.

    Args:
        path: of the file; it runs, as it does in the hub.
        hub_url: where browsers reach the hub; empty when the configuration says it.

    Raises:
        WrongUse: the file cannot be read, is for another authenticator, or does not say where the hub is.
    """
    if not path.is_file():
        raise WrongUse(f"{path}: there is no such file")
    hub = JupyterHub()
    hub.raise_config_file_errors = True
    hub.log = logging.getLogger("nbplatform.doctor")
    try:
        hub.load_config_file(str(path.absolute()))
        authenticator = hub.authenticator_class(config=hub.config)  # without the hub: no user of it is looked at
    except SystemExit as leaving:  # the configuration itself found something wrong
        raise WrongUse(f"{path}: {bounded(leaving.code, 500)}") from None
    except TraitError as error:
        raise WrongUse(f"{path}: {bounded(error, 500)}") from None
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - a configuration is a program of the site's: anything may be wrong in it
        raise WrongUse(f"{path}: {type(error).__name__} in {_line_of(error, path)}: {bounded(error, 300)}") from None
    if not isinstance(authenticator, KeycloakAuthenticator):
        raise WrongUse(f"{path}: its authenticator is {type(authenticator).__name__}, not nbplatform-keycloak")
    return Setup(authenticator, _addresses(authenticator, hub_url or hub.public_url, hub.hub_prefix), whole=True)


def from_options(issuer: str, client_id: str, secret_file: Path, hub_url: str) -> Setup:
    """Examine a realm for which there is no configuration yet; claims have their usual names.

    Args:
        issuer: the realm's address.
        client_id: of the hub's client.
        secret_file: holds the client's secret, in its first line.
        hub_url: where browsers reach the hub, as ``https://HOST/`` or with the hub's base URL.

    Raises:
        WrongUse: the secret cannot be read, or nothing says where the hub is.
    """
    try:
        secret = secret_file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"{secret_file}: {getattr(error, 'strerror', None) or error}") from None
    settings = Config()
    settings.KeycloakAuthenticator = Config(issuer=issuer, client_id=client_id, client_secret=secret, allow_all=True)
    authenticator = KeycloakAuthenticator(config=settings)
    prefix = url_path_join(urlsplit(hub_url).path or "/", "hub/")
    return Setup(authenticator, _addresses(authenticator, hub_url, prefix), whole=False)


def _addresses(authenticator: KeycloakAuthenticator, public: str, prefix: str) -> HubAddresses:
    """Return the hub's addresses.

    Args:
        authenticator: may say the callback, which wins.
        public: where browsers reach the hub; empty when nobody said.
        prefix: path of the hub there, such as ``/hub/``.
    """
    callback = authenticator.oauth_callback_url
    if not callback:
        parts = urlsplit(public)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise WrongUse(
                "nothing says where browsers reach the hub: set c.KeycloakAuthenticator.oauth_callback_url, or give"
                " --hub-url https://hub.example.org"
            )
        callback = f"{parts.scheme}://{parts.netloc}{url_path_join(prefix, 'oauth_callback')}"
    top = callback.rpartition("/")[0]
    return HubAddresses(callback, f"{top}/{BACKCHANNEL}", logged_out_address(callback, urlsplit(top).path))


def _line_of(error: BaseException, path: Path) -> str:
    """Return the line of a file that an error came from."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}"
    at, line = error.__traceback__, 0
    while at is not None:
        if Path(at.tb_frame.f_code.co_filename) == path.absolute():
            line = at.tb_lineno
        at = at.tb_next
    return f"line {line}" if line else "a file that it loads"
