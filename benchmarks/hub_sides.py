"""Two real hubs, each with its proxy: ours, and a stock one to compare with.  What servers run is the same on both.

Ours is a site as people run it: accounts and passwords from a file, rules, ``nbplatform-local``.  The peer starts
``jupyterhub-singleuser`` by JupyterHub's ``SimpleLocalProcessSpawner``: that is ``LocalProcessSpawner``, with the same
start, less the change of user, which would need the machine's own accounts.
"""

from __future__ import annotations

import compileall
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

import nbplatform_spawners
from tests.components import MissingComponent
from tests.components.hub import Hub, running_hub, stop_server
from tests.components.servers import progress
from tests.hub.site import PASSWORD, make_site

from .runner import CannotRun

USER = "ada"
LIMIT = 60.0  # seconds that one request may take
RULES = """\
profiles:
  cpu: {title: "CPU", allow: true}
defaults:
  memory: 1G
  mounts: [{source: "TOP{home}", target: "{home}"}]
"""
PEER = f"""\
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{PASSWORD}"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "TOP/peer/{{username}}"
c.Spawner.cmd = ["jupyterhub-singleuser"]
"""
BOTH = """
c.Spawner.disable_user_config = True
c.Spawner.args = {arguments!r}
c.Spawner.environment = {environment!r}
"""
NO_LAB = "--ServerApp.jpserver_extensions={}=False"
LAB_EXTENSIONS = ("jupyterlab", "jupyter_lsp", "notebook_shim")
"""What JupyterLab brings to a server; without them the jupyter_server application and its terminals remain."""


@dataclass(frozen=True)
class Side:
    """One of the two hubs."""

    name: str
    hub: Hub

    def start(self, user: str = USER, options: Mapping[str, str] | None = None) -> float:
        """Start a user's server.  The hub answers the request when the server is ready, or else tells of it.

        Args:
            user: whose; known to the hub.
            options: what the user asks for; nothing when None.

        Returns:
            seconds from the request until the hub says that the server is ready.

        Raises:
            CannotRun: it does not start.
        """
        begin = time.perf_counter()
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                f"{self.hub.url}/hub/api/users/{user}/server",
                headers={"Authorization": f"token {self.hub.token}"},
                json=None if options is None else {"user_options": options},
                timeout=LIMIT,
            )
        if answer.status_code == 202:  # slower than the hub lets a request wait
            last = list(progress(self.hub, user))[-1]
            if not last.get("ready"):
                raise CannotRun(f"the server does not start ({self.name}): {last.get('message')}")
        elif answer.status_code != 201:
            raise CannotRun(f"the server does not start ({self.name}): {answer.status_code} {answer.text[:500]}")
        return time.perf_counter() - begin

    def start_and_stop(self, user: str = USER, options: Mapping[str, str] | None = None) -> Sequence[float]:
        """Return what :meth:`start` measures, after the server has ended."""
        took = self.start(user, options)
        stop_server(self.hub, user)
        return [took]


@contextmanager
def two_sides(*, lab: bool) -> Iterator[tuple[Side, Side]]:
    """Both hubs, ours first.

    Args:
        lab: the servers have JupyterLab; else the jupyter_server application alone.

    Raises:
        CannotRun: the machine lacks a component.
    """
    # Installing a package compiles it; a checkout may never have been, and its servers may not write there.
    compileall.compile_dir(str(nbplatform_spawners.__path__[0]), quiet=2)
    top = Path(tempfile.mkdtemp(prefix="nbplatform-bench-"))
    top.chmod(0o711)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, top, ignore_errors=True)
        (top / "peer").mkdir()
        site = make_site(top)
        site.write_rules(RULES)
        ours, peer = configurations(top, site.config, lab=lab)
        yield stack.enter_context(_side("ours", ours)), stack.enter_context(_side("peer", peer))


def configurations(top: Path, ours: str, *, lab: bool) -> tuple[str, str]:
    """Return the configuration of our hub and the peer's; both end with the same settings of the servers.

    Args:
        top: folder of the site.
        ours: our site's own configuration.
        lab: the servers have JupyterLab.
    """
    arguments = ["--allow-root"]  # root may be who runs the peer's servers
    arguments += [] if lab else [NO_LAB.format(name) for name in LAB_EXTENSIONS]
    environment = {} if lab else {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
    both = BOTH.format(arguments=arguments, environment=environment)
    return ours + both, PEER.replace("TOP", str(top)) + both


@contextmanager
def _side(name: str, config: str) -> Iterator[Side]:
    with ExitStack() as stack:
        try:
            hub = stack.enter_context(running_hub(config))
        except MissingComponent as lacking:
            raise CannotRun(str(lacking)) from None
        hub.login(USER, PASSWORD)
        yield Side(name, hub)
