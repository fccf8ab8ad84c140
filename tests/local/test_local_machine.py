"""What is found out about a machine and its Python environments, and what is said where something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.cgroups import LEAF, Hierarchy, Limits, create, processes, remove
from nbplatform_spawners.hosts.local_environment import (
    command_environment,
    find_program,
    hub_environment,
    outermost,
)
from nbplatform_spawners.hosts.local_machine import LocalMachine, probe_machine, userns_advice

ADVICE = {
    "Ubuntu": ({"kernel.apparmor_restrict_unprivileged_userns": "1"}, False, "apparmor_restrict_unprivileged_userns=0"),
    "Debian": ({"kernel.unprivileged_userns_clone": "0"}, False, "kernel.unprivileged_userns_clone=1"),
    "Red Hat": ({"user.max_user_namespaces": "0"}, False, "user.max_user_namespaces=10000"),
    "a chroot": ({"user.max_user_namespaces": "9"}, True, "outside of it, or as root"),
    "a container": ({"kernel.apparmor_restrict_unprivileged_userns": "0"}, False, "run it as root"),
}


@pytest.mark.parametrize(("settings", "chrooted", "expected"), ADVICE.values(), ids=ADVICE)
def test_where_user_namespaces_are_forbidden_it_is_said_how_to_allow_them(
    settings: dict[str, str], chrooted: bool, expected: str
) -> None:
    """One command or one change, the one that fits the machine."""
    assert expected in userns_advice(settings, chrooted)


def test_as_root_this_machine_offers_everything_it_has(root_machine: LocalMachine) -> None:
    """Numbers for each account, a view with the system and this Python, and memory that is not more than there is."""
    assert root_machine.mode == "root"
    assert root_machine.view is not None
    assert Path(root_machine.view.bwrap).is_absolute()
    assert "/usr" in root_machine.view.folders
    assert 0 < root_machine.memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_as_root_without_bubblewrap_no_server_can_be_started(root_machine: LocalMachine) -> None:
    """It stays root's machine, and says what to install; it never falls back to servers without a sandbox."""
    machine = probe_machine(bwrap="/nowhere/bwrap", cgroups=())
    assert machine.mode == "root"
    assert machine.problem is not None
    assert "apt-get install bubblewrap" in machine.problem
    assert machine.notes[0] == machine.problem
    assert machine.memory == root_machine.memory


def test_a_bubblewrap_that_does_not_run_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    """And one that is too old from both."""
    for text, expected in (("echo no good >&2; exit 1", "does not run"), ("echo bubblewrap 0.4.1", "0.4 is too old")):
        program = tmp_path / "bwrap"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        assert expected in probe_machine(bwrap=str(program), cgroups=()).notes[0]


def test_limits_that_cannot_be_written_are_told() -> None:
    """By name, with what to do."""
    machine = probe_machine(cgroups=[Hierarchy(1, ("pids",), "/x")])
    assert not machine.can_limit
    assert any(note.startswith("Limits of memory, cpu are not enforced") for note in machine.notes)


def test_this_python_is_found_with_what_it_was_made_from() -> None:
    """The interpreter and this package lie in what is shown of the hub's environment."""
    shown = hub_environment()
    for path in (sys.executable, os.path.realpath(sys.executable), __import__("nbplatform_spawners").__file__):
        assert any(str(path).startswith(folder + "/") for folder in shown)


def test_a_command_brings_its_own_environment(tmp_path: Path) -> None:
    """A virtual environment comes whole, with what it was made from, through a script's first line and links."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    script = tmp_path / "bin" / "start"
    script.parent.mkdir()
    script.write_text(f"#!{venv}/bin/python -I\n")
    (tmp_path / "link").symlink_to("bin/start")
    shown = command_environment(str(tmp_path / "link"))
    assert str(venv) in shown
    assert os.path.realpath(sys.base_prefix) in shown
    assert str(script) in shown
    assert str(tmp_path) not in shown


def test_a_program_in_somebodys_bin_does_not_show_their_home(tmp_path: Path) -> None:
    """Only the file itself; nothing for one that is not there or is named without its folder."""
    program = tmp_path / "bin" / "start"
    program.parent.mkdir()
    program.write_bytes(b"\x7fELF")
    assert command_environment(str(program)) == (str(program),)
    assert command_environment(str(tmp_path / "nowhere")) == ()
    assert command_environment("start") == ()


def test_a_command_is_found_in_the_path_and_else_beside_this_python(tmp_path: Path) -> None:
    """A hub that was started by its full path finds its own programs too; a name of a path is kept."""
    assert find_program("sh", "/bin") == "/bin/sh"
    assert find_program(Path(sys.executable).name, str(tmp_path)) == sys.executable
    assert find_program("nothing-like-it", "/bin") == "nothing-like-it"
    assert find_program("./here", "/bin") == "./here"


def test_only_the_outermost_folders_are_kept() -> None:
    """What lies in another shown folder needs no mount of its own; the root folder is never shown."""
    paths = ["/opt/hub/lib", "/opt/hub", "/usr/bin/python3", "/opt/hub2", "/"]
    assert outermost(paths, ["/usr"]) == ("/opt/hub", "/opt/hub2")


@pytest.fixture
def version_2_group() -> Path:
    """A control group of version 2 with a controller that nobody else uses."""
    top = next((path for path in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if _offers(path)), None)
    if os.geteuid() != 0 or top is None:
        pytest.skip("needs root and the controller hugetlb on cgroup version 2")
    (top / "cgroup.subtree_control").write_text("+hugetlb")
    group = top / f"nbp-test-{os.getpid()}"
    group.mkdir()
    return group


def _offers(top: Path) -> bool:
    listed = top / "cgroup.controllers"
    return listed.exists() and "hugetlb" in listed.read_text().split()


def test_on_version_2_the_hubs_processes_make_way(version_2_group: Path) -> None:
    """A group with processes cannot hand controllers down: they move to a leaf, and servers get groups beside it."""
    tree = Hierarchy(2, ("hugetlb",), str(version_2_group))
    with subprocess.Popen(["sleep", "1000"]) as hub:
        (version_2_group / "cgroup.procs").write_text(str(hub.pid))
        made = create([tree], "alice", Limits())
        assert processes([str(version_2_group / LEAF)]) == {hub.pid}
        assert (Path(made[0]) / "hugetlb.2MB.max").exists()
        remove(made)
        hub.kill()
    remove([str(version_2_group / name) for name in ("nbplatform", LEAF, "")])
    assert not version_2_group.exists()
