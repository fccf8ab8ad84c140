"""The part of a spawner that is the same for every backend: from a request to an admitted plan, and back."""

from __future__ import annotations

import json
import secrets
from abc import abstractmethod
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub.spawner import Spawner
from jupyterhub.utils import maybe_future

from ..errors import BadFile, Refusal
from ..hosts.admit import Demand, Holding, LivePool, Placement, admit
from ..identity import Identity
from ..names import bounded
from ..plan import STATE_KEYS, STATE_VERSION, SpawnPlan, make_plan
from ..rules.decision import Decision
from ..rules.engine import decide
from ..rules.model import RuleBook
from ..rules.store import RuleStore
from ..server_env import HUB_ID_ENV, RUN_ENV
from ..speedups import SPEEDUPS_ENV
from .asking import find_identity
from .audit import audited
from .errors import HostFailed, ServerFailedError, refuse
from .ledger import Records, Reservations, demand_of, with_idle
from .metrics import observe_rules
from .options import requested_profile
from .progress import Progress
from .settings import PlatformSettings
from .telling import Telling
from .tokens import revoke_tokens

MAX_STATE = 4096
"""Bytes that a server's state may have in the hub's database: it is served with every model."""
MOST_HOSTS = 3
"""Hosts that one start tries at most."""


class NbplatformSpawner(Telling, PlatformSettings, Spawner):  # type: ignore[misc]
    """Base of the platform's spawners.

    Overridable, in the order in which they are called by :meth:`start`:

    - :meth:`live_pools`: what the backend has now; called by :meth:`prepare`.
    - :meth:`apply_plan`: start the server and return its URL; called by :meth:`start`.

    ``stop``, ``poll`` and the state are the backend's own; it calls ``super()`` in ``get_state``, ``load_state``
    and ``clear_state``.
    """

    ignored_fields: frozenset[str] = frozenset()
    """Fields of the rules that mean nothing to this backend, and so are not shown on its spawn page."""

    reservations = Reservations()
    """Shared by all spawners of this hub: what is admitted but not yet recorded."""

    records = Records()
    """Shared by all spawners of this hub: what its running servers hold."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan: SpawnPlan | None = None
        self._record: dict[str, Any] = {}
        self._steps = Progress()
        self.failed_hosts: dict[str, HostFailed] = {}

    @property
    def rules(self) -> RuleStore:
        """The store that watches :attr:`rules_directory`; one for each directory in this process."""
        store = RuleStore.shared(Path(self.rules_directory), log=self.log)
        observe_rules(store)
        return store

    @classmethod
    def check_configuration(cls, config: Any) -> None:
        """Check what can be checked before any user is there.

        Called by ``IdentityMixin`` at hub start, so that a bad rule file stops the start.

        Raises:
            BadFile: with every mistake in the rules.
        """
        _ = cls(config=config).rules

    @classmethod
    def begin(cls, app: Any) -> None:
        """Begin what a backend does beside its servers.  Called by ``IdentityMixin`` at hub start, after the check.

        Args:
            app: the hub's application, with its database open and its event loop running.
        """

    # From a request to a plan

    async def start(self) -> str:
        """Decide, admit, start.  Called by the hub; returns the server's URL.

        Raises:
            SpawnRefused: with the label and the sentence that the user sees.
        """
        self.failed_hosts = {}
        try:
            return await self._start_somewhere()
        except Refusal as refusal:
            self._let_go()
            raise refuse(self, refusal) from None
        except BaseException as error:  # a DELETE during the start raises CancelledError
            self._let_go()
            if isinstance(error, ServerFailedError):
                error.support = self.support
            raise
        finally:
            self.failed_hosts = {}

    async def _start_somewhere(self) -> str:
        """Start where admission says; a host that fails before the server runs is left out and admission asked again.

        Raises:
            Exception: what the last host's failure means to the user, when there is no other host.
        """
        while True:
            try:
                plan = await self.prepare()
            except Refusal:
                if self.failed_hosts:
                    raise list(self.failed_hosts.values())[-1].cause from None
                raise
            self.log.info(
                "spawn user=%s server=%s profile=%s host=%s gpus=%s generation=%s because=%s",
                *(self.user.name, bounded(self.name), plan.profile, plan.placement.host),
                *(",".join(plan.placement.gpus) or "none", plan.generation[:12], plan.reasons.get("allow", "")),
            )
            try:
                return audited(self, plan, await self.apply_plan(plan))
            except HostFailed as failed:
                self._let_go()
                self.failed_hosts = {**self.failed_hosts, plan.placement.host: failed}
                self.log.warning("%s is not started on %s: %s", self._log_name, plan.placement.host, failed)
                if len(self.failed_hosts) >= MOST_HOSTS:
                    raise failed.cause from None

    async def prepare(self) -> SpawnPlan:
        """Return this start's plan, made once.

        Raises:
            Refusal: the rules, the quota or what is live refuses it.
        """
        if self._plan is None:
            self._plan = await self._prepare()
        return self._plan

    async def _prepare(self) -> SpawnPlan:
        self._steps.say(5, "Deciding what you may have")
        identity = self._identity = await self.find_identity()
        book = self.book()
        profile = requested_profile(self.user_options, book.profiles)
        decision = decide(book, identity, profile=profile, now=datetime.now(UTC))
        for entry in decision.unfilled:
            self.log.warning("user=%s left out %s: a placeholder has no value", self.user.name, entry)
        if decision.refusal is not None:
            raise decision.refusal
        self._steps.say(15, f"Looking for a place for {book.profiles[decision.profile or ''].title}")
        pools = await self.live_pools(decision)
        # No await from here to the reservation: two starts must not be given the same GPU.
        now = datetime.now(UTC)
        demand = demand_of(decision, self.name)
        placement = self._admit(demand, pools, now)
        self.reservations.hold(
            Holding(demand.user, demand.server, placement.host, placement.gpus, demand.memory, gpu_count=demand.gpus)
        )
        plan = make_plan(
            decision,
            identity,
            placement,
            server=self.name,
            command=(*self.cmd, *self.get_args()),
            env=self._platform_env(decision),
        )
        self._record = plan.to_state(now)
        return plan

    def _platform_env(self, decision: Decision) -> dict[str, str]:
        """Return the hub's variables, the limits (which JupyterLab shows), the speed-ups, and who the server is."""
        limits = {"MEM_LIMIT": decision.value("memory"), "CPU_LIMIT": decision.value("cpu")}
        env = {key: str(value) for key, value in self.get_env().items() if value is not None}
        env |= {key: str(value) for key, value in limits.items() if value is not None}
        env |= {SPEEDUPS_ENV: " ".join(self.speedups), RUN_ENV: secrets.token_hex(8)}
        return env | ({HUB_ID_ENV: self.hub_id} if self.hub_id else {})

    def _admit(self, demand: Demand, pools: tuple[LivePool, ...], now: datetime) -> Placement:
        held = self.holdings()
        try:
            return admit(demand, pools, held)
        except Refusal:  # who is refused is told since when others are idle, too: that is in the database
            return admit(demand, pools, with_idle(held, self.user.db, now))

    def holdings(self) -> tuple[Holding, ...]:
        """Return what every server of the platform holds, pending ones included.

        Called by :meth:`prepare`, and by the spawn page.  A backend that knows of more than the hub's records calls
        ``super()`` and adds to it.
        """
        return self.records.together(self.reservations)

    def book(self) -> RuleBook:
        """Return the rules that hold now.

        Raises:
            Refusal: ``rules``: there never were good ones.
        """
        try:
            return self.rules.book
        except BadFile as error:
            self.log.error("no rules: %s", error)
            raise Refusal("rules", "the rules of this site cannot be read") from None

    async def find_identity(self) -> Identity:
        """Return who this server runs as: the owner, whoever starts it.

        Raises:
            Refusal: ``account``: nothing is stored and nobody may be asked, or what is stored is someone else's.
        """
        return await find_identity(self)

    @abstractmethod
    async def live_pools(self, decision: Decision) -> tuple[LivePool, ...]:
        """Return the decided pools as they are now, in order of preference, narrowed to the decided hosts.

        Called by :meth:`prepare`, before admission, and by the spawn page.  A host named in ``failed_hosts`` takes
        nothing more in this start.  Do not call ``super()``.

        Raises:
            Refusal: the backend can never serve this.
        """

    @abstractmethod
    async def apply_plan(self, plan: SpawnPlan) -> str:
        """Start the server and wait until it answers; return its URL.

        Called by :meth:`start`.  Calls :meth:`commit_state` as soon as the server exists.  Cleans up after itself
        when it raises.  Do not call ``super()``.

        Raises:
            HostFailed: the chosen host cannot do it; another one may.
        """

    @abstractmethod
    async def stop(self, now: bool = False) -> None:
        """End the server; never raises.  Called by the hub.  Do not call ``super()``."""

    @abstractmethod
    async def poll(self) -> int | None:
        """Return None while the server runs or nobody can tell, else its exit status; never raises."""

    def commit_state(self) -> None:
        """Write the state to the hub's database now: the hub itself does so only after ``start`` returns."""
        self.orm_spawner.state = self.get_state()
        self.user.db.commit()
        self.records.note(self.user.name, self.name, self._record)
        self.reservations.release(self.user.name, self.name)

    def _let_go(self) -> None:
        self.reservations.release(self.user.name, self.name)
        self._plan = None
        self._record = {}

    # State

    def get_state(self) -> dict[str, Any]:
        """Return what the hub keeps of a running server; without a secret, at most ``MAX_STATE`` bytes."""
        state: dict[str, Any] = {**super().get_state(), **self._record}
        if len(json.dumps(state)) > MAX_STATE and "identity" in state:
            cut: dict[str, Any] = {"groups": {}, "unnamed_gids": [], "primary_group": None, "cut": True}
            state["identity"] = {**state["identity"], **cut}
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` gave; a state of another version is left alone."""
        super().load_state(state)
        if state.get("version") == STATE_VERSION:
            self._record = {key: state[key] for key in STATE_KEYS if key in state}
            if self.orm_spawner is not None and self.orm_spawner.server_id is not None:
                self.records.note(self.user.name, self.name, self._record)

    def clear_state(self) -> None:
        """Forget the server.  Called by the hub before each start and after each stop."""
        super().clear_state()
        self._let_go()
        self.records.forget(self.user.name, self.name)
        self._steps.clear()

    async def run_post_stop_hook(self) -> None:
        """Revoke the server's tokens.  Called by the hub after each stop, also of a server that ended by itself."""
        if not self.will_resume:
            revoke_tokens(self)
        await maybe_future(super().run_post_stop_hook())
