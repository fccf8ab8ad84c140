"""``nbplatform-docker``: servers in containers on many Docker hosts, each as its user."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import dockerspawner

from ..errors import Refusal
from ..hosts.admit import Holding, LiveHost, LivePool, narrowed
from ..hosts.containers import ENDED
from ..hosts.docker_errors import ContainerGone, HostError, HostUnreachable
from ..hosts.leases import Lease, unknown_holdings
from ..plan import SpawnPlan
from ..rules.decision import Decision
from ..rules.model import Pool
from .base import NbplatformSpawner
from .docker_certificates import DockerCertificates
from .docker_fleet import HubFleet
from .docker_reaper import LEAVING, hand_on
from .docker_settings import DockerSettings
from .docker_site import DockerSite
from .docker_start import DockerStart
from .errors import HostFailed, ServerFailedError

PATIENCE = 3.0
"""Seconds that a start waits for hosts that nobody has asked yet."""
_STATE = "docker"
"""Key of the state: where the container is: ``url`` and ``daemon`` of its host, ``ip`` and ``port`` of its server."""
_NOWHERE = 1
"""Port in the address of a server that has none: the hub takes 0 for 80, where somebody else may answer."""


class DockerFleetSpawner(
    DockerStart,
    DockerSite,
    DockerCertificates,
    DockerSettings,
    NbplatformSpawner,
    dockerspawner.DockerSpawner,  # type: ignore[misc]
):
    """Starts servers in containers on the Docker hosts that the rules name, each with its account's uid and groups.

    Built on dockerspawner: its settings hold underneath, what the plan sets cannot be loosened by them.
    """

    fleets: ClassVar[dict[str, HubFleet]] = {}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._where: dict[str, Any] = {}
        self._lease: Lease | None = None
        self._creation: asyncio.Future[str] | None = None
        self._looked = 0.0

    @property
    def fleet(self) -> HubFleet:
        """The hosts of this hub; one for all spawners of this process."""
        if self.hub_id not in self.fleets:
            HubFleet.check(self)
            self.fleets[self.hub_id] = HubFleet(self)
        return self.fleets[self.hub_id]

    @classmethod
    def check_configuration(cls, config: Any) -> None:
        """Check the rules, the hub's id, the network and the certificates of all hosts (see the base class).

        Raises:
            BadFile: mistakes in the rules.
            ValueError: a setting that cannot work, with what to do.
        """
        super().check_configuration(config)
        spawner = cls(config=config)
        spawner.check_network()
        spawner.warn_of_settings()
        HubFleet.check(spawner)

    @classmethod
    def begin(cls, app: Any) -> None:
        """Look after the hosts from the hub's start on.  Called by ``IdentityMixin`` in the hub's event loop.

        Args:
            app: the hub's application.
        """
        cls(config=app.config).fleet.begin(app.db, cls.reservations)

    def _platform_env(self, decision: Decision) -> dict[str, str]:
        self.image = decision.value("image") or ""  # dockerspawner names it in the environment
        return super()._platform_env(decision)

    # What is live

    async def _prepare(self) -> SpawnPlan:
        # What a hub that was killed in the middle of a start left must not stand in the way of the next one.
        await self.fleet.make_room((self.user.name, self.name))
        return await super()._prepare()

    async def live_pools(self, decision: Decision) -> tuple[LivePool, ...]:
        """Return the decided pools with what their hosts told last; waits only for hosts that were never asked."""
        book = self.book()
        self.fleet.begin(self.user.db, self.reservations)
        self.fleet.know_rules(book)
        named = [book.pools[name] for name in decision.value("pool", ())]
        for pool in named:
            if not pool.hosts:
                raise Refusal("unplaceable", f"the pool {pool.name} names no Docker host")
        await self.fleet.asked((host.name for pool in named for host in pool.hosts), PATIENCE)
        return narrowed((self._live(pool) for pool in named), decision.value("hosts"))

    def _live(self, pool: Pool) -> LivePool:
        hosts = (
            LiveHost(
                host.name,
                int(host.memory * pool.overcommit),
                gpus=host.gpus,
                gpu_model=host.gpu_model,
                memory_per_gpu=host.memory_per_gpu,
                answers=self.fleet.answers(host.name) and host.name not in self.failed_hosts,
                drain=host.drain,
            )
            for host in pool.hosts
        )
        return LivePool(pool.name, tuple(hosts), pool.strategy)

    def holdings(self) -> tuple[Holding, ...]:
        """Return what the hub's servers hold, and what containers hold that the hub does not know any more."""
        fleet = self.fleet
        unknown = unknown_holdings(fleet.counted_containers(), fleet.counted_leases(), fleet.known(), self.reservations)
        return (*super().holdings(), *unknown)

    # Start

    async def apply_plan(self, plan: SpawnPlan) -> str:
        """Create the container, record it, start it, wait until its server answers; return its URL.

        Raises:
            HostFailed: the host cannot do it.
            ServerFailedError: the server ended before it answered, or never did.
        """
        host = self.fleet[plan.placement.host].door
        try:
            await self._create(host, plan)
            await self._start(host, plan)
            await self._wait_until_ready(host)
        except HostUnreachable as error:
            await self._abandon()
            raise HostFailed(Refusal("unreachable", str(error))) from error
        except (HostError, Refusal) as error:
            await self._abandon()
            cause = error if isinstance(error, Refusal) else ServerFailedError(str(error))
            raise HostFailed(cause) from error
        except asyncio.CancelledError:  # a DELETE during the start, the hub's time limit
            await self._abandon(cancelled=True)
            raise
        except BaseException:  # a server that ended, or never answered
            await self._abandon()
            raise
        return self._url

    # Life

    async def poll(self) -> int | None:
        """Return None while the server runs, is being started or its host cannot be asked; else its exit status."""
        host = self._host
        if not self.object_id or host is None:
            return None if self._start_pending else 0
        await self.fleet.asked([host.door.name], PATIENCE)
        seen = host.containers.get(self.object_id)
        if not host.answers or not host.is_still(self._where.get("daemon", "")):
            return None
        if seen is not None and not self._over(seen.state):
            return None
        try:
            found = await host.door.inspect(self.object_id)
        except ContainerGone:
            return 1
        except HostError:
            return None
        return found.exit_code if self._over(found.state) else None

    def _over(self, state: str) -> bool:
        """Tell whether a container never runs (again); one that a hub made and was then killed never begins to."""
        return state in ENDED or (state == "created" and not self._start_pending)

    @property
    def _host(self) -> Any:
        """The watched host of the recorded container; None when there is none."""
        name, url = self._record.get("host"), self._where.get("url")
        if not name or not url:
            return None
        self.fleet.begin(self.user.db, self.reservations)
        self.fleet.know({name: url}, anew=False)
        return self.fleet[name]

    async def get_url(self) -> str:
        """Return where the server listens; waits until its host answers, so that its server stays *pending check*.

        The hub would else stop a server whose host is down while the hub starts.
        """
        if (name := self._host and self._host.door.name) is not None:
            await self.fleet.until_answers(name, self._where.get("daemon", ""))
            host = self.fleet[name]
            seen = host.containers.get(self.object_id)
            if seen is not None and seen.port and not self.use_internal_ip:
                self._where["port"] = seen.port
            elif not self._where.get("port"):  # an earlier hub was killed before it could note it
                with suppress(HostError):
                    self.note_address(await host.door.inspect(self.object_id))
        return f"{self._url}{self.server.base_url}"  # as the hub writes it; it warns of one that differs

    @property
    def _url(self) -> str:
        ip = self._where.get("ip", "")
        shown = f"[{ip}]" if ":" in ip else ip
        return f"{'https' if self.internal_ssl else 'http'}://{shown}:{self._where.get('port') or _NOWHERE}"

    async def stop(self, now: bool = False) -> None:
        """Stop and remove the container; never raises.

        Where the host cannot do it, the container is noted as to be stopped and holds what it held until the host
        says that it is gone.
        """
        await self._end(0 if now else self.stop_grace)

    async def _end(self, grace: int) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._looked = 0.0
            await self.fleet.end(lease, grace)
        self.object_id = ""

    async def run_post_stop_hook(self) -> None:
        """Remove a container whose server ended by itself: the hub then calls no ``stop``.  Called by the hub."""
        await self._end(0)
        await super().run_post_stop_hook()

    @property
    def will_resume(self) -> bool:
        """Never: each start makes a new container, with a token of its own."""
        return False

    # State

    def get_state(self) -> dict[str, Any]:
        """Return the base's state with where the container is, and what of this server has still to be stopped."""
        state = super().get_state()
        if self.object_id and self._where:
            state[_STATE] = dict(self._where)
        servers = self.user.orm_user.orm_spawners
        if self.hub_id in self.fleets and (notes := self.fleet.notes_of((self.user.name, self.name), servers)):
            state[LEAVING] = notes
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` gave."""
        super().load_state(state)
        for note in state.get(LEAVING) or ():
            self.fleet.take_over(note)
        where, host = state.get(_STATE), self._record.get("host")
        if self.object_id and isinstance(where, Mapping) and host:
            self._where = dict(where)
            gpus, memory = tuple(self._record.get("gpus") or ()), self._record.get("memory") or 0
            url, name = str(where.get("url")), str(self.object_name)
            daemon = str(where.get("daemon") or "")
            self._lease = Lease(host, url, self.object_id, name, self.user.name, self.name, gpus, memory, daemon)
            self.fleet.recorded[self.user.name, self.name] = self.object_id

    def delete_forever(self) -> None:
        """Keep what has still to be stopped of a server that is removed.  Called by the hub, after the stop."""
        hand_on(self.orm_spawner)
        self.user.db.commit()

    def commit_state(self) -> None:
        """Record the container with the base's state."""
        self.fleet.recorded[self.user.name, self.name] = self.object_id
        super().commit_state()

    def clear_state(self) -> None:
        """Forget the server."""
        super().clear_state()
        self.object_id, self._where, self._lease = "", {}, None
        if self.hub_id in self.fleets:
            self.fleet.recorded.pop((self.user.name, self.name), None)
