"""The command of the service for Slurm: reads its settings, gives tokens to servers, ends jobs without a server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.web import Application as WebApplication

from ..checked_settings import WrongSettings
from ..event_file import EventFile
from ..hub_api import HubApi, HubError
from ..identity import IdRange
from .commands import CommandSlurm
from .errors import SlurmDaskError
from .reaper import Reaper, Tellers, Whose, table
from .rest import RestSlurm
from .service_bounds import Throttle
from .service_key import Key, KeyTokens
from .service_metrics import ServiceMetrics
from .service_settings import SERVICE_URL, TOKEN, SlurmSettings
from .service_tokens import MAX_BODY, Minter, Nothing, TokenHandler
from .slurm import Slurm
from .token_api import crosses_readably
from .token_holder import Allowed

NAME = "nbplatform-slurm"
_NAME_ENV, _PREFIX_ENV = "JUPYTERHUB_SERVICE_NAME", "JUPYTERHUB_SERVICE_PREFIX"
_HUB_AT_ONCE = 10
_LOOKS = 0.5
"""Seconds between two looks whether the hub that started this process is there."""
_BINDS_FOR = 20.0
"""Seconds for which the place of a service that is just ending, of a hub that was killed, is waited for."""
_IDLE = 30.0
_JITTER = 0.1


class SlurmService(SlurmSettings):
    """Gives notebook servers the tokens by which Slurm knows their users, and ends the jobs of servers that are gone.

    Runs as a service of the hub; with --dry-run it prints which jobs it would end, and does nothing.
    """

    name = NAME
    description = __doc__
    aliases = {  # noqa: RUF012 - traitlets' own way
        **{
            option.replace("_", "-"): f"SlurmService.{option}"
            for option in SlurmSettings.class_trait_names(config=True)
            if option not in ("once", "dry_run", "generate_config", "config_file")
            and getattr(SlurmSettings, option).this_class is SlurmSettings
        },
        "config": "SlurmService.config_file",
        "log-level": "Application.log_level",
    }
    flags = {  # noqa: RUF012
        "once": ({"SlurmService": {"once": True}}, "Look once, end jobs without a server, and end."),
        "dry-run": ({"SlurmService": {"dry_run": True}}, "Print which jobs have no server, end none, and end."),
        "generate-config": ({"SlurmService": {"generate_config": True}}, "Print a configuration file, and end."),
        "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log more."),
    }
    examples = """
    nbplatform-slurm --hub-id=jupyter-example-org --dry-run
    nbplatform-slurm --hub-id=jupyter-example-org --key-file=/etc/jupyterhub/slurm-jwt.key \\
        --rest-url=https://slurm.example.org:6820 --reaper-account=jupyter-reaper
    """
    metrics: ServiceMetrics

    def start(self) -> None:
        """Run.  Called by traitlets after the command line was read; ends the process with its status."""
        if self.generate_config:
            sys.stdout.write(self.generate_config_file())
            return
        try:
            self.load(Path(self.config_file))
            self.check()
            asyncio.run(self._until_told_to_end())
        except (WrongSettings, HubError, SlurmDaskError) as error:
            self.log.critical("%s", error)
            sys.exit(1)

    async def _until_told_to_end(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)  # type: ignore[union-attr]
        with contextlib.suppress(asyncio.CancelledError):
            await self.run()

    async def run(self) -> None:
        """Do what the settings say: serve until the hub ends, or look once.

        Raises:
            WrongSettings: they do not fit together.
            HubError, SlurmDaskError: one look was wanted, and somebody does not answer.
        """
        self.metrics = ServiceMetrics()
        tls = _internal_tls(ssl.Purpose.SERVER_AUTH)
        async with self._doors(tls) as (hub, slurm):
            audit = EventFile(self.audit_file, log=self.log) if self.audit_file else None
            reaper = Reaper(slurm, hub, Whose(self.hub_id, self.pass_timeout), Tellers(self.log, self.metrics, audit))
            if self.dry_run:
                sys.stdout.write(table(await reaper.look()) + "\n")
            elif self.once:
                if not await reaper.make_pass():
                    raise HubError("the look was not made")
            else:
                await self._serve(hub, reaper, tls)

    @contextlib.asynccontextmanager
    async def _doors(self, tls: ssl.SSLContext | None) -> AsyncIterator[tuple[HubApi, Slurm]]:
        hub = self._hub(os.environ[TOKEN], tls)
        slurm = self._slurm()
        try:
            yield hub, slurm
        finally:
            hub.close()
            await slurm.close()

    async def _serve(self, hub: HubApi, reaper: Reaper, tls: ssl.SSLContext | None) -> None:
        web = await self._bind(self._minter(hub, tls))
        try:
            if self.metrics_port:
                self._serve_metrics()
            self.log.info(
                "tokens for Slurm: %s; jobs without a server are looked for: %s",
                f"for {self.lifespan} s" if self.key_file else "none",
                f"every {self.reap_every} s" if self.reap_every else "never",
            )
            reaping = asyncio.create_task(self._reap(reaper))
            try:
                await self._until_the_hub_ends()
            finally:
                reaping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reaping
        finally:
            if web is not None:
                web.stop()
                await web.close_all_connections()

    async def _reap(self, reaper: Reaper) -> None:
        """Look again and again; an error that nobody thought of ends one look, and not the tokens of others."""
        while self.reap_every:
            try:
                await reaper.make_pass()
            except Exception:
                self.metrics.failures.labels("unknown").inc()
                self.log.exception("a look for jobs without a server met an error that nobody thought of")
            await asyncio.sleep(self.reap_every * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311

    async def _until_the_hub_ends(self) -> None:
        parent = os.getppid() if _NAME_ENV in os.environ else None
        while parent in (None, os.getppid()):  # noqa: ASYNC110 - nobody tells that it ended
            await asyncio.sleep(_LOOKS)
        self.log.info("the hub that started this service is gone")

    # Parts

    def _hub(self, token: str, tls: ssl.SSLContext | None) -> HubApi:
        try:
            return HubApi(
                self.url,
                token,
                timeout=float(os.environ.get("JUPYTERHUB_REQUEST_TIMEOUT") or 20),
                concurrency=_HUB_AT_ONCE,
                ssl_options=tls,
            )
        except ValueError as error:
            raise WrongSettings(str(error)) from None

    def _slurm(self) -> Slurm:
        if not self.rest_url:
            return CommandSlurm(timeout=self.slurm_timeout, all_users=True)
        if crosses_readably(self.rest_url):
            self.log.warning("tokens for Slurm cross the network readably to %s: https:// is expected", self.rest_url)
        tokens = KeyTokens(Key(self.key_file, self.lifespan), self.reaper_account)
        return RestSlurm(self.rest_url, tokens, timeout=self.slurm_timeout, all_users=True)

    def _minter(self, hub: HubApi, tls: ssl.SSLContext | None) -> Minter | None:
        if not self.key_file:
            return None
        never = {"root", *self.refused_users, *([self.reaper_account] if self.reaper_account else [])}
        allowed = Allowed(os.environ.get(_NAME_ENV, NAME), IdRange(self.min_uid, self.max_uid), never)
        key = Key(self.key_file, self.lifespan)
        problem = key.problem()
        if problem:  # no end: a hub whose service ends at its start does not start
            self.log.error("no token for Slurm can be made: %s", problem)
        return Minter(hub, lambda token: self._hub(token, tls), allowed, key, Throttle(time.monotonic))

    async def _bind(self, minter: Minter | None) -> HTTPServer | None:
        """Answer at the place that the hub gives."""
        place = urlsplit(os.environ.get(SERVICE_URL, ""))
        if not place.port:
            return None
        for noisy in ("tornado.access", "tornado.general", "tornado.application"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)  # they would repeat what strangers send
        prefix = os.environ.get(_PREFIX_ENV, "/")
        given = {"minter": minter, "metrics": self.metrics, "log": self.log}
        routes = [(f"{prefix}token", TokenHandler, given), (".*", Nothing)]
        web = HTTPServer(
            WebApplication(routes),  # type: ignore[arg-type]
            ssl_options=_internal_tls(ssl.Purpose.CLIENT_AUTH) if place.scheme == "https" else None,
            max_body_size=MAX_BODY,
            max_header_size=16 * 1024,
            idle_connection_timeout=_IDLE,
            body_timeout=_IDLE,
        )
        until = time.monotonic() + _BINDS_FOR
        while True:
            try:
                web.listen(place.port, place.hostname or "127.0.0.1")
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                    where = f"{place.hostname}:{place.port}"
                    raise WrongSettings(f"the service cannot answer at {where}: {error.strerror}") from None
                await asyncio.sleep(_LOOKS)
            else:
                return web

    def _serve_metrics(self) -> None:
        try:
            self.metrics.serve(self.metrics_ip, self.metrics_port)
        except OSError as error:
            where = f"{self.metrics_ip}:{self.metrics_port}"
            raise WrongSettings(f"metrics cannot be served at {where}: {error.strerror}") from None


def _internal_tls(purpose: ssl.Purpose) -> ssl.SSLContext | None:
    """Return the hub's internal TLS, whose files it names to its services; None where it has none."""
    names = ("JUPYTERHUB_SSL_CLIENT_CA", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_KEYFILE")
    authority, certificate, key = (os.environ.get(name, "") for name in names)
    if not (certificate and key):
        return None
    try:
        context = ssl.create_default_context(purpose, cafile=authority or None)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise WrongSettings(f"the certificates that the hub gives its services cannot be used: {error}") from None
    return context


def main() -> None:
    """Run the command with the arguments of this process."""
    SlurmService.launch_instance()
