"""The hub tests that matter most, once more with a hub that an ordinary user runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components import MissingComponent
from tests.components.proxy import cache_folder, proxy_command

ROOT = Path(__file__).parents[2]
ORDINARY = 64002
CHOSEN = (
    "test_a_kernel_runs_as_the_account or test_only_planned_storage or test_a_stop_leaves_no_process"
    " or test_the_hub_finds_its_servers_again or test_after_a_refusal_a_plain_spawn or test_one_gpu_is_granted_once"
)
WITH_OPEN_PARENTS = r"""
set -e
home=$1 stash=$2; shift 2
mount --rbind "$home" "$stash"
mount -t tmpfs -o mode=0755 tmpfs "$home"
while [ "$1" != -- ]; do
  mkdir -p "$1"; mount --rbind "$stash/${1#"$home"/}" "$1"; shift
done
shift
exec setpriv --reuid ORDINARY --regid ORDINARY --clear-groups --inh-caps=-all --bounding-set=-all "$@"
""".replace("ORDINARY", str(ORDINARY))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the ordinary user, who finds the proxy installed."""
    try:
        proxy_command()
    except MissingComponent as lacking:
        pytest.skip(str(lacking))
    made = Path(tempfile.mkdtemp(prefix="nbp-user-"))
    os.chown(made, ORDINARY, ORDINARY)
    (made / "stash").mkdir()
    yield made
    shutil.rmtree(made, ignore_errors=True)


def as_ordinary(folder: Path, command: list[str]) -> list[str]:
    """Return what runs a command as an ordinary user to whom the suite's environment is open.

    The environment may lie below root's home, which nobody else may pass: in a mount namespace of its own the home is
    an empty folder that holds only what is needed.
    """
    home = Path.home()
    wanted = {Path(sys.prefix), Path(sys.base_prefix), cache_folder(), ROOT}
    needed = sorted(str(path) for path in wanted if path.is_relative_to(home))
    outermost = [path for path in needed if not any(path.startswith(other + "/") for other in needed)]
    script = ["/bin/sh", "-c", WITH_OPEN_PARENTS, "sh", str(home), str(folder / "stash"), *outermost, "--"]
    return ["unshare", "--mount", *script, *command]


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user already")
def test_an_ordinary_users_hub_does_the_same(folder: Path) -> None:
    """Identity inside, storage, stop, restart, refusal and GPU ledger: one user namespace for each server."""
    pytest_run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", CHOSEN, "--require", "all"]
    pytest_run += [str(ROOT / "tests/hub/test_server_life.py"), str(ROOT / "tests/hub/test_refusals.py")]
    env = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "XDG_CACHE_HOME": str(cache_folder().parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": "/tmp",
    }
    done = subprocess.run(
        as_ordinary(folder, pytest_run), cwd=ROOT, env=env, capture_output=True, text=True, timeout=280
    )
    counted = re.search(r"^collected (\d+), passed (\d+), failed 0, skipped 0$", done.stdout, re.MULTILINE)
    assert counted, done.stdout[-4000:] + done.stderr[-2000:]
    assert counted[1] == counted[2] == "6"
