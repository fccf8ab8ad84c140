"""A hub within the test's own process: JupyterHub's own users, spawns, stops and database over wire daemons.

    hub = InnerHub(make_database(), RULES, port)
    await hub.begin()
    await hub.start("ada", "", "gpu")
    await hub.look()                 # what the fleet does every few seconds
    hub = await hub.killed()         # kill -9: nothing that was under way goes on; the next hub has the database alone

Its users, their spawners and what they are asked for are the hub's and the platform's own code; there are no pages
and no proxy.  All servers are answered for by one listener (see :func:`notebook`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.auth import DummyAuthenticator
from jupyterhub.objects import Hub
from jupyterhub.user import UserDict
from sqlalchemy.orm import Session
from traitlets import Float
from traitlets.config import Config

from nbplatform_spawners.hosts.docker_start import Names
from nbplatform_spawners.identity import Account, Identity
from nbplatform_spawners.rules.model import RuleBook
from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.spawners.docker import DockerFleetSpawner
from nbplatform_spawners.spawners.docker_fleet import HubFleet
from nbplatform_spawners.spawners.ledger import Records, Reservations

HUB_ID = "inner-hub"
LIMIT = 0.3
"""Seconds after which a wire daemon that hangs is given up."""
_NEVER = 3600.0
_SETTLED = 10.0


class InnerSpawner(DockerFleetSpawner):
    """The platform's own spawner, quick to give a host up; its rules come from a value instead of files."""

    call_limit = Float(LIMIT)
    rule_book: RuleBook

    def book(self) -> RuleBook:
        """The rules that the hub was given."""
        return self.rule_book


class Accounts(DummyAuthenticator):
    """Knows everybody."""

    async def lookup_account(self, name: str) -> Account:
        """The account of a user."""
        uid = 20000 + sum(ord(letter) << place for place, letter in enumerate(name))
        return Account(Identity(name, uid, 61000, {"users": 61000}, "users", f"/home/{name}"))


def make_database() -> Session:
    """A hub's database in memory."""
    db: Session = orm.new_session_factory("sqlite:///:memory:")()
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    db.add(orm.OAuthClient(identifier="jupyterhub", secret="", redirect_uri="", allowed_scopes=[]))
    db.commit()
    return db


@asynccontextmanager
async def notebook() -> AsyncIterator[int]:
    """A listener that answers as a notebook server that is ready; yields its port of 127.0.0.1."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 2\r\n")
        writer.write(b"Connection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class InnerHub:
    """One life of a hub.

    Args:
        db: its database; outlives it.
        rules: YAML text of its rules.
        more: further settings, as ``c.CLASS.TRAIT`` would set them: class name to trait to value.

    Attributes:
        spawner_class: with a ledger, a reaper and hosts of this life's own.
    """

    def __init__(self, db: Session, rules: str, more: dict[str, dict[str, Any]] | None = None) -> None:
        self.db = db
        self.more = more or {}
        settings = {
            "DockerFleetSpawner": {
                "hub_id": HUB_ID,
                "refresh_interval": _NEVER,  # ``look`` does it
                "orphan_grace": 0.0,
                "stop_grace": 1,
            },
            "NbplatformSpawner": {"ready_interval": 0.01},
            "Spawner": {"poll_interval": 0, "http_timeout": 5},
        }
        for name, traits in self.more.items():
            settings[name] = {**settings.get(name, {}), **traits}
        self.config = Config(settings)
        fresh: dict[str, Any] = {"fleets": {}, "reservations": Reservations(), "records": Records(), "names": Names()}
        self.spawner_class = type("InnerSpawner", (InnerSpawner,), fresh)
        self.write_rules(rules)
        self.authenticator = Accounts(allow_all=True)
        self.users = UserDict(
            lambda: self.db,
            settings={
                "spawner_class": self.spawner_class,
                "authenticator": self.authenticator,
                "base_url": "/",
                "hub": Hub.from_url("http://127.0.0.1:8081/hub/"),
                "config": self.config,
                "allow_named_servers": True,
                "internal_ssl_ca": None,
            },
        )
        self.checks: asyncio.Future[Any] | None = None
        self._work: set[asyncio.Task[Any]] = set()

    def write_rules(self, rules: str) -> None:
        """Let other rules hold from now on."""
        self.rules = rules
        self.spawner_class.rule_book = parse_rules({"rules.yaml": rules.encode()})

    @property
    def book(self) -> RuleBook:
        """The rules that hold."""
        return self.spawner_class.rule_book

    @property
    def fleet(self) -> HubFleet:
        """Its hosts."""
        return self.spawner_class(config=self.config).fleet

    async def begin(self) -> None:
        """Do what a hub does at its start; servers whose host cannot be asked stay *pending check*."""
        app = SimpleNamespace(db=self.db, config=self.config, users=self.users, authenticator=self.authenticator)
        app.log, app.log_level, app.proxy = logging.getLogger("inner-hub"), logging.WARNING, _NoProxy()
        self.spawner_class.begin(app)
        self.checks = asyncio.ensure_future(JupyterHub.init_spawners(app))
        await self.settle()

    # What users do

    def spawner(self, user: str, server: str = "") -> Any:
        """The spawner of a server."""
        return self._user(user).get_or_create_spawner(server, server)

    def start(self, user: str, server: str, profile: str) -> asyncio.Task[Any]:
        """Begin to start a server as the hub's pages and API do; the task ends when it is there, or raises.

        Raises:
            AssertionError: it is active: the hub itself would refuse.
        """
        assert not self.spawner(user, server).active
        task = self._doing(self._start(user, server, profile))
        self.spawner(user, server)._spawn_pending = True
        return task

    async def _start(self, user: str, server: str, profile: str) -> Any:
        try:
            return await self._user(user).spawn(server, options={"profile": profile})
        finally:
            self.spawner(user, server)._spawn_pending = False

    async def stop(self, user: str, server: str) -> None:
        """Stop a server as the hub does; must never raise."""
        await self._doing(self._user(user).stop(server))

    async def interrupt(self, task: asyncio.Task[Any], user: str, server: str) -> None:
        """DELETE a server while its start is under way."""
        task.cancel()
        await asyncio.wait({task})
        await self.stop(user, server)

    async def poll(self, user: str, server: str) -> int | None:
        """Poll a server; the hub stops one that has ended."""
        status: int | None = await self.spawner(user, server).poll()
        if status is not None:
            await self.stop(user, server)
        return status

    # What time does

    async def look(self, *names: str) -> None:
        """Look at hosts, all by default, as is done every few seconds, and begin what follows from it."""
        fleet = self.fleet
        for name in names or tuple(fleet._hosts):
            if name in fleet:
                await fleet[name].refresh()
                for listener in fleet.listeners if fleet[name].answers else ():
                    await listener(name)

    def be_patient(self) -> None:
        """Give no host up any more that is merely slow, since the machine is busy."""
        for name in self.fleet._hosts:
            self.fleet[name].door._calls.limit = _SETTLED

    def leave_orphans_alone(self, seconds: float) -> None:
        """Let orphans be ended when they have been seen for so long, whatever was configured."""
        reaper = self.fleet._reaper
        assert reaper is not None
        reaper._grace = seconds

    async def settle(self) -> None:
        """Return when nothing is under way but waiting for hosts."""
        async with asyncio.timeout(_SETTLED):
            while busy := [task for task in self._mine() if not self._waits_for_host(task)]:
                await asyncio.wait(busy, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)

    async def killed(self) -> InnerHub:
        """End as by ``kill -9``; return the hub that follows, which has not begun.

        Hosts and database are cut off first, so that what tidies up on its way out changes nothing.
        """
        self.db.rollback()
        commit, self.db.commit = self.db.commit, self.db.rollback  # type: ignore[method-assign]
        self.fleet.close()
        work = self._mine()
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work)
        self.db.rollback()
        self.db.commit = commit  # type: ignore[method-assign]
        self.db.expire_all()
        return InnerHub(self.db, self.rules, self.more)

    # What is known

    def recorded(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Owner to (host, container) of every server that the hub has, as its database says."""
        rows = self.db.query(orm.Spawner).filter(orm.Spawner.server_id.is_not(None))
        states = {(row.user.name, row.name): row.state or {} for row in rows}
        return {owner: (state.get("host", ""), state.get("object_id", "")) for owner, state in states.items()}

    def active(self) -> Iterator[tuple[str, str]]:
        """Yield the owners of all servers that users see as running."""
        for user in list(self.users.values()):
            for name, spawner in list(user.spawners.items()):
                if spawner.ready or spawner.pending == "check":
                    yield user.name, name

    def _user(self, name: str) -> Any:
        if orm.User.find(self.db, name) is None:
            user = orm.User(name=name)
            self.db.add(user)
            roles.assign_default_roles(self.db, entity=user)
            self.db.commit()
        return self.users[name]

    def _doing(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def _mine(self) -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]

    def _waits_for_host(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task goes on only when a host answers, or by itself later."""
        name = getattr(task.get_coro(), "__qualname__", "")
        if name == "Fleet._watch":
            return all(self.fleet[host].asked for host in self.fleet._hosts)
        if "check_spawner" in name:
            return not any(self._may_be_checked(spawner) for spawner in self._checked())
        return "init_spawners" in name and not any(map(self._may_be_checked, self._checked()))

    def _checked(self) -> list[Any]:
        spawners = [spawner for user in self.users.values() for spawner in user.spawners.values()]
        return [spawner for spawner in spawners if spawner._check_pending]

    def _may_be_checked(self, spawner: Any) -> bool:
        host = spawner._record.get("host")
        return not host or host not in self.fleet or self.fleet.answers(host)


class _NoProxy:
    async def delete_user(self, user: Any, server: str) -> None:
        """There is none."""
