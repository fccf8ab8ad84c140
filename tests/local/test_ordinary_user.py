"""Servers of a hub that an ordinary user runs: in a user namespace, or where there is none, as that user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import escapism
import pytest

from nbplatform_spawners.mounts import Mount

ROOT = Path(__file__).parents[2]
ORDINARY = 64001
NO_BWRAP = "/nowhere/bwrap"


class Somebody:
    """Starts servers as an ordinary user, in processes of that user.

    Attributes:
        folder: belongs to the user; holds ``alice``, the storage of her HOME.
    """

    def __init__(self, folder: Path, program: Sequence[str], env: dict[str, str]) -> None:
        self.folder = folder
        self.program = program
        self.env = env

    def folder_of(self, name: str, *, mode: int = 0o700) -> Path:
        """Make a folder of the user."""
        made = self.folder / name
        made.mkdir(mode=mode)
        if os.geteuid() == 0:
            os.chown(made, ORDINARY, ORDINARY)
        return made

    def start(self, command: Sequence[str], *mounts: Mount, **more: Any) -> dict[str, Any]:
        """Start a server with HOME mounted; return what ``ordinary.py`` says."""
        home = Mount(str(self.folder / "alice"), "/home/alice")
        wanted = {
            "bwrap": more.get("bwrap"),
            "directory": str(self.folder_of(f"run-{len(os.listdir(self.folder))}")),
            "command": list(command),
            "mounts": [asdict(mount) for mount in (home, *mounts)],
            "ready": more.get("ready"),
            "grace": more.get("grace", 5),
        }
        done = subprocess.run(
            self.program, input=json.dumps(wanted), stdout=subprocess.PIPE, text=True, env=self.env, cwd="/", check=True
        )
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def start_in_namespace(self, command: Sequence[str], *mounts: Mount) -> dict[str, Any]:
        """Start a server in a user namespace; skips the test where there can be none."""
        said = self.start(command, *mounts)
        if said["mode"] != "userns":
            pytest.skip(said["notes"][0])
        return said


def shell(script: str) -> list[str]:
    """Return the command that runs a shell script."""
    return ["/bin/sh", "-c", script]


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    """An ordinary user with a Python that can be read by everybody, and this package in it."""
    folder = Path(tempfile.mkdtemp(prefix="nbp-user-"))
    folder.chmod(0o755)
    library = folder / "library"
    shutil.copytree(ROOT / "nbplatform_spawners", library / "nbplatform_spawners")
    shutil.copytree(ROOT / "tests/local", library / "tests/local")
    shutil.copy(escapism.__file__, library)
    drop = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
    drop += ["/bin/sh", "-c", 'exec "$@"', "sh"]  # setpriv itself still has root's rights when it looks for a program
    if os.geteuid() != 0:
        drop = []
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    python = find_python(drop, env)
    made = Somebody(folder, [*drop, python, "-m", "tests.local.ordinary"], env)
    if os.geteuid() == 0:
        os.chown(folder, ORDINARY, ORDINARY)
    made.folder_of("alice")
    yield made
    shutil.rmtree(folder)


def find_python(drop: Sequence[str], env: dict[str, str]) -> str:
    """Return a Python that the user may run: this one, else the system's."""
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*drop, python, "-c", "import sys, escapism; sys.exit(sys.version_info < (3, 11))"]
        if subprocess.run(command, env=env, stderr=subprocess.DEVNULL).returncode == 0:
            return python
    pytest.skip("an ordinary user can run neither this Python nor a system Python of version 3.11 or newer")


def test_a_user_namespace_gives_the_accounts_numbers_and_names(somebody: Somebody) -> None:
    """Inside it is alice with her gid; outside the files belong to the hub's user; no capability either way."""
    script = (
        "id -u; id -g; whoami; id -gn; pwd; touch x; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status"
    )
    said = somebody.start_in_namespace(shell(script))
    made = os.stat(somebody.folder / "alice/x")
    assert said["status"] == 0
    assert said["output"].split() == [
        *("61001", "61000", "alice", "physics", "/home/alice"),
        *(r"CapEff:\t" + "0" * 16, r"NoNewPrivs:\t1"),
    ]
    assert made.st_uid == said["uid"]


def test_groups_that_a_user_namespace_cannot_grant_are_listed(somebody: Somebody) -> None:
    """And the lack is said in a sentence with what to do."""
    said = somebody.start_in_namespace(shell("true"))
    assert set(said["ungranted"]) == {"atlas", "ml-2026"}
    assert "run the hub as root to grant all of them" in said["notes"][0]


def test_a_user_namespace_shows_nobody_elses_storage(somebody: Somebody) -> None:
    """Although all storage belongs to the hub's user."""
    somebody.folder_of("bob")
    read_only = somebody.folder_of("cvmfs")
    script = f"ls {somebody.folder}/bob {somebody.folder}/alice; ls -A /home; touch /cvmfs/x"
    said = somebody.start_in_namespace(shell(script), Mount(str(read_only), "/cvmfs", read_only=True))
    lines = said["output"].split("\n")
    assert sum("No such file or directory" in line for line in lines) == 2
    assert "alice" in lines
    assert "Read-only file system" in lines[-1]


def test_in_a_user_namespace_later_mounts_can_reach_a_server(somebody: Somebody) -> None:
    """Staging works with the propagation that the plan says: the mount table tells."""
    cvmfs = Mount(str(somebody.folder_of("cvmfs")), "/cvmfs", read_only=True, propagation="rslave")
    said = somebody.start_in_namespace(shell("grep -c ' /cvmfs ' /proc/self/mountinfo"), cvmfs)
    assert said["output"] == "1"


def test_storage_that_the_hubs_user_may_not_read_is_refused(somebody: Somebody) -> None:
    """The reason names the storage."""
    closed = somebody.folder_of("closed", mode=0o000)
    said = somebody.start(shell("true"), Mount(str(closed), "/closed"))
    assert said["error"] == f"storage: the storage {closed} cannot be read by the user that runs the hub"


@pytest.mark.parametrize("bwrap", [None, NO_BWRAP], ids=["with bubblewrap", "without"])
def test_a_link_of_the_hubs_own_user_is_not_followed(somebody: Somebody, bwrap: str | None) -> None:
    """Every server has that uid outside, so any of them may have made it."""
    somebody.folder_of("bob")
    (somebody.folder / "link").symlink_to("bob")
    os.lchown(somebody.folder / "link", os.stat(somebody.folder / "alice").st_uid, -1)
    said = somebody.start(shell("true"), Mount(str(somebody.folder / "link"), "/data"), bwrap=bwrap)
    assert "symbolic link 'link'" in said["error"]


def test_without_bubblewrap_servers_run_as_the_hubs_user(somebody: Somebody) -> None:
    """HOME is where the plan's HOME lies; what is missing and how to get it is said."""
    said = somebody.start(shell("id -u; echo $HOME; pwd; echo $USER"), bwrap=NO_BWRAP)
    home = str(somebody.folder / "alice")
    assert said["mode"] == "plain"
    assert said["output"].split() == [str(said["uid"]), home, home, "alice"]
    assert "bubblewrap (bwrap) is missing; install it" in said["notes"][0]
    assert set(said["ungranted"]) >= {"atlas", "ml-2026"}


def test_without_bubblewrap_missing_storage_is_refused_too(somebody: Somebody) -> None:
    """A notebook must not start without the data that its plan promises."""
    said = somebody.start(shell("true"), Mount("/nowhere/data", "/data"), bwrap=NO_BWRAP)
    assert said["error"] == "storage: the storage /nowhere/data does not exist on this machine"


STUBBORN = """# left its parent
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(os.environ["HOME"] + "/ready", "w").close()
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


def test_without_bubblewrap_a_stop_leaves_no_process(somebody: Somebody) -> None:
    """Neither one that ignores the request nor one that left its parent and session."""
    ready = somebody.folder / "alice/ready"
    command = ["/usr/bin/python3", "-c", STUBBORN]
    said = somebody.start(command, bwrap=NO_BWRAP, ready=str(ready), grace=0.2)
    assert said["stopped"] is True
    assert said["status"] == 137
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and is_stubborn(pid)]


def is_stubborn(pid: str) -> bool:
    """Tell whether a process is one of the stubborn server."""
    try:
        return b"left its parent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
