"""The culler's command: reads its settings, puts the parts together, runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any, cast

from ..checked_settings import WrongSettings
from ..errors import BadFile
from ..event_file import EventFile
from ..hub_api import HubApi, HubError
from ..rules.model import RuleBook
from ..rules.store import RuleStore
from .checked_settings import TOKEN, CheckedSettings
from .clock import Clock
from .examine import Examiner, Wishes
from .limits import Options
from .memory import Memory
from .metrics import Metrics
from .passes import Pass, Tellers
from .policy import Kind
from .record import Record
from .server_api import ServerApi
from .service import SCOPES, NotOurHub, Service, Times
from .settings import CullerSettings
from .stops import Stopper
from .table import table
from .tell import Teller
from .upstream_settings import UpstreamSettings
from .users import UserLimits, cull_users

_STOPS_AT_ONCE = 200
"""Requests for stops that may be under way, slow ones included."""


class IdleCuller(CheckedSettings):
    """Stops notebook servers that nobody uses: warned, looked at again, several at once, by the limits of the rules.

    Runs as a service of the hub; with --dry-run it prints what it would do and does nothing.
    """

    name = "nbplatform-culler"
    description = __doc__
    aliases = {  # noqa: RUF012 - traitlets' own way
        **{
            option.replace("_", "-"): f"IdleCuller.{option}"
            for option in CullerSettings.class_trait_names(config=True)
            if option not in ("once", "dry_run", "generate_config", "cull_arbiter_hook", "config_file")
            and getattr(CullerSettings, option).this_class in (CullerSettings, UpstreamSettings)
        },
        "config": "IdleCuller.config_file",
        "log-level": "Application.log_level",
    }
    flags = {  # noqa: RUF012
        "once": ({"IdleCuller": {"once": True}}, "Make one pass, print a table of all servers, and end."),
        "dry-run": ({"IdleCuller": {"dry_run": True}}, "Print what one pass would do, do nothing, and end."),
        "generate-config": ({"IdleCuller": {"generate_config": True}}, "Print a configuration file, and end."),
        "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log every decision."),
    }
    examples = """
    nbplatform-culler --rules-directory=/etc/jupyterhub/placement_rules --dry-run
    nbplatform-culler --rules-directory=/etc/jupyterhub/placement_rules --audit-file=/var/log/jupyterhub/audit.jsonl
    nbplatform-culler --timeout=3600
    """
    clock = Clock()
    metrics: Metrics
    _store: RuleStore | None = None

    def start(self) -> None:
        """Run.  Called by traitlets after the command line was read; ends the process with its status."""
        if self.generate_config:
            sys.stdout.write(self.generate_config_file())
            return
        path = Path(self.config_file)
        try:
            self.load(path)
            self.check()
            record = self._record()  # before the loop: a signal ends one that waits for another culler
            asyncio.run(self._until_told_to_end(record))
        except (WrongSettings, NotOurHub, HubError) as error:
            self.log.critical("%s", error)
            sys.exit(1)

    async def _until_told_to_end(self, record: Record) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)  # type: ignore[union-attr]
        with contextlib.suppress(asyncio.CancelledError):
            await self.run(record)

    async def run(self, record: Record) -> None:
        """Do what the settings say: passes for ever, or one.

        Args:
            record: what is remembered; it is closed at the end.

        Raises:
            WrongSettings: they do not fit together.
            NotOurHub: the hub refuses the service.
            HubError: one pass was wanted, and the hub does not answer.
        """
        tls = self._tls()
        hub = self._hub(self.concurrency, tls)
        stops = self._hub(_STOPS_AT_ONCE, tls)
        servers = ServerApi(ssl_options=tls)
        try:
            await self._run(record, hub, stops, servers)
        finally:
            if self._store is not None:
                self._store.stop()
            for one in (hub, stops, servers, record):
                one.close()

    async def _run(self, record: Record, hub: HubApi, stops: HubApi, servers: ServerApi) -> None:
        memory, self.metrics = Memory(record), Metrics()
        examiner = Examiner(hub, servers, memory, self.clock, self._wishes())
        stopper = Stopper(
            stops,
            examiner,
            concurrency=self.concurrency,
            timeout=self.stop_timeout,
            remove=self.remove_named_servers,
            log=self.log,
        )
        tellers = Tellers(self._audit(), self._teller(), self.metrics, self.log)
        one = Pass(examiner, stopper, self._options(), self.book, tellers)
        times = Times(self.cull_every, self.start_delay, self.pass_timeout)
        service = Service(one, hub, times, self._after(hub))
        if self.dry_run or self.once:
            await self._one(one, service)
            await tellers.warn.finish()
            return
        if self.metrics_port:
            try:
                self.metrics.serve(self.metrics_ip, self.metrics_port)
            except OSError as error:
                raise WrongSettings(
                    f"metrics cannot be served at {self.metrics_ip}:{self.metrics_port}: {error.strerror}"
                ) from None
        try:
            await service.run()
        finally:
            tellers.warn.close()

    async def _one(self, one: Pass, service: Service) -> None:
        """Make one pass, or only look, and print the table."""
        await service.meet(math.inf)  # nobody was to be there in between: that is no outage
        if self.dry_run:
            await service.check_scopes([scope for scope in SCOPES if scope != "delete:servers"])
            await one.look()
        elif not await service.make_pass():
            raise HubError("the pass was not made")
        sys.stdout.write(table(one.seen, self.clock.now()) + "\n")
        sys.stdout.flush()

    # Parts

    def _record(self) -> Record:
        if self.dry_run:
            return Record.peek(self.record_file, log=self.log)
        try:
            return Record.open(self.record_file, log=self.log, wait=not self.once)
        except BlockingIOError:
            raise WrongSettings(f"another culler runs with the record {self.record_file}") from None
        except OSError as error:
            raise WrongSettings(f"the record {self.record_file} cannot be used: {error.strerror}") from None

    def book(self) -> RuleBook | None:
        """Return the rules as they are now; None where there are none, or none that can be read."""
        if not self.rules_directory:
            return None
        if self._store is None:
            try:
                self._store = RuleStore(self.rules_directory, log=self.log)
            except BadFile as error:
                self.log.error("the limits noted at each start hold, the rules cannot be read: %s", error.mistakes[0])
                self.metrics.tell(self.metrics.rules_bad, 1)
                return None
            self._store.start()
        self.metrics.tell(self.metrics.rules_bad, self._store.problem is not None)
        return self._store.book

    def _hub(self, concurrency: int, tls: ssl.SSLContext | None) -> HubApi:
        try:
            return HubApi(
                self.url,
                os.environ[TOKEN],
                timeout=float(os.environ.get("JUPYTERHUB_REQUEST_TIMEOUT") or 60),
                concurrency=concurrency,
                page_size=self.api_page_size,
                ssl_options=tls,
            )
        except ValueError as error:
            raise WrongSettings(str(error)) from None

    def _tls(self) -> ssl.SSLContext | None:
        if not self.ssl_enabled:
            return None
        folder = Path(self.internal_certs_location)
        try:
            context = ssl.create_default_context(cafile=str(folder / "hub-ca" / "hub-ca.crt"))
            context.load_verify_locations(cafile=str(folder / "notebooks-ca" / "notebooks-ca.crt"))
            own = folder / "hub-internal" / "hub-internal"
            context.load_cert_chain(own.with_suffix(".crt"), own.with_suffix(".key"))
        except OSError as error:
            raise WrongSettings(f"the hub's certificates in {folder} cannot be used: {error}") from None
        return context

    def _wishes(self) -> Wishes:
        return Wishes(
            cast(Kind, self.no_longer_allowed),
            self.cull_default_servers,
            self.cull_named_servers,
            self.cull_arbiter_hook,
            self.timeout,
        )

    def _options(self) -> Options:
        return Options(self.timeout or None, self.max_age or None, self.unanswered_max or None)

    def _audit(self) -> EventFile | None:
        return EventFile(self.audit_file, log=self.log) if self.audit_file else None

    def _teller(self) -> Teller:
        try:
            return Teller(self.log, self.warn_command, self.warn_webhook, self.warn_webhook_header_file)
        except ValueError as error:
            raise WrongSettings(f"warn_webhook: {error}") from None

    def _after(self, hub: HubApi) -> Any:
        if not self.cull_users:
            return None
        limits = UserLimits(self.timeout, self.max_age or None, self.cull_admin_users)
        return lambda: cull_users(hub, limits, self.clock.now(), self.log)


def main() -> None:
    """Run the command with the arguments of this process."""
    IdleCuller.launch_instance()
