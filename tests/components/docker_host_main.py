"""Two small processes that hold what Docker hosts for tests live in; nothing of it outlives them.

``docker_host_main.py lan FOLDER`` is a local network: a network namespace with a bridge, joined to the machine by one
pair of interfaces.  The machine has the address 10.233.N.1/24, with the first N that is free; ``FOLDER/lan`` then
holds N.  Its mount namespace keeps the hosts' disks, which outlive a host that crashes.

``docker_host_main.py host FOLDER NAME LAN_PID ADDRESS CGROUP PREPARE`` is a host on that network: network, mount, PID,
IPC and UTS namespaces around an init process that reaps orphans.  PREPARE, shell commands, runs inside first.
``FOLDER/host`` then holds the pids of the init process and of the one whose end ends the whole host.

Each ends on SIGTERM or with its parent, takes its interfaces with it and removes the control groups below CGROUP.
Started by :mod:`tests.components.docker_fleet` as a script.  It needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
BRIDGE = "lan"
NETWORK = "10.233"
SUBNETS = range(1, 251)
UP_LIMIT = 20.0  # seconds until the namespaces must be there
CLEAN_LIMIT = 5.0  # seconds that control groups may take to become empty
libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send a signal to this process when its parent ends."""
    libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def die_at_once_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    die_with_parent(signal.SIGKILL)


def command(*argv: str) -> str:
    """Run a program and return what it writes.

    Raises:
        subprocess.CalledProcessError: it failed; its own words are in the log.
    """
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def tell(path: Path, text: str) -> None:
    """Write a file in one step, so that a reader never sees half of it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def wait_for_end() -> NoReturn:
    """Sleep until a signal comes."""
    while True:
        signal.pause()


def lan(folder: Path) -> NoReturn:
    """Be the local network."""
    machine = os.getppid()
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "cannot make namespaces")
    command("mount", "--make-rprivate", "/")
    number = join_machine(machine)
    for line in ("set lo up", f"add {BRIDGE} type bridge", f"set uplink master {BRIDGE} up", f"set {BRIDGE} up"):
        command("ip", "link", *line.split())
    tell(folder / "lan", str(number))
    try:
        wait_for_end()
    finally:
        command("ip", "link", "delete", "uplink")  # takes the machine's end with it, at once


def join_machine(machine: int) -> int:
    """Make the pair of interfaces and give the machine its address; returns the subnet's number.

    The kernel refuses a second interface of the same name, so two runs at once never get the same number.
    """
    outside = ("nsenter", f"--net=/proc/{machine}/ns/net", "ip")
    for number in SUBNETS:
        if f"{NETWORK}.{number}." in command(*outside, "-4", "route", "show", "table", "all"):
            continue
        name = f"nbplatform{number}"
        made = ("ip", "link", "add", "uplink", "type", "veth", "peer", "name", name, "netns", str(machine))
        if subprocess.run(made).returncode == 0:
            command(*outside, "address", "add", f"{NETWORK}.{number}.1/24", "dev", name)
            command(*outside, "link", "set", name, "up")
            return number
    raise OSError("no subnet is free")


def host(folder: Path, name: str, lan_pid: int, address: str, cgroup: str, prepare: str) -> None:
    """Be one host, until it crashes or is ended."""
    up = folder / "up"
    up.unlink(missing_ok=True)
    inside = f"set -e; {prepare}\necho {name} > /proc/sys/kernel/hostname; : > '{up}'; exec tini -- sleep infinity"
    namespaces = ("--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")
    process = subprocess.Popen(["unshare", *namespaces, "sh", "-c", inside], preexec_fn=die_at_once_with_parent)
    try:
        wait_until_up(up, process)
        plug_in(name, lan_pid, process.pid, address)
        tell(folder / "host", f"{children(process.pid)[0]} {process.pid}")
        process.wait()
    finally:
        process.kill()
        process.wait()
        (folder / "host").unlink(missing_ok=True)
        remove_cgroups(cgroup)
        subprocess.run(in_lan(lan_pid, "link", "delete", name), stderr=subprocess.DEVNULL)


def wait_until_up(up: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the commands inside have run."""
    limit = time.monotonic() + UP_LIMIT
    while not up.exists():
        if process.poll() is not None or time.monotonic() > limit:
            raise OSError("the host's namespaces cannot be made")
        time.sleep(0.005)


def plug_in(name: str, lan_pid: int, pid: int, address: str) -> None:
    """Join a host to the local network."""
    # The interface of a host that has just crashed may still be there: its namespace is torn down in the background.
    subprocess.run(in_lan(lan_pid, "link", "delete", name), stderr=subprocess.DEVNULL)
    peer = ("type", "veth", "peer", "name", "eth0", "netns", str(pid))
    command(*in_lan(lan_pid, "link", "add", name, *peer))
    command(*in_lan(lan_pid, "link", "set", name, "master", BRIDGE, "up"))
    # A host that is back has the hardware address that it had: others remember it for most of a minute.
    hardware = ":".join(f"{number:02x}" for number in (2, 0, *map(int, address.split("."))))
    inside = f"ip link set eth0 address {hardware}; ip address add {address}/24 dev eth0"
    inside += "; ip link set lo up; ip link set eth0 up"
    command("nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-ec", f"{inside}; echo 1 > /proc/sys/net/ipv4/ip_forward")


def in_lan(lan_pid: int, *arguments: str) -> list[str]:
    """Return the command ``ip`` inside the local network."""
    return ["nsenter", f"--net=/proc/{lan_pid}/ns/net", "ip", *arguments]


def children(pid: int) -> list[int]:
    """Pids of the children that a process's first thread started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def remove_cgroups(name: str) -> None:
    """Remove the control groups of a host, in every hierarchy; a group that stays in use is left."""
    limit = time.monotonic() + CLEAN_LIMIT
    while found := [path for top in cgroup_roots() if (path := top / name).is_dir()]:
        for path in found:
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        if time.monotonic() > limit:
            return
        time.sleep(0.01)


def cgroup_roots() -> list[Path]:
    """Mount points of all control group hierarchies."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(words[1]) for words in mounts if words[2] in ("cgroup", "cgroup2")]


def main(role: str, folder: str, *arguments: str) -> None:
    """Play the role until SIGTERM."""
    die_with_parent()

    def stop(number: int, frame: object) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if role == "lan":
        lan(Path(folder))
    name, lan_pid, address, cgroup, prepare = arguments
    host(Path(folder), name, int(lan_pid), address, cgroup, prepare)


if __name__ == "__main__":
    main(*sys.argv[1:])
