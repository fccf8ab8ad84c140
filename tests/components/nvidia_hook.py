"""Stand-in for NVIDIA's runtime hook: gives a container the GPUs that NVIDIA_VISIBLE_DEVICES names, by UUID or index.

Usage: nvidia_hook.py UUID... (those of this host, in the order of their indices), with the container's OCI state on
standard input.  It makes the device nodes in the container's root and lets its control group use them (version 1 of
control groups only: in version 2 the runtime's own program decides alone).  It needs the standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys
from pathlib import Path

MAJOR = 195
CONTROL_MINOR = 255
CLONE_NEWNS = 0x00020000


def wanted(environment: list[str], uuids: list[str]) -> list[int]:
    """Minor numbers of the GPUs that the container's environment names.

    Raises:
        SystemExit: it names one that this host does not have.
    """
    pairs = dict(entry.split("=", 1) for entry in environment if "=" in entry)
    value = pairs.get("NVIDIA_VISIBLE_DEVICES", "")
    if value in ("", "void", "none"):
        return []
    if value == "all":
        return list(range(len(uuids)))
    known = {**{one: index for index, one in enumerate(uuids)}, **{str(index): index for index in range(len(uuids))}}
    names = value.split(",")
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"nvidia-container-cli: device error: {unknown[0]}: unknown device")
    return [known[name] for name in names]


def allow(pid: int, minors: list[int]) -> None:
    """Let the container's control group use devices."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "devices":
            for minor in minors:
                Path(f"/sys/fs/cgroup/devices{path}/devices.allow").write_text(f"c {MAJOR}:{minor} rw")


def make_nodes(pid: int, root: str, minors: list[int]) -> None:
    """Make device nodes in the container's mount namespace."""
    with open(f"/proc/{pid}/ns/mnt") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the container's mount namespace")
    for minor in minors:
        path = f"{root}/dev/nvidia{'ctl' if minor == CONTROL_MINOR else minor}"
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(MAJOR, minor))
        os.chmod(path, 0o666)


def main(uuids: list[str]) -> None:
    """Give the container its GPUs."""
    state = json.load(sys.stdin)
    config = json.loads(Path(state["bundle"], "config.json").read_text())
    minors = wanted(config["process"].get("env", []), uuids)
    if minors:
        minors.append(CONTROL_MINOR)
        allow(state["pid"], minors)
        make_nodes(state["pid"], config["root"]["path"], minors)


if __name__ == "__main__":
    main([one for one in sys.argv[1:] if one != "prestart"])
