"""Where control groups lie, what is written there, and what is left when that fails."""

import os
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.cgroups import (
    LEAF,
    Hierarchy,
    Limits,
    Setting,
    create,
    find_hierarchies,
    memory_limit,
    processes,
    ran_out_of_memory,
    remove,
    settings,
    sweep,
    usable,
)

NOW = 1_800_000_000.0
ALL = ("memory", "cpu", "pids")
V1_MOUNTS = """
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
"""
V1_OWN = "9:name=systemd:/\n8:pids:/hub\n4:memory:/a b/hub\n1:cpu,cpuacct:/\n0::/\n"
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"

FOUND = {
    "version 1, each controller in its own tree": (
        V1_OWN,
        V1_MOUNTS.strip(),
        (
            Hierarchy(1, ("cpu",), "/sys/fs/cgroup/cpu,cpuacct"),
            Hierarchy(1, ("memory",), "/sys/fs/cgroup/memory/a b/hub"),
            Hierarchy(1, ("pids",), "/sys/fs/cgroup/pids/hub"),
        ),
    ),
    "version 2": (
        "0::/system.slice/jupyterhub.service\n",
        V2_MOUNTS,
        (Hierarchy(2, ALL, "/sys/fs/cgroup/system.slice/jupyterhub.service"),),
    ),
    "version 2, the hub in its leaf already": (
        f"0::/system.slice/jupyterhub.service/{LEAF}\n",
        V2_MOUNTS,
        (Hierarchy(2, ALL, "/sys/fs/cgroup/system.slice/jupyterhub.service"),),
    ),
    "a container that sees its own part alone": (
        "4:memory:/docker/0a1b/sub\n",
        "35 31 0:32 /docker/0a1b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        (Hierarchy(1, ("memory",), "/sys/fs/cgroup/memory/sub"),),
    ),
    "a group outside of what is mounted": (
        "4:memory:/../other\n0::/elsewhere\n",
        "35 31 0:32 / /m rw - cgroup cgroup rw,memory\n30 23 0:26 /docker/x /u rw - cgroup2 cgroup2 rw\n",
        (),
    ),
    "a mount point with a blank": (
        "4:memory:/\n",
        r"35 31 0:32 / /cgroup\040v1 rw - cgroup cgroup rw,memory",
        (Hierarchy(1, ("memory",), "/cgroup v1"),),
    ),
    "nothing at all": ("", "", ()),
}


@pytest.mark.parametrize(("own", "mounts", "expected"), FOUND.values(), ids=FOUND)
def test_the_hubs_own_groups_are_found(own: str, mounts: str, expected: tuple[Hierarchy, ...]) -> None:
    """From the texts of ``/proc/self/cgroup`` and ``/proc/self/mountinfo``, whatever a container shows of them."""
    assert find_hierarchies(own, mounts) == expected


FULL = Limits(memory=2**30, cpu=1.5, pids=100)
WRITTEN = {
    "version 1": (
        Hierarchy(1, ALL, "/x"),
        FULL,
        (
            Setting("memory.limit_in_bytes", "1073741824"),
            Setting("memory.memsw.limit_in_bytes", "1073741824", optional=True),
            Setting("cpu.cfs_period_us", "100000"),
            Setting("cpu.cfs_quota_us", "150000"),
            Setting("pids.max", "100"),
        ),
    ),
    "version 2": (
        Hierarchy(2, ALL, "/x"),
        FULL,
        (
            Setting("memory.max", "1073741824"),
            Setting("memory.swap.max", "0", optional=True),
            Setting("cpu.max", "150000 100000"),
            Setting("pids.max", "100"),
        ),
    ),
    "a tree with one controller": (Hierarchy(1, ("pids",), "/x"), FULL, (Setting("pids.max", "100"),)),
    "no limit": (Hierarchy(2, ALL, "/x"), Limits(), ()),
    "less CPU than the kernel knows": (
        Hierarchy(2, ALL, "/x"),
        Limits(cpu=0.001),
        (Setting("cpu.max", "1000 100000"),),
    ),
}


@pytest.mark.parametrize(("tree", "limits", "expected"), WRITTEN.values(), ids=WRITTEN)
def test_limits_become_settings(tree: Hierarchy, limits: Limits, expected: tuple[Setting, ...]) -> None:
    """Swap never adds to the memory; where a kernel does not count it, that file is missing."""
    assert settings(tree, limits) == expected


class PlainFolder:
    """Stands in for a version 2 tree: files keep what is written, and a group is born with its files.

    It does not behave as the kernel does; it shows what is written where.
    """

    def __init__(self, folder: Path) -> None:
        self.tree = Hierarchy(2, ALL, str(folder))
        for group in (folder, folder / "nbplatform"):
            group.mkdir(exist_ok=True)
            (group / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
            (group / "cgroup.subtree_control").write_text("")
            (group / "cgroup.procs").write_text("")


def test_a_group_of_version_2_is_made_below_the_hubs_with_the_controllers_handed_down(tmp_path: Path) -> None:
    """Both the hub's own group and ours hand the controllers down before a server's group is limited."""
    tree = PlainFolder(tmp_path).tree
    (group,) = create([tree], "alice", Limits(memory=4096))
    assert Path(group).parent == tmp_path / "nbplatform"
    assert Path(group).name.startswith("alice-")
    assert (Path(group) / "memory.max").read_text() == "4096"
    for folder in (tmp_path, tmp_path / "nbplatform"):
        assert (folder / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_two_groups_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """A server that is started anew while its predecessor still ends has a group of its own."""
    tree = PlainFolder(tmp_path).tree
    assert create([tree], "alice", Limits()) != create([tree], "alice", Limits())


def test_what_was_made_is_removed_when_a_later_tree_refuses(tmp_path: Path) -> None:
    """A failed start leaves no group behind."""
    good = PlainFolder(tmp_path).tree
    bad = Hierarchy(1, ("pids",), "/proc/nowhere")
    with pytest.raises(OSError, match="nowhere"):
        create([good, bad], "alice", Limits())
    assert [path.name for path in (tmp_path / "nbplatform").iterdir() if path.is_dir()] == []


def test_only_trees_that_can_be_written_are_usable(tmp_path: Path) -> None:
    """Tried for real, and with the controllers that are really there."""
    tree = PlainFolder(tmp_path).tree
    (tmp_path / "cgroup.controllers").write_text("pids\n")
    assert usable([tree, Hierarchy(1, ("cpu",), "/proc/nowhere")]) == (Hierarchy(2, ("pids",), str(tmp_path)),)
    assert usable([Hierarchy(2, ALL, "/proc/nowhere")]) == ()


def test_what_a_killed_hub_left_is_swept_but_nothing_that_starts_or_runs(tmp_path: Path) -> None:
    """Empty groups of more than a minute go; a folder that is not empty is refused by the kernel, here and there."""
    tree = PlainFolder(tmp_path).tree
    top = tmp_path / "nbplatform"
    for name, age in (("old-1", 61), ("young-1", 59), ("running-1", 3600)):
        (top / name).mkdir()
        if name == "running-1":
            (top / name / "cgroup.procs").write_text("7")
        os.utime(top / name, (NOW - age, NOW - age))
    sweep([tree, Hierarchy(1, ("cpu",), "/proc/nowhere")], NOW)
    assert sorted(path.name for path in top.iterdir() if path.is_dir()) == ["running-1", "young-1"]
    assert (top / "cgroup.procs").exists()


def test_groups_that_are_gone_hold_nothing_and_are_removed_already(tmp_path: Path) -> None:
    """Neither asking nor removing raises."""
    gone = [str(tmp_path / "gone")]
    remove(gone)
    assert processes(gone) == frozenset()
    assert not ran_out_of_memory(gone)


OUT_OF_MEMORY = {
    "version 1, killed": ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
    "version 1, not killed": ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", False),
    "version 2, killed": ("memory.events", "low 0\nmax 12\noom 1\noom_kill 1\n", True),
    "version 2, not killed": ("memory.events", "low 0\nmax 12\noom 1\noom_kill 0\n", False),
}


@pytest.mark.parametrize(("name", "text", "expected"), OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_a_kill_for_memory_is_told_apart(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    """The kernel counts its kills in each group."""
    (tmp_path / name).write_text(text)
    assert ran_out_of_memory([str(tmp_path)]) is expected


def test_the_hubs_own_memory_limit_is_the_smallest_above_it(tmp_path: Path) -> None:
    """A limit of a group holds for all below; ``max`` is none."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (tmp_path / "a" / "memory.max").write_text("1000\n")
    (tmp_path / "memory.max").write_text("2000\n")
    assert memory_limit([Hierarchy(2, ALL, str(inner))]) == 1000
    assert memory_limit([Hierarchy(1, ("pids",), str(inner))]) is None
