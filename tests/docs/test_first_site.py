"""The administrator's first page, run as it stands: nothing is left out, only the folders are others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.components.keeper import keeper
from tests.house.pages import ROOT, code_blocks

PAGE = "docs/tutorials/first-site.md"
FOLDERS = ("/opt/nbplatform", "/etc/jupyterhub", "/var/lib/jupyterhub")
SHELL = [block.text for block in code_blocks(PAGE) if block.language == "sh"]
ASK = """
import time, urllib.request
for _ in range(600):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:8000/hub/login", timeout=5).read().decode())
        break
    except OSError:
        time.sleep(0.1)
"""
LISTS = "dpkg --status bubblewrap python3-venv >/dev/null 2>&1 || apt-get update -q"
"""A machine in use has apt's lists of packages; a fresh container has not."""
INSTALL_LIMIT = 400
START_LIMIT = 90


def elsewhere(text: str, top: Path) -> str:
    """Return a block of the page with the folders of the machine below another one."""
    for folder in FOLDERS:
        text = text.replace(folder, f"{top}{folder}")
    return text


def pristine_checkout(target: Path) -> None:
    """Copy what a clone holds, without what was built or tested in this one."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    tracked = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    for name in tracked or ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    for folder in ("nbplatform_spawners", "hub_config", "placement_rules"):
        shutil.copytree(
            ROOT / folder, target / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*_cache")
        )


def environment() -> dict[str, str]:
    """Return the environment of somebody who has just logged in, and who answers apt-get's question with yes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTHON", "VIRTUAL"))}
    path = os.pathsep.join(
        part for part in kept.get("PATH", os.defpath).split(os.pathsep) if Path(part) != Path(sys.executable).parent
    )
    return {**kept, "PATH": path, "DEBIAN_FRONTEND": "noninteractive"}


@pytest.mark.timeout(INSTALL_LIMIT + START_LIMIT + 60)
def test_the_page_makes_a_hub_that_asks_for_a_login(tmp_path: Path) -> None:
    """Each ``sh`` block in order; the hub runs in a network of its own, so that its ports are free."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("the page needs root on Debian or Ubuntu")
    install, *place, start, second_terminal = SHELL[1:]
    assert "jupyterhub -f" in start
    tmp_path.chmod(0o755)
    pristine_checkout(tmp_path / "nbplatform")
    answers_yes = tmp_path / "apt.conf"
    answers_yes.write_text('APT::Get::Assume-Yes "true";\nDPkg::Lock::Timeout "120";\n')
    env = {**environment(), "APT_CONFIG": str(answers_yes)}
    before = f"set -eu\n{LISTS}\n" + elsewhere("".join((SHELL[0], install, *place)), tmp_path)
    for folder in FOLDERS[1:]:
        assert f"{tmp_path}{folder}" in before + elsewhere(start, tmp_path)
    done = subprocess.run(
        ["bash", "-c", before],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    with keeper("first-site") as one:
        hub = one.start(
            ["unshare", "--net", "bash", "-c", "ip link set lo up\n" + elsewhere(path_of(install) + start, tmp_path)],
            env=env,
            cwd=tmp_path,
        )
        page = seen_inside(hub.pid, f"{tmp_path}/opt/nbplatform/bin/python")
        assert 'name="password"' in page, hub.log_text()[-4000:]
    check = "set -eu\n" + elsewhere(second_terminal, tmp_path) + "nbplatform rules check placement_rules\n"
    ran = subprocess.run(["bash", "-c", check], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "no mistake" in ran.stdout, ran.stderr


def path_of(block: str) -> str:
    """Return the line of a block that says where programs are: the same terminal goes on with it."""
    return next(line for line in block.splitlines(keepends=True) if line.startswith("export PATH="))


def seen_inside(pid: int, python: str) -> str:
    """Return the login page as a browser on the machine of the hub gets it."""
    limit = time.monotonic() + START_LIMIT
    here = Path("/proc/self/ns/net").readlink()
    while time.monotonic() < limit:
        if Path(f"/proc/{pid}/ns/net").readlink() == here:  # not moved yet
            continue
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", python, "-c", ASK]
        asked = subprocess.run(inside, capture_output=True, text=True, timeout=START_LIMIT, check=False)
        if asked.stdout:
            return asked.stdout
        time.sleep(0.2)
    return "nothing"
