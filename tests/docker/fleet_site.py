"""A site on real Docker hosts for hub tests: accounts, rules and homes in the fleet's own folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.components.docker_fleet import DockerFleet
from tests.components.hub import Hub, running_hub
from tests.components.images import TINY
from tests.hub.site import GROUPS, Site, make_site

RULES = """\
pools:
  cpu: {hosts: [CPU_HOSTS]}
  gpu: {hosts: [GPU_HOSTS]}
profiles:
  cpu: {title: "CPU", pool: cpu, image: "IMAGE", allow: true}
  gpu: {title: "One GPU", pool: gpu, gpus: 1, image: "IMAGE", allow: true}
  lost: {title: "Lost storage", pool: cpu, image: "IMAGE", allow: true, mounts: [{source: "TOP/not-there"}]}
  outside: {title: "Outside", pool: cpu, image: "IMAGE", allow: true, mounts: [{source: /etc/ssl}]}
rules:
  - name: group storage
    match: {groups: [atlas, cms]}
    mounts: [{source: "TOP/sps/{group}", target: "/sps/{group}"}]
defaults:
  memory: 256M
  cpu: 1
  quota: {servers: 2, gpus: 1}
  mounts:
    - {source: "TOP{home}", target: "{home}"}
    - {source: "TOP/cvmfs", target: /cvmfs, read_only: true, propagation: rslave}
    - {source: "TOP/scratch", target: /scratch, optional: true}
  env: {SITE: "a fleet"}
"""

CONFIG = """\
from nbplatform_spawners.pages import template_paths
c = get_config()
c.JupyterHub.template_paths = template_paths
c.JupyterHub.authenticator_class = "nbplatform-file"
c.JupyterHub.spawner_class = "nbplatform-docker"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.authenticate_prometheus = False
c.Authenticator.admin_users = {"eve"}
c.IdentityMixin.accounts = "TOP/accounts.yaml"
c.NbplatformSpawner.rules_directory = "TOP/placement_rules"
c.DockerFleetSpawner.hub_id = "HUB_ID"
c.DockerFleetSpawner.tls_directory = "CERTIFICATES"
c.DockerFleetSpawner.mount_roots = ["TOP"]
c.DockerFleetSpawner.refresh_interval = 1.0
c.DockerFleetSpawner.call_limit = 5.0
c.DockerFleetSpawner.stop_grace = 2
c.DockerFleetSpawner.orphan_grace = 3.0
"""


@dataclass(frozen=True)
class FleetSite:
    """A site on a fleet.

    Attributes:
        fleet: its hosts.
        site: its accounts, homes and rules.
        pools: which hosts are in which pool.
        hub_id: of its hub.
        image: what every profile runs.
        urls: of hosts that are reached elsewhere than at their own URL, by name.
    """

    fleet: DockerFleet
    site: Site
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hub_id: str = "test-hub"
    image: str = TINY
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def top(self) -> Path:
        """The site's folder; every host sees it."""
        return self.site.top

    @property
    def config(self) -> str:
        """A hub configuration for this site."""
        text = CONFIG.replace("TOP", str(self.top)).replace("HUB_ID", self.hub_id)
        return text.replace("CERTIFICATES", str(self.fleet.certificates))

    def write_rules(self, text: str = RULES, **changes: str) -> None:
        """Write the only rule file.

        Args:
            text: with the words CPU_HOSTS, GPU_HOSTS, IMAGE and TOP to be replaced.
            changes: further words to be replaced in it.
        """
        for pool in ("cpu", "gpu"):
            hosts = ", ".join(self.entry(name) for name in self.pools.get(pool, ()))
            text = text.replace(f"{pool.upper()}_HOSTS", hosts) if hosts else without_pool(text, pool)
        for word, value in {"IMAGE": self.image, **changes}.items():
            text = text.replace(word, value)
        self.site.write_rules(text)

    def entry(self, name: str, more: str = "") -> str:
        """Return a host's entry in the rules."""
        host = self.fleet[name]
        gpus = f", gpus: [{', '.join(host.gpus)}]" if host.gpus else ""
        return f'{{name: {name}, url: "{self.urls.get(name, host.url)}", memory: 8G, cpus: 2{gpus}{more}}}'


def without_pool(text: str, pool: str) -> str:
    """Return rules without a pool that has no host, and without its profiles."""
    return "\n".join(
        line for line in text.split("\n") if f"pool: {pool}," not in line and f"  {pool}: {{hosts" not in line
    )


def make_fleet_site(
    fleet: DockerFleet, pools: Mapping[str, tuple[str, ...]], name: str = "site", **more: str
) -> FleetSite:
    """Make a site's folders, rules and accounts in the fleet's folder."""
    top = fleet.folder / name
    top.mkdir(mode=0o711)
    found = FleetSite(fleet, make_site(top), pools, **more)
    found.write_rules()
    return found


@contextmanager
def fleet_hub(site: FleetSite, more: str = "", external_proxy: bool = True) -> Iterator[Hub]:
    """A hub of a site, with users ada, ben and eve; its servers live on when it ends.

    Args:
        site: whose.
        more: added to its configuration.
        external_proxy: the proxy survives the hub.
    """
    with running_hub(site.config + more, external_proxy=external_proxy, hub_ip=site.fleet.hub_ip) as hub:
        for user in ("ada", "ben", "eve"):
            hub.api("POST", f"users/{user}")
        yield hub


__all__ = ["GROUPS", "RULES", "FleetSite", "fleet_hub", "make_fleet_site"]
