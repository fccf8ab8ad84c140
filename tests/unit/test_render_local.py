"""The command line of a sandbox, whole, and the small files of its ``/etc``."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.mounts import Mount
from nbplatform_spawners.render.etc_files import etc_files
from nbplatform_spawners.render.local import (
    SYSTEM,
    OpenFiles,
    Staged,
    View,
    needed,
    sandbox_argv,
    server_env,
    stage,
    ungranted_groups,
)
from tests.local.plans import ALICE, server_plan

SERVER = ("jupyterhub-singleuser", "--debug")
FILES = OpenFiles(enter=9, status=6, reached=7)
VIEW = View(
    mode="root",
    bwrap="/usr/bin/bwrap",
    setpriv="/usr/bin/setpriv",
    python="/opt/hub/bin/python",
    enter="/opt/hub/enter.py",
    folders=("/usr", "/etc"),
    links=(("usr/bin", "/bin"),),
    environment=("/opt/hub",),
    resolver="/run/resolvconf/resolv.conf",
    covered_files=("/etc/shadow",),
    covered_folders=("/etc/ssl/private",),
    gpu_nodes=(("GPU-1", "/dev/nvidia0"), ("GPU-2", "/dev/nvidia1")),
    gpu_common=("/dev/nvidiactl",),
)
HOME = Mount("/export/alice", "/home/alice")
CVMFS = Mount("/cvmfs", "/cvmfs", read_only=True, propagation="rslave")

ISOLATED = "--unshare-pid --unshare-ipc --unshare-uts --json-status-fd 6"
SYSTEM_STEPS = """
--symlink usr/bin /bin
--dev /dev
--perms 1777 --tmpfs /dev/shm
--ro-bind /etc /etc
--ro-bind /run/s/group /etc/group
--ro-bind /run/s/nsswitch.conf /etc/nsswitch.conf
--ro-bind /run/s/passwd /etc/passwd
--ro-bind /run/s/empty /etc/shadow
--perms 0555 --tmpfs /etc/ssl/private --remount-ro /etc/ssl/private
--perms 0755 --dir /opt
--ro-bind /opt/hub /opt/hub
--proc /proc
--perms 0755 --dir /run
--perms 0755 --dir /run/nbplatform
--ro-bind /opt/hub/enter.py /run/nbplatform/enter.py
--perms 0755 --dir /run/resolvconf
--ro-bind /run/resolvconf/resolv.conf /run/resolvconf/resolv.conf
--perms 0755 --dir /sys
--perms 0755 --dir /sys/devices
--ro-bind-try /sys/devices/system /sys/devices/system
--perms 1777 --tmpfs /tmp
--ro-bind /usr /usr
--perms 0755 --dir /var
--perms 1777 --tmpfs /var/tmp
"""
END = "--remount-ro / --chdir / --"
SETPRIV = """
/usr/bin/setpriv --reuid 61001 --regid 61000 --groups 61000,61100,61200,61300
--inh-caps -all --ambient-caps -all --bounding-set -all --no-new-privs --
"""
ENTER = "/opt/hub/bin/python -I -S /run/nbplatform/enter.py 9 7"


def words(*parts: str) -> list[str]:
    """Split texts at white space."""
    return " ".join(parts).split()


def test_as_root_the_system_follows_the_storage_and_setpriv_runs_inside() -> None:
    """The whole command line: storage, then the system over it; it holds no command and no environment."""
    plan = server_plan(SERVER, [CVMFS, HOME], env={"JUPYTERHUB_API_TOKEN": "t0ken"})
    assert list(sandbox_argv(plan, VIEW, "/run/s", FILES)) == words(
        f"/usr/bin/bwrap {ISOLATED}",
        "--ro-bind /run/s/stage/0 /cvmfs --perms 0755 --dir /home --bind /run/s/stage/1 /home/alice",
        SYSTEM_STEPS,
        END,
        SETPRIV,
        ENTER,
    )


def test_an_ordinary_user_gets_a_user_namespace_in_place_of_setpriv() -> None:
    """The whole command line of mode ``userns``: the account's numbers are those of the user namespace."""
    view = replace(VIEW, mode="userns", setpriv="")
    assert list(sandbox_argv(server_plan(SERVER), view, "/run/s", FILES)) == words(
        f"/usr/bin/bwrap --unshare-user --uid 61001 --gid 61000 {ISOLATED}", SYSTEM_STEPS, END, ENTER
    )


def steps(*mounts: Mount, hidden: tuple[str, ...] = (), gpus: tuple[str, ...] = ()) -> str:
    """Return the arguments that make a view, as one text."""
    argv = sandbox_argv(server_plan(SERVER, mounts, hidden=hidden, gpus=gpus), VIEW, "/run/s", FILES)
    return " ".join(argv)


ORDERED = {
    "parents before children": (
        [Mount("/b", "/sps/atlas"), Mount("/a", "/sps")],
        ["--bind /run/s/stage/0 /sps", "--bind /run/s/stage/1 /sps/atlas"],
    ),
    "storage in the user's own folder comes before the system": (
        [HOME, Mount("/a", "/home/alice/lib")],
        ["/stage/1 /home/alice/lib", "--ro-bind /usr /usr"],
    ),
    "storage within the system comes after it": (
        [Mount("/sw", "/usr/local/sw")],
        ["--ro-bind /usr /usr", "--bind /run/s/stage/0 /usr/local/sw"],
    ),
    "storage within a fresh folder comes after it": (
        [Mount("/scratch", "/tmp/scratch")],
        ["--tmpfs /tmp", "/stage/0 /tmp/scratch"],
    ),
    "an optional mount may be missing": (
        [Mount("/a", "/a", optional=True), Mount("/b", "/b", read_only=True, optional=True)],
        ["--bind-try /run/s/stage/0 /a", "--ro-bind-try /run/s/stage/1 /b"],
    ),
}


@pytest.mark.parametrize(("mounts", "in_order"), ORDERED.values(), ids=ORDERED)
def test_mounts_come_in_an_order_in_which_none_covers_another(mounts: list[Mount], in_order: list[str]) -> None:
    """Each text stands in the command line, one after the other."""
    text = steps(*mounts)
    places = [text.find(part) for part in in_order]
    assert -1 not in places
    assert places == sorted(places)


def test_a_mount_in_place_of_the_fresh_tmp_replaces_it() -> None:
    """What the plan mounts on a target of the view's own is there alone."""
    text = steps(Mount("/scratch", "/tmp"))
    assert "--bind /run/s/stage/0 /tmp " in text
    assert "--tmpfs /tmp" not in text


def test_only_granted_gpus_get_device_nodes() -> None:
    """A granted GPU brings its node and the common ones; without one there is none."""
    assert "nvidia" not in steps()
    text = steps(gpus=("GPU-2",))
    assert "--dev-bind-try /dev/nvidia1 /dev/nvidia1" in text
    assert "--dev-bind-try /dev/nvidiactl /dev/nvidiactl" in text
    assert "nvidia0" not in text


SYSTEM_TARGETS = {
    "the root": "/",
    "usr": "/usr",
    "programs": "/usr/bin",
    "libraries": "/usr/lib/x86_64-linux-gnu",
    "a link to programs": "/bin",
    "etc": "/etc",
    "the loader's list": "/etc/ld.so.preload",
    "the accounts": "/etc/passwd",
    "proc": "/proc/self",
    "devices": "/dev",
    "sys": "/sys/fs/cgroup",
    "where the view makes a folder": "/run",
    "where it makes another": "/var",
    "the lines before the server": "/run/nbplatform",
    "a file of theirs": "/run/nbplatform/enter.py",
    "a folder beside them": "/run/nbplatform/data",
}


@pytest.mark.parametrize("target", SYSTEM_TARGETS.values(), ids=SYSTEM_TARGETS)
def test_a_mount_over_the_system_is_refused(target: str) -> None:
    """What root runs inside before the server must come from the system, whatever a rule says."""
    with pytest.raises(Refusal, match="part of the system") as caught:
        stage(server_plan(SERVER, [Mount("/sps/atlas", target)]), VIEW.folders)
    assert caught.value.reason == "storage"


@pytest.mark.parametrize(
    "target",
    [
        *("/usr/local", "/usr/share/fonts", "/etc/krb5.conf", "/dev/shm", "/usrlocal", "/srv"),
        *("/run/data", "/run/nbplatform2", "/var/data"),
    ],
)
def test_a_mount_beside_what_root_runs_is_fine(target: str) -> None:
    """Sites mount software below ``/usr/local`` and single files of ``/etc``."""
    assert [thing.target for thing in stage(server_plan(SERVER, [Mount("/x", target)]), VIEW.folders)] == [target]


def test_staged_things_know_what_they_lie_in() -> None:
    """Parents first, the nearest one named; hidden targets only where something would show them."""
    mounts = [HOME, CVMFS, Mount("/a", "/home/alice/a"), Mount("/krb5.conf", "/etc/krb5.conf", read_only=True)]
    hidden = ["/cvmfs/secret", "/etc/munge", "/nowhere", "/home/alice/a/b"]
    mask: tuple[bool, Literal["private"], bool] = (True, "private", True)
    assert stage(server_plan(SERVER, mounts, hidden=hidden), VIEW.folders) == (
        Staged("/cvmfs", "/cvmfs", True, "rslave", False, None),
        Staged(None, "/cvmfs/secret", *mask, 0),
        Staged("/krb5.conf", "/etc/krb5.conf", True, "private", False, SYSTEM),
        Staged(None, "/etc/munge", *mask, SYSTEM),
        Staged("/export/alice", "/home/alice", False, "private", False, None),
        Staged("/a", "/home/alice/a", False, "private", False, 4),
        Staged(None, "/home/alice/a/b", *mask, 5),
    )


def test_an_environment_within_planned_storage_is_named() -> None:
    """Storage mounted over the place where the server's Python lies has to show it, else the start is refused."""
    staged = stage(server_plan(SERVER, [Mount("/opt2", "/opt")]), VIEW.folders)
    assert needed(staged, ("/opt/hub", "/srv/hub")) == (("/opt/hub", 0),)


def test_the_plan_decides_the_environment_and_a_login_fills_it() -> None:
    """Exactly the plan's variables, and those of a login that it does not set."""
    plan = server_plan(SERVER, env={"SHELL": "/bin/zsh", "TOKEN": "t0ken"})
    assert server_env(plan, "/home/alice", "/usr/bin") == {
        "HOME": "/home/alice",
        "USER": "alice",
        "LOGNAME": "alice",
        "SHELL": "/bin/zsh",
        "PATH": "/usr/bin",
        "TOKEN": "t0ken",
    }


@dataclass(frozen=True)
class Machine:
    """As much of a machine as groups depend on."""

    mode: Literal["root", "userns", "plain"]
    gids: frozenset[int]


UNGRANTED = {
    "root grants all": ("root", {0}, ()),
    "a user namespace grants the primary one": ("userns", {500}, ("atlas", "ml-2026")),
    "the hub's own groups stay": ("userns", {500, 61200}, ("atlas",)),
    "without a namespace only the hub's own": ("plain", {61100}, ("ml-2026", "physics")),
}


@pytest.mark.parametrize(("mode", "gids", "expected"), UNGRANTED.values(), ids=UNGRANTED)
def test_groups_that_cannot_be_granted_are_listed(
    mode: Literal["root", "userns", "plain"], gids: set[int], expected: tuple[str, ...]
) -> None:
    """By name, in name order."""
    assert ungranted_groups(server_plan(SERVER), Machine(mode, frozenset(gids))) == expected


def test_the_generated_files_name_the_account_and_all_its_groups() -> None:
    """The primary group first; a group without a usable name gets one, so that no number stays without."""
    assert etc_files(ALICE) == {
        "passwd": "alice:x:61001:61000:alice:/home/alice:/bin/bash\n"
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "group": "physics:x:61000:alice\natlas:x:61100:alice\nml-2026:x:61200:alice\ngid61300:x:61300:alice\n"
        "root:x:0:\nnogroup:x:65534:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    }


def test_two_names_of_one_gid_are_both_there_and_the_primary_one_is_found_first() -> None:
    """``id -gn`` shows the first line of a gid."""
    identity = Identity("bob", 61002, 61000, {"aaa": 61000, "physics": 61000}, "physics", "/home/bob")
    assert etc_files(identity)["group"].startswith("physics:x:61000:bob\naaa:x:61000:bob\n")


@pytest.mark.parametrize("field", ["home", "shell"])
def test_a_colon_in_a_path_of_the_account_is_refused(field: str) -> None:
    """It would begin the next field of ``passwd``."""
    identity = replace(ALICE, **{field: "/home/a:b"})
    with pytest.raises(Refusal, match="holds a colon"):
        etc_files(identity)
