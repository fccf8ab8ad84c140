"""Helpers of the tests of faults: a site on a fleet whose every host can be told to fail, and looks at what *is*.

    with need(scene({"wn1": Settings(), "wn2": Settings("modern", gpus=1)}, gated=["wn1"])) as there:
        there.start("ada", "wn1")
        there.gates["wn1"].hold("POST /containers/create")

A profile is called like the host that it runs on; ``gpu-HOST`` asks for a GPU of it, ``any`` for any of them, in the
order of their names.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from docker.errors import NotFound

from tests.components.docker_fleet import DockerFleet, DockerHost, Settings, docker_fleet
from tests.components.hub import Hub, start_server, stop_server
from tests.components.images import TINY, load, tiny_root
from tests.components.session import Answer
from tests.docker.fleet_site import FleetSite, fleet_hub, make_fleet_site
from tests.docker.gate import Gate

T = TypeVar("T")
LABEL = "nbplatform.hub"
SILENT = "nbplatform/silent:test"
"""An image whose server never answers."""
BROKEN = "nbplatform/broken:test"
"""An image whose server ends at once."""
LAST_WORDS = "no config file in /etc/broken"
LIMIT = 60.0
"""Seconds until something that must happen has happened."""
CONFIG = """
c.DockerFleetSpawner.call_limit = 3.0
c.DockerFleetSpawner.refresh_interval = 0.5
c.DockerFleetSpawner.stop_grace = 1
c.DockerFleetSpawner.orphan_grace = 2.0
c.DockerFleetSpawner.http_timeout = 10
"""


def rules(site: FleetSite, hosts: Sequence[str], more: str = "") -> str:
    """Return rules for these hosts.

    Args:
        site: whose.
        hosts: their names.
        more: further profiles, one a line.
    """
    pools = [f"  {name}: {{hosts: [{site.entry(name)}]}}" for name in hosts]
    lines = [profile(name, name) for name in hosts]
    lines += [profile(f"gpu-{name}", name, ", gpus: 1") for name in hosts if site.fleet[name].gpus]
    lines += [profile("any", f"[{', '.join(hosts)}]")]
    lines += [profile(f"silent-{name}", name, image=SILENT) for name in hosts]
    lines += [profile(f"broken-{name}", name, image=BROKEN) for name in hosts]
    return "\n".join(["pools:", *pools, "profiles:", *lines, more, REST])


def profile(name: str, pool: str, more: str = "", image: str = TINY) -> str:
    """Return a profile that everybody may have, as a line of the rules."""
    return f'  {name}: {{title: "{name}", pool: {pool}, image: "{image}", allow: true{more}}}'


REST = """\
defaults:
  memory: 64M
  cpu: 1
  quota: {servers: 2, gpus: 1}
  mounts: [{source: "TOP{home}", target: "{home}"}]
"""


@dataclass(frozen=True)
class Seen:
    """A container as its host tells.

    Attributes:
        id: of it.
        host: where.
        state: Docker's word.
        begun: when it was started, as Docker tells; two that differ are two starts.
        gpus: ids of those granted to it.
    """

    id: str
    host: str
    state: str
    begun: str
    gpus: tuple[str, ...]


class Scene:
    """A hub on a fleet.

    Attributes:
        fleet: its hosts.
        site: accounts, homes and rules.
        hub: the hub.
        gates: what stands before the daemons of some hosts, by their names.
    """

    def __init__(self, site: FleetSite, hub: Hub, gates: Mapping[str, Gate]) -> None:
        self.fleet: DockerFleet = site.fleet
        self.site = site
        self.hub = hub
        self.gates = gates

    # What users do

    def start(self, user: str, profile: str, name: str = "") -> Seen:
        """Start a server, wait until it is ready, and return its container."""
        last = self.try_start(user, profile, name)
        assert last.get("ready"), last
        return self.container(user, name)

    def try_start(self, user: str, profile: str, name: str = "") -> dict[str, Any]:
        """Start a server and return the last that is told of it."""
        return start_server(self.hub, user, {"profile": profile}, name)[-1]

    def begin(self, user: str, profile: str, name: str = "") -> None:
        """Begin a start, and wait for nothing: the hub may be killed meanwhile."""
        self._aside("POST", path(user, name), {"profile": profile})

    def begin_stop(self, user: str, name: str = "") -> None:
        """Begin a stop, and wait for nothing."""
        self._aside("DELETE", path(user, name))

    def _aside(self, method: str, path: str, json: Any = None) -> None:
        def job() -> None:
            with suppress(requests.RequestException):
                self.hub.api(method, path, json=json)

        threading.Thread(target=job, daemon=True).start()

    def delete(self, user: str, name: str = "") -> Answer:
        """Ask for the end of a server."""
        return self.hub.api("DELETE", path(user, name))

    def answers(self, user: str) -> bool:
        """Tell whether a user's default server is reached through the proxy."""
        with requests.Session() as plain:
            plain.trust_env = False
            answer = plain.get(f"{self.hub.url}/user/{user}/api", timeout=10, allow_redirects=False)
            return answer.status_code == 404 and "<H1>404 Not Found</H1>" in answer.text  # busybox's own words

    # What is

    def model(self, user: str, name: str = "") -> dict[str, Any]:
        """Return what the hub tells of a server; empty when there is none."""
        found: dict[str, Any] = self.hub.api("GET", f"users/{user}").json["servers"].get(name) or {}
        return found

    def ready(self, user: str, name: str = "") -> bool:
        """Tell whether the hub calls a server ready."""
        return bool(self.model(user, name).get("ready"))

    def routes(self) -> dict[str, str]:
        """Return the users' routes of the proxy: path to target."""
        found = self.hub.api("GET", "proxy").json
        return {path: route["target"] for path, route in found.items() if path.startswith("/user/")}

    def notes(self, user: str, name: str = "") -> list[dict[str, Any]]:
        """Return what the hub's database keeps of a server's containers that must end."""
        query = "select s.state from spawners s join users u on u.id = s.user_id where u.name = ? and s.name = ?"
        with closing(sqlite3.connect(f"file:{self.hub.db_path}?mode=ro", uri=True)) as db:
            row = db.execute(query, (user, name)).fetchone()
        state = json.loads(row[0]) if row and row[0] else {}
        return list(state.get("leaving") or ())

    def tokens(self, user: str) -> list[str]:
        """Return the notes of the tokens that a user's servers have."""
        found = self.hub.api("GET", f"users/{user}/tokens").json["api_tokens"]
        return [token["note"] for token in found if token["note"].startswith("Server at ")]

    def containers(self, *hosts: str) -> list[Seen]:
        """Return the hub's containers on some hosts, or on all, whatever their state."""
        return [seen for name in hosts or self.fleet for seen in seen_on(self.fleet[name], self.site.hub_id)]

    def container(self, user: str, name: str = "") -> Seen:
        """Return the container that the hub has recorded for a server."""
        state = self.model(user, name)["state"]
        return next(one for one in self.containers(state["host"]) if one.id == state["object_id"])

    # Between tests

    def clean(self) -> None:
        """End all servers, and wait until no host has a container of ours."""
        for gate in self.gates.values():
            gate.release()
        for user in ("ada", "ben", "eve"):
            for name, model in self.hub.api("GET", f"users/{user}").json["servers"].items():
                if not model["stopped"]:
                    until(f"{user}'s server {name!r} can be stopped", lambda u=user, n=name: self._stopped(u, n))
        until("no container is left", lambda: not self.containers())

    def _stopped(self, user: str, name: str) -> bool:
        if self.model(user, name).get("pending") not in (None, "stop"):
            return False
        stop_server(self.hub, user, name)
        return True


def seen_on(host: DockerHost, hub_id: str) -> list[Seen]:
    """Return a hub's containers on one host."""
    with closing(host.client(timeout=20)) as client:
        listed = client.containers(all=True, filters={"label": [f"{LABEL}={hub_id}"]})
        found = []
        for one in listed:
            with suppress(NotFound):  # it went between the list and the look
                found.append(seen(host.name, client.inspect_container(one["Id"])))
        return found


def seen(host: str, told: Mapping[str, Any]) -> Seen:
    """Return a container from what ``docker inspect`` tells."""
    gpus = json.loads(told["Config"]["Labels"].get("nbplatform.gpus") or "[]")
    return Seen(told["Id"], host, told["State"]["Status"], told["State"]["StartedAt"], tuple(gpus))


@contextmanager
def trouble(host: DockerHost, fault: str) -> Iterator[None]:
    """A fault of a host, from the block's begin to its end: one of :data:`FAULTS`."""
    begin, end = FAULTS[fault]
    begin(host)
    try:
        yield
    finally:
        end(host)


FAULTS: dict[str, tuple[Callable[[DockerHost], None], Callable[[DockerHost], None]]] = {
    "unplugged": (DockerHost.cut, DockerHost.mend),
    "stopped": (DockerHost.stop, DockerHost.start),
    "killed": (DockerHost.kill9, DockerHost.start),
    "hanging": (DockerHost.freeze, DockerHost.thaw),
}


def path(user: str, name: str) -> str:
    """Return a server's path in the hub's API."""
    return f"users/{user}/servers/{name}" if name else f"users/{user}/server"


def until(what: str, look: Callable[[], T], limit: float = LIMIT) -> T:
    """Look again and again until what is seen is true, and return it.

    Raises:
        TimeoutError: it is not, within the limit; ``what`` says what was waited for.
    """
    end = time.monotonic() + limit
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit:g} s in vain: {what}")
        time.sleep(0.1)
    return found


def matches(pattern: str, text: str) -> list[str]:
    """Return the lines of a text in which a pattern is found."""
    return [line for line in text.splitlines() if re.search(pattern, line)]


def import_image(host: DockerHost, image: str, script: str) -> None:
    """Put an image on a host that runs a script of its own whatever it is told to run."""
    repository, _, tag = image.rpartition(":")
    with closing(host.client()) as client:
        changes = [f"ENTRYPOINT {json.dumps(['sh', '-c', script])}", 'CMD ["nbplatform-singleuser"]', "EXPOSE 8888"]
        client.import_image_from_data(tiny_root(), repository=repository, tag=tag, changes=changes)


@contextmanager
def scene(
    hosts: Mapping[str, Settings], gated: Sequence[str] = (), more: Callable[[DockerFleet], str] | str = ""
) -> Iterator[Scene]:
    """A fleet with the images, a site and a hub.

    Args:
        hosts: what each is like, by its name.
        gated: those whose daemons the hub reaches through a :class:`Gate`.
        more: added to the hub's configuration, or makes that when the fleet is up.
    """
    with ExitStack() as stack:
        fleet = stack.enter_context(docker_fleet(hosts))
        for host in fleet.values():
            load(host, "tiny")
        gates = {name: stack.enter_context(closing(Gate(fleet[name]))) for name in gated}
        site = make_fleet_site(fleet, {}, urls={name: gate.url for name, gate in gates.items()})
        site.site.write_rules(rules(site, list(hosts)))
        hub = stack.enter_context(fleet_hub(site, CONFIG + (more(fleet) if callable(more) else more)))
        yield Scene(site, hub, gates)
