"""The demo: a JupyterHub on 127.0.0.1 that serves a copy of the example site, made usable on this machine.

Prints the address and three accounts with passwords made for this run.  Ctrl-C ends everything it started.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import http.client
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from machine_tools import BUBBLEWRAP, install
from steps import StepError, say

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # for what the demo shares with the tests: tests/components, hub_config/demo

from hub_config.demo.site import NotOurs, Site, make_site  # noqa: E402
from hub_config.demo.words import welcome  # noqa: E402
from tests.components import MissingComponent  # noqa: E402
from tests.components.keeper import Keeper, KeeperError, Kept, keeper  # noqa: E402
from tests.components.proxy import proxy_command  # noqa: E402

CONFIG = CHECKOUT / "hub_config" / "demo" / "jupyterhub_config.py"
START_LIMIT = 120
"""Seconds that the hub has to answer."""
STOP_GRACE = 15
"""Seconds that the hub has to end its servers and itself."""


class Stopped(KeyboardInterrupt):
    """A signal asks for the end."""


def main(arguments: Sequence[str]) -> int:
    """Run the demo until it is stopped; returns the exit status."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell has its background jobs ignore it
        signal.signal(number, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _stop)
    try:
        with contextlib.ExitStack() as stack:
            demo(options, stack)
    except (StepError, MissingComponent, KeeperError, NotOurs) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("ended")
        return 0
    return 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ends the process with status 2 on bad ones."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (default 8000; 0: any free one)")
    parser.add_argument("--dir", type=Path, help="keep everything in this folder (default: one that is removed)")
    options = parser.parse_args(arguments)
    if not 0 <= options.port < 65536:
        parser.error(f"--port must be between 0 and 65535, got {options.port}")
    return options


def demo(options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    """Start the hub, tell how to use it, and wait for its end.

    Raises:
        StepError: something cannot be made or started, or the hub ended by itself.
    """
    port = free_port(options.port)
    ensure_bubblewrap()
    say("looking for configurable-http-proxy (it is fetched once)")
    proxy = proxy_command()
    keep = stack.enter_context(keeper("demo", grace=STOP_GRACE))
    folder = options.dir.absolute().resolve() if options.dir else keep.folder
    site = make_demo_site(folder, stack)
    say("starting the hub")
    hub = start_hub(keep, site, port, proxy)
    wait_until_up(hub, port)
    sys.stdout.write(welcome(site, port, notes_of_this_machine()) + "\n")
    sys.stdout.flush()
    while hub.alive():
        time.sleep(0.5)
    raise StepError(f"the hub ended by itself with status {hub.returncode}; its log ends:\n{tail(hub)}")


def free_port(wanted: int) -> int:
    """Return the port when nobody has it; for 0 any that is free.

    Raises:
        StepError: it is taken, or this user may not have it.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
            listener.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StepError(
                    f"port {wanted} of 127.0.0.1 is taken by another program; choose another one: --port {wanted + 1}"
                ) from None
            raise StepError(f"port {wanted} cannot be used: {error.strerror}; choose another one: --port N") from None
        port: int = listener.getsockname()[1]
        return port


def inner_port() -> int:
    """Return a free port for hub and proxy to talk over.

    It lies below the range from which the kernel takes ports for connections: one of those could take it again
    before the hub does.
    """
    while True:
        with contextlib.suppress(StepError):
            return free_port(20000 + secrets.randbelow(12000))


def ensure_bubblewrap() -> None:
    """Get bubblewrap, which gives each server its own view of the file system.

    Raises:
        StepError: this is root and it cannot be had; servers of other accounts are never run without it.
    """
    if install([BUBBLEWRAP]) and os.geteuid() == 0:
        raise StepError("bubblewrap is needed and missing; install it with this system's package manager")


def make_demo_site(folder: Path, stack: contextlib.ExitStack) -> Site:
    """Make the site in the folder and hold a lock on it, for the time of the stack.

    Raises:
        StepError: the folder cannot be written, or another demo runs in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_only_demo_in(folder))
        say(f"making the example site in {folder}")
        site = make_site(CHECKOUT / "placement_rules" / "example-site", folder, as_root=os.geteuid() == 0)
        # What the last run's hub knew belongs to servers that ended with it.
        shutil.rmtree(folder / "hub", ignore_errors=True)
        (folder / "hub").mkdir(mode=0o700)
    except OSError as error:
        raise StepError(f"{folder} cannot be used: {error.strerror}") from None
    return site


@contextlib.contextmanager
def _only_demo_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StepError(f"another demo runs in {folder}; end it, or give another --dir") from None
    finally:
        os.close(descriptor)


def start_hub(keep: Keeper, site: Site, port: int, proxy: Sequence[str], config: Path = CONFIG) -> Kept:
    """Start the hub; its secrets are made here and are in its environment and its private folder alone."""
    folder = site.folder / "hub"
    environment = {
        **hub_environment(os.environ),
        "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
        "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(32),
        "NBPLATFORM_DEMO_FOLDER": str(site.folder),
        "NBPLATFORM_DEMO_PORTS": f"{port},{inner_port()},{inner_port()}",
        "NBPLATFORM_DEMO_PROXY": shlex.join(proxy),
    }
    command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    return keep.start(command, env=environment, cwd=folder, log=folder / "hub.log")


def hub_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with this Python's programs first on PATH, and without the settings of other hubs."""
    kept = {key: value for key, value in environment.items() if not key.startswith(("JUPYTERHUB_", "CONFIGPROXY_"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{environment.get('PATH', os.defpath)}"}


def wait_until_up(hub: Kept, port: int) -> None:
    """Wait until the hub answers through its proxy.

    Raises:
        StepError: it ends before that, or takes too long.
    """
    limit = time.monotonic() + START_LIMIT
    while not _answers(port):
        if not hub.alive():
            raise StepError(f"the hub ended at its start; its log ends:\n{tail(hub)}")
        if time.monotonic() > limit:
            raise StepError(f"the hub does not answer after {START_LIMIT} s; its log ends:\n{tail(hub)}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/hub/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def tail(hub: Kept) -> str:
    """Return the last lines of the hub's log."""
    return "\n".join(f"  | {line}" for line in hub.log_text().splitlines()[-20:])


def notes_of_this_machine() -> Sequence[str]:
    """Return what the local backend cannot do here, a sentence each."""
    from nbplatform_spawners.hosts.local_machine import probe_machine  # after bubblewrap has been installed

    return probe_machine().notes


def _stop(number: int, frame: object) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
