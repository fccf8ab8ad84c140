"""A hub's configuration with a culler of exactly the least scopes, and the culler itself in a test's own process.

Time is passed in: :class:`Ahead` is the machine's clock and as much later as a test says, and what real servers answer
is taken for what they said by the machine's clock (:class:`ServersNow`), so that days go by without waiting.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from nbplatform_spawners.culler.activity import Activity
from nbplatform_spawners.culler.clock import Clock
from nbplatform_spawners.culler.examine import Examiner, Seen, Wishes
from nbplatform_spawners.culler.limits import Options
from nbplatform_spawners.culler.memory import Memory
from nbplatform_spawners.culler.metrics import Metrics
from nbplatform_spawners.culler.passes import Pass, Tellers
from nbplatform_spawners.culler.record import Record
from nbplatform_spawners.culler.server_api import ServerApi, Unanswered
from nbplatform_spawners.culler.service import SCOPES, Service, Times
from nbplatform_spawners.culler.stops import Stop, Stopper
from nbplatform_spawners.culler.tell import Teller
from nbplatform_spawners.event_file import EventFile
from nbplatform_spawners.hub_api import Door, HubApi
from nbplatform_spawners.rules.model import RuleBook
from nbplatform_spawners.rules.store import RuleStore, load
from tests.components import servers
from tests.components.hub import Hub
from tests.hub.site import PASSWORD, RULES

TOKEN = secrets.token_hex(16)
NAME = "nbplatform-culler"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS = "cull_after: 3d, cull_after_gpu: 1d, warn_before: 2h, busy_max: 6d, extend: 6h"
"""Limits of a real site."""
LOG = logging.getLogger("tests.culler")


def idle_rules(idle: str = DAYS, rules: str = RULES) -> str:
    """Return a site's rules with limits for everybody; without ``idle`` none."""
    return rules.replace("defaults:\n", f"defaults:\n  idle: {{{idle}}}\n" if idle else "defaults:\n")


@dataclass(frozen=True)
class Beside:
    """A service of the hub.

    Attributes:
        token: of it.
        scopes: of its role.
        more: what else its entry has, such as its command.
    """

    token: str = TOKEN
    scopes: Sequence[str] = SCOPES
    more: Mapping[str, Any] = field(default_factory=dict)


def with_services(config: str, services: Mapping[str, Beside] | None = None) -> str:
    """Return a hub's configuration with services, by name; without any, with the culler's alone."""
    wanted = {NAME: Beside()} if services is None else services
    entries = [{"name": name, "api_token": one.token, **one.more} for name, one in wanted.items()]
    roles = [{"name": f"{name}-role", "services": [name], "scopes": [*one.scopes]} for name, one in wanted.items()]
    return f"{config}\nc.JupyterHub.services = {entries!r}\nc.JupyterHub.load_roles = {roles!r}\n"


class Ahead(Clock):
    """The machine's clock, and as much later as ``by``."""

    def __init__(self) -> None:
        self.by = timedelta(0)

    def now(self) -> datetime:
        """Return what time it is then."""
        return super().now() + self.by

    def passed(self) -> float:
        """Return seconds: the time in between has passed, nobody has set the clock."""
        return super().passed() + self.by.total_seconds()


class Jumps(Ahead):
    """A clock that somebody sets: the time of day differs from the time that has passed."""

    def passed(self) -> float:
        """Return the machine's own."""
        return time.monotonic()


class ServersNow(ServerApi):
    """Takes what a server says by the machine's clock, whatever time the culler is told."""

    async def ask(self, door: Door, now: Callable[[], datetime]) -> Activity | Unanswered:
        """Ask as ever."""
        return await super().ask(door, Clock().now)


@dataclass
class Wanted:
    """How a culler is made.

    Attributes:
        clock: its time.
        rules: directory of the rules; None for none.
        book: gives the rules instead.
        options, wishes: as the command line has them.
        audit, command: whom it tells.
        hub_api, servers: how it asks.
        stop_timeout: seconds that a stop may take.
        concurrency: stops at once.
        token: of the service.
    """

    clock: Clock = field(default_factory=Ahead)
    rules: Path | None = None
    book: Callable[[], RuleBook | None] | None = None
    options: Options = field(default_factory=Options)
    wishes: Wishes = field(default_factory=Wishes)
    audit: Path | None = None
    command: Sequence[str] = ()
    hub_api: type[HubApi] = HubApi
    servers: type[ServerApi] = ServersNow
    server_limit: float = 5.0
    stop_timeout: float = 20.0
    concurrency: int = 10
    token: str = TOKEN


@dataclass
class Culler:
    """A culler, a pass at a time.

    Attributes:
        one: its passes.
        service: the life around them.
        memory: what it remembers.
        clock: its time.
        stops: how the stops of the last pass ended.
    """

    one: Pass
    service: Service
    memory: Memory
    clock: Any
    store: RuleStore | None
    stops: list[Stop] = field(default_factory=list)

    async def make_pass(self) -> dict[tuple[str, str], Seen]:
        """Make one pass as the service does; returns how each server was seen at its first look."""
        await self.service.meet()
        assert await self.service.make_pass()
        await self.one.tellers.warn.finish()
        return self.seen

    async def look(self) -> dict[tuple[str, str], Seen]:
        """Look and do nothing."""
        await self.one.look()
        return self.seen

    @property
    def seen(self) -> dict[tuple[str, str], Seen]:
        """What the last look found."""
        return {(one.server.user, one.server.name): one for one in self.one.seen}

    @property
    def outcomes(self) -> dict[tuple[str, str], str]:
        """How the stops of the last pass ended."""
        return {(stop.seen.server.user, stop.seen.server.name): stop.outcome for stop in self.stops}

    async def rules_are_taken(self) -> None:
        """Wait until the rules are those of the files."""
        assert self.store is not None
        wanted = load(self.store.directory).generation
        await until(lambda: self.store is not None and self.store.book.generation == wanted)


@asynccontextmanager
async def culler(url: str, record: Path, wanted: Wanted) -> AsyncIterator[Culler]:
    """A culler of a hub, put together as its command does it.

    Args:
        url: of the hub's API.
        record: its file.
        wanted: what it is made with.
    """
    store = None if wanted.rules is None else RuleStore(wanted.rules, interval=0.05)
    if store is not None:
        store.start()
    kept = Record.open(record)
    hub, stops = (wanted.hub_api(url, wanted.token, timeout=20, concurrency=number) for number in (10, 200))
    asking = wanted.servers(timeout=wanted.server_limit)
    teller = Teller(LOG, wanted.command)
    try:
        yield _put_together(wanted, kept, hub, stops, asking, teller, store)
    finally:
        if store is not None:
            store.stop()
        teller.close()
        for one in (hub, stops, asking, kept):
            one.close()


def _put_together(
    wanted: Wanted, kept: Record, hub: HubApi, stops: HubApi, asking: ServerApi, teller: Teller, store: RuleStore | None
) -> Culler:
    memory, metrics = Memory(kept), Metrics()
    examiner = Examiner(hub, asking, memory, wanted.clock, wanted.wishes)
    limit, at_once = wanted.stop_timeout, wanted.concurrency
    stopper = Stopper(stops, examiner, concurrency=at_once, timeout=limit, remove=False, log=LOG)
    tellers = Tellers(EventFile(wanted.audit) if wanted.audit else None, teller, metrics, LOG)
    book = wanted.book or (lambda: None if store is None else store.book)
    one = Pass(examiner, stopper, wanted.options, book, tellers)
    service = Service(one, hub, Times(300.0, 0.0, 120.0))
    made = Culler(one, service, memory, wanted.clock, store)
    run = one.run

    async def noted() -> list[Stop]:
        made.stops = await run()
        return made.stops

    one.run = noted  # type: ignore[method-assign]
    return made


async def until(done: Callable[[], Any], limit: float = 60.0) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + limit
    while not (found := await asyncio.to_thread(done)):
        assert time.monotonic() < end, "it does not come true"
        await asyncio.sleep(0.05)
    return found


def api_of(hub: Hub) -> str:
    """The address of a hub's API, past the proxy: where a service finds it."""
    return f"{hub.hub_url}/hub/api"


def home(hub: Hub, user: str) -> str:
    """The text of somebody's home page, in one line."""
    return " ".join(hub.login(user, PASSWORD).page("/hub/home").split())


def notice_of(hub: Hub, user: str, name: str = "") -> dict[str, Any] | None:
    """The notice that hangs in a server."""
    door = servers.Door(hub, user, name, None, None)
    found: dict[str, Any] | None = door.ask("GET", "api/nbplatform/notice")["notice"]
    return found


def runs(hub: Hub, user: str, name: str = "") -> bool:
    """Whether the hub says that a server runs and its server answers."""
    model = hub.api("GET", f"users/{user}").json["servers"].get(name)
    return bool(model and model["ready"]) and bool(servers.Door(hub, user, name, None, None).ask("GET", "api/status"))


@contextmanager
def busy_kernel(hub: Hub, user: str, code: str, name: str = "") -> Iterator[str]:
    """A kernel that runs code, and nobody is connected to it; returns its id."""
    door = servers.Door(hub, user, name, None, None)
    kernel = door.ask("POST", "api/kernels", {"name": "python3"})["id"]
    with door.socket(f"api/kernels/{kernel}/channels", session_id=secrets.token_hex(8)) as channel:
        channel.send(execute(code))
        limit = time.monotonic() + 30
        while door.ask("GET", f"api/kernels/{kernel}")["execution_state"] != "busy":
            assert time.monotonic() < limit, "the kernel does not begin"
            time.sleep(0.05)
    try:
        yield kernel
    finally:
        if name in hub.api("GET", f"users/{user}").json["servers"]:
            door.ask("DELETE", f"api/kernels/{kernel}")


def execute(code: str) -> str:
    """A request to a kernel, as its WebSocket takes it."""
    header: Mapping[str, Any] = {
        "msg_id": secrets.token_hex(8),
        "msg_type": "execute_request",
        "username": "",
        "version": "5.3",
        "session": secrets.token_hex(8),
    }
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    return json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"})
