"""A small site on this machine for hub tests: accounts, rules, homes and storage under one folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

DOUBLES = {"PYTHONPATH": str(Path(__file__).parents[2])}
"""Lets a hub import ``tests.hub.doubles``."""
PASSWORD = "correct horse"
ACCOUNTS = {"ada": (62101, "users", ["atlas"]), "ben": (62102, "users", []), "eve": (62103, "users", ["atlas", "cms"])}
GROUPS = {"users": 61000, "atlas": 61100, "cms": 61101, "deep-learning": 61200}

RULES = """\
profiles:
  cpu: {title: "CPU", description: "Everyday work", allow: true}
  gpu: {title: "One GPU", gpus: 1}
  closed: {title: "Closed", message: "Write to the support desk."}
  huge: {title: "Huge", memory: 900T, allow: true}
  lost: {title: "Lost storage", allow: true, mounts: [{source: "TOP/not-there", target: /lost}]}
rules:
  - name: gpu users
    match: {users: [ada, eve], profiles: [gpu]}
    allow: true
  - name: group storage
    match: {groups: [atlas, cms]}
    mounts: [{source: "TOP/sps/{group}", target: "/sps/{group}"}]
defaults:
  memory: 1G
  cpu: 1
  quota: {servers: 2, gpus: 1}
  mounts:
    - {source: "TOP{home}", target: "{home}"}
    - {source: "TOP/cvmfs", target: /cvmfs, read_only: true, propagation: rslave}
    - {source: "TOP/scratch", target: /scratch, optional: true}
  env: {SITE: "a small site"}
"""

CONFIG = """\
from nbplatform_spawners.pages import template_paths
c = get_config()
c.JupyterHub.template_paths = template_paths
c.JupyterHub.authenticator_class = "nbplatform-file"
c.JupyterHub.spawner_class = "nbplatform-local"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.authenticate_prometheus = False
c.Authenticator.admin_users = {"eve"}
c.IdentityMixin.accounts = "TOP/accounts.yaml"
c.NbplatformSpawner.rules_directory = "TOP/placement_rules"
c.LocalSpawner.runtime_directory = "TOP/run"
c.LocalSpawner.gpus = ["GPU-0001"]
c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
"""


@dataclass(frozen=True)
class Site:
    """Where the site lies, and its configuration."""

    top: Path

    @property
    def rules(self) -> Path:
        """The directory of the rules."""
        return self.top / "placement_rules"

    @property
    def config(self) -> str:
        """A hub configuration for this site."""
        return CONFIG.replace("TOP", str(self.top))

    def write_rules(self, text: str = RULES) -> None:
        """Write the only rule file as an editor does: beside it, then renamed over it."""
        new = self.rules / "new.tmp"
        new.write_text(text.replace("TOP", str(self.top)))
        new.replace(self.rules / "site.yaml")

    def write_accounts(self, **changes: str) -> None:
        """Write the accounts.

        Args:
            changes: account name to further YAML text of its entry, such as ``valid_until: …``.
        """
        lines = [f"groups: {{{', '.join(f'{name}: {gid}' for name, gid in GROUPS.items())}}}", "accounts:"]
        for name, (uid, group, groups) in ACCOUNTS.items():
            more = f", {changes[name]}" if name in changes else ""
            lines.append(
                f'  {name}: {{uid: {uid}, group: {group}, groups: [{", ".join(groups)}], password: "{_HASH}"{more}}}'
            )
        new = self.top / "accounts.tmp"
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.top / "accounts.yaml")


_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def make_site(top: Path) -> Site:
    """Make the folders, the rules and the accounts.

    Args:
        top: an existing folder that other users may pass through.
    """
    site = Site(top)
    for name, (uid, _, _) in ACCOUNTS.items():
        _folder(top / "home" / name, uid, GROUPS["users"], 0o700)
        (top / "home" / name / f"of-{name}").touch()
    for group in ("atlas", "cms"):
        _folder(top / "sps" / group, 0, GROUPS[group], 0o2770)
    _folder(top / "cvmfs", 0, 0, 0o755)
    (top / "cvmfs" / "software").write_text("read me\n")
    site.rules.mkdir()
    site.write_rules()
    site.write_accounts()
    return site


def _folder(path: Path, uid: int, gid: int, mode: int) -> None:
    path.mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(path, uid, gid)
        path.chmod(mode)
