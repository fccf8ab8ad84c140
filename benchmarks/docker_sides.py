"""Two real hubs on the same real Docker hosts: ours, and one with a stock DockerSpawner to compare with.

Ours is a site as people run it: accounts from a file, rules, ``nbplatform-docker``.  The peer is dockerspawner's own
``DockerSpawner``, which knows one host: it gets the first of ours.  All hosts share this machine's processors, so one
has the computing power of all.  Both reach the daemons over TLS, through the same proxies where calls are to take
longer; servers of both run as the same users with the same home, from the same image, and end the same way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.components import MissingComponent
from tests.components.delay import PORT, delayed
from tests.components.docker_fleet import DockerFleet, Settings, docker_fleet
from tests.components.hub import Hub, running_hub
from tests.components.images import BASE, TINY, load_all
from tests.docker.fleet_site import FleetSite, make_fleet_site

from .hub_sides import Side
from .runner import CannotRun

DELAY = 0.1  # seconds that each call to a daemon takes longer
FIRST_UID = 62200
GID = 61000
STOP_LIMIT = 120.0  # seconds until all servers of a side must have ended
RULES = """\
pools:
  cpu: {hosts: [CPU_HOSTS]}
profiles:
PROFILES
defaults:
  memory: 64M
  cpu: 2
  mounts: [{source: "TOP{home}", target: "{home}"}]
"""
PROFILE = '  {name}: {{title: "{name}", pool: cpu, hosts: [{hosts}], image: "{image}", memory: {memory}, allow: true}}'
MEMORY = {BASE: "512M"}
LOADED = {TINY: "tiny", BASE: "base"}
"""Images that are put on the hosts before anything is measured; any other one is fetched when it is asked for."""

# The settings of the site are meant for tests; these are the product's defaults.
OURS = """
c.DockerFleetSpawner.refresh_interval = 5.0
c.DockerFleetSpawner.call_limit = 10.0
c.DockerFleetSpawner.stop_grace = 10
c.DockerFleetSpawner.orphan_grace = 300.0
"""
PEER = """\
import os
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
    os.environ.pop(name, None)  # they would come before what is set here
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.DockerSpawner.client_kwargs = {"base_url": "ENDPOINT"}
c.DockerSpawner.tls_config = {
    "ca_cert": "CERTIFICATES/ca.pem", "client_cert": ("CERTIFICATES/cert.pem", "CERTIFICATES/key.pem"), "verify": True
}
c.DockerSpawner.host_ip = "HOST_IP"
c.DockerSpawner.prefix = "stock"
c.DockerSpawner.allowed_images = ALLOWED
c.DockerSpawner.cmd = ["jupyterhub-singleuser"]
c.DockerSpawner.remove = True
c.DockerSpawner.volumes = {"TOP/home/{username}": "/home/{username}"}
c.DockerSpawner.extra_create_kwargs = lambda spawner: {
    "user": f"{FIRST_UID + int(spawner.user.name[1:])}:GID", "working_dir": f"/home/{spawner.user.name}"
}
c.Spawner.environment = {"HOME": lambda spawner: f"/home/{spawner.user.name}"}
"""
BOTH = """
c.JupyterHub.api_page_max_limit = 1000
c.Spawner.disable_user_config = True
c.Spawner.start_timeout = 600
"""


@dataclass(frozen=True)
class DockerSide(Side):
    """One of the two hubs; its servers are in containers.

    Attributes:
        options: what a user sends to get something, by its name.
    """

    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def start_all(self, users: Sequence[str], what: str, at_once: int = 0) -> float:
        """Start the servers of many users, and return the seconds from the first request until all are ready.

        Args:
            users: whose.
            what: the name of what they ask for.
            at_once: how many requests are under way at a time; all of them when 0.

        Raises:
            CannotRun: one does not start.
        """
        begin = time.perf_counter()
        with ThreadPoolExecutor(at_once or len(users)) as pool:
            for future in [pool.submit(self.start, user, self.options[what]) for user in users]:
                future.result()
        return time.perf_counter() - begin

    def stop_all(self) -> None:
        """Stop all servers of this hub and wait until they have ended.

        Raises:
            CannotRun: one does not end.
        """
        for user in self.servers():
            self.hub.api("DELETE", f"users/{user}/server")
        limit = time.monotonic() + STOP_LIMIT
        while left := self.servers():
            if time.monotonic() > limit:
                raise CannotRun(f"{len(left)} servers do not end ({self.name})")
            time.sleep(0.2)

    def servers(self) -> dict[str, bool]:
        """Return who has a server, and whether the hub calls it ready."""
        listed = self.hub.api("GET", "users?limit=1000").json
        return {user["name"]: user["servers"][""]["ready"] for user in listed if user["servers"]}


class Fleet:
    """What both sides run on; made by :func:`fleet_of`.

    Args:
        hosts: the Docker hosts.
        site: accounts, homes and rules.
        users: whom both hubs know.
        proxies: closed by whoever made it.

    Attributes:
        images: what can be asked for, by the name that each side's users know it by.
    """

    def __init__(self, hosts: DockerFleet, site: FleetSite, users: tuple[str, ...], proxies: ExitStack) -> None:
        self.hosts = hosts
        self.site = site
        self.users = users
        self.images: dict[str, str] = {}
        self._proxies = proxies
        self._profiles: list[str] = []

    @property
    def first(self) -> str:
        """The name of the host that the peer has."""
        return next(iter(self.hosts))

    def offer(self, name: str, image: str, *hosts: str) -> None:
        """Let users of both sides ask for an image; the hosts get it at once, unless it is to come from a registry.

        Args:
            name: by which they know it.
            image: the image.
            hosts: where our rules place its servers; on all hosts when none is named.

        Raises:
            CannotRun: it cannot be made here.
        """
        places = hosts or tuple(self.hosts)
        if image in LOADED:
            try:
                load_all((self.hosts[host] for host in {self.first, *places}), LOADED[image])
            except MissingComponent as lacking:
                raise CannotRun(str(lacking)) from None
        self.images[name] = image
        line = PROFILE.format(name=name, image=image, hosts=", ".join(places), memory=MEMORY.get(image, "64M"))
        self._profiles.append(line)
        self.site.write_rules(RULES, PROFILES="\n".join(self._profiles))

    def delay(self, seconds: float) -> None:
        """Let each call to a daemon take longer from now on, on both sides; to be called while no hub runs."""
        self._proxies.close()
        for host in self.hosts.values():
            self._proxies.enter_context(delayed(host, seconds))

    @contextmanager
    def ours(self) -> Iterator[DockerSide]:
        """Our hub."""
        with self._hub(self.site.config + OURS + BOTH) as hub:
            yield DockerSide("ours", hub, {name: {"profile": name} for name in self.images})

    @contextmanager
    def peer(self) -> Iterator[DockerSide]:
        """The stock hub."""
        host = self.hosts[self.first]
        words = {
            "FIRST_UID": FIRST_UID,
            "GID": GID,
            "ENDPOINT": self.site.urls.get(self.first, host.url),
            "HOST_IP": host.ip,
            "CERTIFICATES": self.hosts.certificates,
            "TOP": self.site.top,
            "ALLOWED": list(self.images.values()),
        }
        text = PEER
        for word, value in words.items():
            text = text.replace(word, str(value))
        with self._hub(text + BOTH) as hub:
            yield DockerSide("peer", hub, {name: {"image": image} for name, image in self.images.items()})

    @contextmanager
    def _hub(self, config: str) -> Iterator[Hub]:
        with running_hub(config, hub_ip=self.hosts.hub_ip) as hub:
            hub.api("POST", "users", json={"usernames": list(self.users)})
            yield hub


@contextmanager
def fleet_of(hosts: int, *, users: int = 1, delay: float | None = None) -> Iterator[Fleet]:
    """Docker hosts, and a site on them that offers nothing yet.

    Args:
        hosts: how many.
        users: how many the hubs know.
        delay: seconds that each call to a daemon takes longer, on both sides; without a proxy when None.

    Raises:
        CannotRun: the machine lacks a component.
    """
    with ExitStack() as stack:
        try:
            fleet = stack.enter_context(docker_fleet({f"wn{number + 1}": Settings() for number in range(hosts)}))
        except MissingComponent as lacking:
            raise CannotRun(str(lacking)) from None
        urls = {} if delay is None else {name: f"tcp://{host.ip}:{PORT}" for name, host in fleet.items()}
        site = make_fleet_site(fleet, {"cpu": tuple(fleet)}, hub_id="bench", urls=urls)
        names = tuple(f"u{number:03}" for number in range(users))
        write_accounts(site.top, names)
        found = Fleet(fleet, site, names, stack.enter_context(ExitStack()))
        if delay is not None:
            found.delay(delay)
        yield found


def write_accounts(top: Path, names: Sequence[str]) -> None:
    """Write the accounts of a site, and make their homes."""
    lines = [f"groups: {{users: {GID}}}", "accounts:"]
    for number, name in enumerate(names):
        uid = FIRST_UID + number
        lines.append(f"  {name}: {{uid: {uid}, group: users}}")
        home = top / "home" / name
        home.mkdir(mode=0o700)
        os.chown(home, uid, GID)
    (top / "accounts.yaml").write_text("\n".join(lines) + "\n")
