"""A plan as a process of this machine: its numbers, its view, its limits, its end."""

# The event loop of a test has nothing else to do:
# ruff: noqa: ASYNC220, ASYNC221, ASYNC240

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.hosts.local_helper import Progress, read_progress
from nbplatform_spawners.hosts.local_process import (
    LaunchError,
    LocalProcess,
    find_running,
    launch,
    listener_uid,
    log_tail,
    status,
    stop,
    trim_log,
)
from nbplatform_spawners.hosts.proc import boot_id, process_info
from nbplatform_spawners.mounts import Mount
from tests.local.conftest import SERVER_ID, Workshop, ended, until_listed
from tests.local.plans import ALICE, server_plan


def printed(output: str) -> dict[str, str]:
    """Return the lines ``name=value`` that a script printed."""
    return dict(line.split("=", 1) for line in output.splitlines())


# who the server is


async def test_a_server_has_the_accounts_numbers_and_their_names(workshop: Workshop) -> None:
    """Uid, gid and every supplementary group, and each has a name although the machine has no such account."""
    code, output = await workshop.run(
        workshop.script("echo ids=$(id -u) $(id -g) $(id -G); echo names=$(whoami) $(id -gn) $(id -Gn); echo at=$(pwd)")
    )
    assert code == 0
    assert printed(output) == {
        "ids": "61001 61000 61000 61100 61200 61300",
        "names": "alice physics physics atlas ml-2026 gid61300",
        "at": "/home/alice",
    }


async def test_a_server_has_no_capability_and_cannot_get_one(workshop: Workshop) -> None:
    """All five sets are empty, and no program run later brings any back."""
    _, output = await workshop.run(workshop.script("grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d ':\t ' "))
    none = "0" * 16
    assert output.split() == [*(f"Cap{kind}{none}" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")), "NoNewPrivs1"]


KEYRING_HUB = """
import asyncio, ctypes, os, sys
from pathlib import Path
from nbplatform_spawners.hosts.local_machine import probe_machine
from nbplatform_spawners.hosts.local_process import launch, log_tail, status
from tests.local.plans import server_plan
keyctl, add_key = {"x86_64": (250, 248), "aarch64": (219, 217)}.get(os.uname().machine, (-1, -1))
libc = ctypes.CDLL(None)
if libc.syscall(keyctl, 1, b"hub", 0, 0, 0) < 0:
    sys.exit("this kernel gives no session keyring")
key = libc.syscall(add_key, b"user", b"hub-secret", b"s3cret", 6, -3)
inside = f'''
import ctypes
libc = ctypes.CDLL(None)
held = ctypes.create_string_buffer(64)
print("keys", libc.syscall({keyctl}, 11, -3, held, 64))  # bytes that the session keyring lists
print("read", libc.syscall({keyctl}, 11, {key}, held, 64))
print("seen", "hub-secret" in open("/proc/keys").read())
print("own", libc.syscall({add_key}, b"user", b"mine", b"x", 1, -3) > 0)
'''
async def main():
    folder = Path(sys.argv[1])
    process = await launch(server_plan((sys.executable, "-c", inside)), probe_machine(), folder, "alice")
    while status(process) is None:
        await asyncio.sleep(0.02)
    print(log_tail(folder))
    print("hub", libc.syscall(keyctl, 11, key, ctypes.create_string_buffer(64), 64))
asyncio.run(main())
"""


async def test_a_server_has_a_session_keyring_of_its_own(workshop: Workshop) -> None:
    """The hub's holds keys that only root may read, and would be a place where all users meet."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KEYRING_HUB, workshop.directory()], capture_output=True, cwd=root, text=True
    )
    if "no session keyring" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["keys 0", "read -1", "seen False", "own True", "hub 6"]


async def test_what_a_server_writes_belongs_to_the_account(workshop: Workshop) -> None:
    """On the host, also with the group of a group's storage."""
    atlas = Mount(str(workshop.folder / "sps/atlas"), "/sps/atlas")
    code, _ = await workshop.run(workshop.script("touch ~/mine /sps/atlas/ours", atlas))
    mine, ours = (os.stat(workshop.folder / name) for name in ("home/alice/mine", "sps/atlas/ours"))
    assert code == 0
    assert (mine.st_uid, mine.st_gid, ours.st_uid, ours.st_gid) == (61001, 61000, 61001, 61100)


async def test_a_server_has_processes_of_its_own_alone(workshop: Workshop) -> None:
    """Its own process ids, no open file but the three usual ones, and a terminal that works."""
    script = "import os; print('pids', sum(map(str.isdigit, os.listdir('/proc'))), sep='=');"
    script += "print('files', os.listdir('/proc/self/fd'), sep='='); print('tty', os.ttyname(os.openpty()[1]), sep='=')"
    _, output = await workshop.run(server_plan((sys.executable, "-c", script), [workshop.home]))
    assert printed(output) == {"pids": "2", "files": "['0', '1', '2', '3']", "tty": "/dev/pts/0"}


# its environment


async def test_the_environment_is_the_plans_and_that_of_a_login(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the hub's, and what makes programs load code reaches the server but nothing that root runs."""
    monkeypatch.setenv("HUB_SECRET", "s3cret")
    env = {"TOKEN": "t0ken", "LD_LIBRARY_PATH": "/home/alice/lib", "odd.name": "a\nb", "PATH": "/usr/bin:/bin"}
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    _, output = await workshop.run(server_plan(("python3", "-I", "-S", "-c", script), [workshop.home], env=env))
    found = json.loads(output)
    found.pop("LC_CTYPE", None)  # Python's own, in a locale it does not know
    assert found == {"HOME": "/home/alice", "USER": "alice", "LOGNAME": "alice", "SHELL": "/bin/bash", **env}


async def test_no_secret_is_in_a_command_line_or_in_a_file(workshop: Workshop) -> None:
    """Of the whole tree of processes only the server holds it, in its environment."""
    process = await workshop.start(workshop.script(": > ~/ready; sleep 60; :", env={"TOKEN": "t0ken-in-env"}))
    await until_listed(workshop.folder / "home/alice", "ready")
    group = os.getpgid(process.pid)
    members = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _group_of(pid) == group]
    shown = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in members)
    holders = [pid for pid in members if b"t0ken-in-env" in Path(f"/proc/{pid}/environ").read_bytes()]
    assert len(members) >= 3
    assert b"t0ken-in-env" not in shown
    assert process.pid not in holders
    assert process.server_pid in holders
    files = [path for path in Path(process.directory).iterdir() if path.is_file()]
    assert not [path for path in files if b"t0ken" in path.read_bytes()]
    assert {path.stat().st_mode & 0o777 for path in files if path.name in ("server.log", "status")} == {0o600}


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


# its view


async def test_a_server_sees_nobody_elses_storage(workshop: Workshop) -> None:
    """Neither other homes nor other groups' storage nor the folders where they lie on the host; no secret of /etc."""
    script = "ls -A /home; for path in /root/.ssh /srv /mnt /opt /sps /var/log %s; do [ -e $path ] && echo $path; done"
    script += "; cat /etc/shadow; ls -A /etc/ssl/private 2>/dev/null; ls -A /tmp | grep -v venv | grep nbp; ls -A /var"
    _, output = await workshop.run(workshop.script(script % workshop.folder))
    assert output.split() == ["alice", "tmp"]


async def test_the_system_and_read_only_storage_cannot_be_written(workshop: Workshop) -> None:
    """Also where the permissions would allow it."""
    open_to_all = workshop.storage("open", 0, 0, 0o777)
    script = "for folder in /cvmfs / /etc /usr/local/bin /run; do touch $folder/x && echo wrote $folder; done; true"
    code, output = await workshop.run(workshop.script(script, Mount(str(open_to_all), "/cvmfs", read_only=True)))
    assert code == 0
    assert "wrote" not in output
    assert output.count("Read-only file system") == 5
    assert list(open_to_all.iterdir()) == []


async def test_every_server_has_a_tmp_of_its_own(workshop: Workshop) -> None:
    """What one writes there is neither on the host nor with the other."""
    script = "ls /tmp /var/tmp /dev/shm | grep mark; touch /tmp/mark /var/tmp/mark /dev/shm/mark && echo made"
    assert (await workshop.run(workshop.script(script)))[1] == "made"
    assert (await workshop.run(workshop.script(script)))[1] == "made"


async def test_storage_in_storage_is_mounted_parents_first(workshop: Workshop) -> None:
    """A missing folder for it is made as the user, never as root."""
    workshop.storage("inner", 61001, 61000, 0o755)
    inner = Mount(str(workshop.folder / "inner"), "/home/alice/sps/inner")
    code, _ = await workshop.run(workshop.script("touch ~/sps/inner/x ~/sps/y", inner))
    made = workshop.folder / "home/alice/sps"
    assert code == 0
    assert (workshop.folder / "inner/x").exists()
    assert sorted(path.name for path in made.iterdir()) == ["inner", "y"]
    assert {os.stat(path).st_uid for path in (made, made / "inner")} == {61001}


async def test_no_folder_is_made_in_storage_that_is_read_only(workshop: Workshop) -> None:
    """The start is refused, with the target, and the storage stays as it was."""
    cvmfs = Mount(str(workshop.folder / "cvmfs"), "/cvmfs", read_only=True)
    inner = Mount(str(workshop.folder / "sps/atlas"), "/cvmfs/atlas")
    with pytest.raises(Refusal, match="/cvmfs/atlas cannot be mounted: its folder does not exist") as caught:
        await workshop.start(workshop.script("true", cvmfs, inner))
    assert caught.value.reason == "storage"
    assert list((workshop.folder / "cvmfs").iterdir()) == []


async def test_a_single_file_can_be_mounted(workshop: Workshop) -> None:
    """Over a file of the system too."""
    file = workshop.folder / "hosts"
    file.write_text("127.0.0.1 fresh\n")
    _, output = await workshop.run(workshop.script("cat /etc/hosts", Mount(str(file), "/etc/hosts", read_only=True)))
    assert output == "127.0.0.1 fresh"


async def test_hidden_folders_are_empty_and_stay_so(workshop: Workshop) -> None:
    """A folder, a file, and one of the system; a hidden target that is not there changes nothing."""
    (workshop.folder / "cvmfs/secret").mkdir()
    (workshop.folder / "cvmfs/secret/key").write_text("k3y")
    (workshop.folder / "cvmfs/note").write_text("k3y")
    cvmfs = Mount(str(workshop.folder / "cvmfs"), "/cvmfs")
    hidden = ["/cvmfs/secret", "/cvmfs/note", "/cvmfs/missing", "/usr/share/doc"]
    script = "ls -A /cvmfs/secret /usr/share/doc | grep -v :; cat /cvmfs/note; touch /cvmfs/secret/x; ls /cvmfs"
    _, output = await workshop.run(workshop.script(script, cvmfs, hidden=hidden))
    assert "k3y" not in output
    assert output.split("\n")[-2:] == ["note", "secret"]
    assert "Read-only file system" in output
    assert not (workshop.folder / "cvmfs/missing").exists()


async def test_later_mounts_of_the_host_reach_rslave_alone(workshop: Workshop, shared_folder: Path) -> None:
    """Each mount has the propagation that the plan says, in both directions."""
    slave = Mount(str(shared_folder), "/slave", read_only=True, propagation="rslave")
    private = Mount(str(shared_folder), "/private", read_only=True)
    process = await workshop.start(workshop.script("sleep 60", slave, private))
    inside = Path(f"/proc/{process.server_pid}/root")
    (shared_folder / "repo").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", shared_folder / "repo"], check=True)
    (shared_folder / "repo/data").touch()
    await until_listed(inside / "slave/repo", "data")
    assert os.listdir(inside / "private/repo") == []
    subprocess.run(["umount", shared_folder / "repo"], check=True)
    assert os.listdir(inside / "slave/repo") == []
    (shared_folder / "repo").rmdir()


# what is refused


@pytest.mark.parametrize("name", ["nowhere", "cvmfs/nowhere/deep"])
async def test_missing_storage_is_refused_and_nothing_is_made(workshop: Workshop, name: str) -> None:
    """The source is named; neither it nor a process nor a control group is left."""
    missing = workshop.folder / name
    with pytest.raises(Refusal, match=f"{missing} does not exist on this machine") as caught:
        await workshop.start(workshop.script("true", Mount(str(missing), "/data")))
    assert caught.value.reason == "storage"
    assert not missing.exists()
    for tree in workshop.machine.cgroups:
        assert not list(Path(tree.base, "nbplatform").glob(f"{SERVER_ID}-*"))


async def test_optional_storage_is_left_out_when_missing(workshop: Workshop) -> None:
    """Also when something else would lie within it."""
    optional = Mount(str(workshop.folder / "nowhere"), "/data", optional=True)
    inner = Mount(str(workshop.folder / "cvmfs"), "/data/inner", read_only=True)
    _, output = await workshop.run(workshop.script("[ -e /data ] || echo absent", optional))
    assert output == "absent"
    code, _ = await workshop.run(workshop.script("ls /data/inner", optional, inner))
    assert code == 0
    assert not (workshop.folder / "nowhere").exists()


def link_in_home(workshop: Workshop) -> str:
    """A link of the user's own."""
    (workshop.folder / "home/alice/data").symlink_to(workshop.folder / "home/other")
    os.lchown(workshop.folder / "home/alice/data", 61001, 61000)
    return "home/alice/data"


def link_on_the_way(workshop: Workshop) -> str:
    """The same, before the end of the path."""
    return link_in_home(workshop) + "/deeper"


def roots_link_moved_by_the_user(workshop: Workshop) -> str:
    """A link of root's that the user may have moved here."""
    (workshop.folder / "home/alice/data").symlink_to("/etc")
    return "home/alice/data"


def roots_link_moved_by_a_group(workshop: Workshop) -> str:
    """A link of root's in a folder of root's in which a group may write, and so may have moved it here."""
    (workshop.folder / "sps/atlas/data").symlink_to("/etc")
    return "sps/atlas/data"


PLANTED = [link_in_home, link_on_the_way, roots_link_moved_by_the_user, roots_link_moved_by_a_group]


@pytest.mark.parametrize("plant", PLANTED)
async def test_a_link_that_a_user_could_plant_is_not_followed(workshop: Workshop, plant: object) -> None:
    """Root would follow it to anybody's files."""
    (workshop.folder / "home/other/deeper").mkdir()
    source = workshop.folder / plant(workshop)  # type: ignore[operator]
    with pytest.raises(Refusal, match="symbolic link 'data'") as caught:
        await workshop.start(workshop.script("true", Mount(str(source), "/data")))
    assert caught.value.reason == "storage"


SWAPS = """
import os, sys
os.chdir(sys.argv[1])
print(flush=True)
while True:
    for name in ("folder", "link"):
        os.rename(name, "data")
        os.rename("data", name)
"""


async def test_a_link_swapped_in_while_a_server_starts_shows_nothing_of_others(workshop: Workshop) -> None:
    """What was checked is what is mounted: each start is refused, or shows the user's own folder."""
    home = workshop.folder / "home/alice"
    (home / "folder").mkdir()
    (home / "folder/mine").touch()
    (workshop.folder / "home/other/private").touch()
    (home / "link").symlink_to(workshop.folder / "home/other")
    os.lchown(home / "link", 61001, 61000)
    shown = set()
    with subprocess.Popen([sys.executable, "-c", SWAPS, home], stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None
        attacker.stdout.readline()
        for _ in range(15):
            try:
                shown.add((await workshop.run(workshop.script("ls /data", Mount(str(home / "data"), "/data"))))[1])
            except Refusal as refusal:
                shown.add(refusal.reason)
        attacker.kill()
    assert shown <= {"mine", "storage"}


async def test_a_link_of_the_administrators_is_followed(workshop: Workshop) -> None:
    """Absolute or relative, as sites move their storage; it must stand where nobody else may write."""
    (workshop.folder / "cvmfs/here").touch()
    (workshop.folder / "absolute").symlink_to(workshop.folder / "cvmfs")
    (workshop.folder / "sps/relative").symlink_to("../absolute")
    _, output = await workshop.run(workshop.script("ls /data", Mount(str(workshop.folder / "sps/relative"), "/data")))
    assert output == "here"


async def test_a_link_in_place_of_a_target_is_refused(workshop: Workshop) -> None:
    """A user's link must not choose where storage is mounted."""
    (workshop.folder / "home/alice/sps").symlink_to("../../usr")
    atlas = Mount(str(workshop.folder / "sps/atlas"), "/home/alice/sps/lib")
    with pytest.raises(Refusal, match="/home/alice/sps/lib cannot be mounted"):
        await workshop.start(workshop.script("true", atlas))


async def test_a_device_is_no_storage(workshop: Workshop) -> None:
    """Only folders and files are mounted."""
    with pytest.raises(Refusal, match="neither a folder nor a file"):
        await workshop.start(workshop.script("true", Mount("/dev/zero", "/data")))


async def test_a_command_that_is_not_there_is_told(workshop: Workshop) -> None:
    """By name, and nothing is left running."""
    with pytest.raises(LaunchError, match="'no-such-program' is no program that this server can run"):
        await workshop.start(server_plan(("no-such-program",), [workshop.home]))


CANNOT_RUN = {
    "no such interpreter": ("#!/nowhere/python\n", 0, "No such file or directory"),
    "no program at all": ("print(1)\n", 0, "Exec format error"),
    "a variable that is too long": ("#!/bin/sh\n", 1, "Argument list too long"),
    "too many variables": ("#!/bin/sh\n", 40, "Argument list too long"),
}


@pytest.mark.parametrize(("text", "variables", "why"), CANNOT_RUN.values(), ids=CANNOT_RUN)
async def test_a_command_that_cannot_be_executed_is_told_each_time(
    workshop: Workshop, text: str, variables: int, why: str
) -> None:
    """Its process is there already when the kernel refuses: whoever looks at that moment must look again."""
    program = workshop.folder / "home/alice/program"
    program.write_text(text)
    program.chmod(0o755)
    env = {f"V{number}": "x" * (200_000 // variables + 90_000) for number in range(variables)}
    plan = server_plan(("/home/alice/program",), [workshop.home], env=env)
    for _ in range(5):
        with pytest.raises(LaunchError, match=f"^cannot start the server: .*{why}"):
            await workshop.start(plan)


async def test_a_memory_limit_in_which_nothing_starts_is_told(workshop: Workshop) -> None:
    """In place of a log that is empty."""
    if not workshop.machine.can_limit:
        pytest.skip("limits cannot be written here")
    with pytest.raises(LaunchError, match="cannot be started with 1 KiB of memory: that limit is too small"):
        await workshop.start(workshop.script("true", memory=1024))


async def test_a_sandbox_that_dies_at_once_shows_the_end_of_its_log(workshop: Workshop) -> None:
    """What bubblewrap said is in the error."""
    assert workshop.machine.view is not None
    broken = replace(workshop.machine, view=replace(workshop.machine.view, resolver="/nowhere/resolv.conf"))
    with pytest.raises(LaunchError, match=r"Can't find source path /nowhere/resolv\.conf"):
        await launch(workshop.script("true"), broken, workshop.directory(), "alice")


async def test_storage_over_the_resolvers_file_must_show_it(workshop: Workshop) -> None:
    """Root would make the file in the storage; the start is refused and the storage stays as it was."""
    assert workshop.machine.view is not None
    resolver = workshop.storage("resolve", 0, 0, 0o755) / "resolv.conf"
    resolver.touch()
    machine = replace(workshop.machine, view=replace(workshop.machine.view, resolver=str(resolver)))
    over = Mount(str(workshop.folder / "home/other"), str(resolver.parent))
    with pytest.raises(Refusal, match="hides a part of the server's own environment"):
        await launch(workshop.script("true", over), machine, workshop.directory(), SERVER_ID)
    assert list((workshop.folder / "home/other").iterdir()) == []


async def test_a_machine_with_a_problem_starts_nothing(workshop: Workshop) -> None:
    """As root without bubblewrap no server runs unprotected."""
    without = replace(workshop.machine, view=None, problem="No server can be started: bubblewrap is missing")
    with pytest.raises(LaunchError, match="bubblewrap is missing"):
        await launch(workshop.script("true"), without, workshop.directory(), "alice")


# its end


async def test_a_server_that_exits_gives_its_status(workshop: Workshop) -> None:
    """And what it left running is ended with it."""
    process = await workshop.start(workshop.script("setsid sleep 1000 & exit 7"))
    assert await ended(process) == 7
    assert await stop(process, 0)
    info = process_info(process.pid)
    assert info is None or info.state == "Z"


async def test_a_killed_server_has_ended(workshop: Workshop) -> None:
    """``kill -9`` from outside is seen, with 128 and the signal's number."""
    process = await workshop.start(workshop.script("exec sleep 1000"))
    assert status(process) is None
    os.kill(process.server_pid, 9)
    assert await ended(process) == 137


async def test_a_server_is_asked_before_it_is_killed(workshop: Workshop) -> None:
    """It may write what it has; its own exit status is kept."""
    script = "trap 'echo bye > ~/bye; exit 3' TERM; touch ~/ready; while :; do sleep 0.05; done"
    process = await workshop.start(workshop.script(script))
    await until_listed(workshop.folder / "home/alice", "ready")
    assert await stop(process, 10)
    assert status(process) == 3
    assert (workshop.folder / "home/alice/bye").read_text() == "bye\n"


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("/home/alice/ready", "w").close()
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


async def test_a_stop_leaves_no_process(workshop: Workshop) -> None:
    """Neither one that ignores the request nor one that left its parent and session; the control groups go as well."""
    process = await workshop.start(server_plan((sys.executable, "-c", STUBBORN), [workshop.home]))
    await until_listed(workshop.folder / "home/alice", "ready")
    space = os.readlink(f"/proc/{process.server_pid}/ns/pid")
    assert len(in_pid_namespace(space)) >= 2
    assert await stop(process, 0.2)
    assert in_pid_namespace(space) == []
    assert status(process) == 137
    assert not [group for group in process.cgroups if Path(group).exists()]
    assert await stop(process, 0.2)


def in_pid_namespace(space: str) -> list[int]:
    """Return the processes of a process id namespace."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        info = process_info(pid)
        try:
            if info is not None and info.state not in "ZX" and os.readlink(f"/proc/{pid}/ns/pid") == space:
                found.append(pid)
        except OSError:
            continue
    return found


HUB = """
import asyncio, json, sys
from pathlib import Path
from nbplatform_spawners.hosts.local_machine import probe_machine
from nbplatform_spawners.hosts.local_process import launch
from tests.local.plans import server_plan
async def main():
    process = await launch(server_plan(("/bin/sleep", "1000")), probe_machine(), Path(sys.argv[1]), "alice")
    print(json.dumps(process.to_state()), flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


async def test_a_server_outlives_the_hub_and_is_found_again(workshop: Workshop) -> None:
    """``kill -9`` of the process that started it changes nothing; its state is enough to find, ask and end it."""
    root = Path(__file__).parents[2]
    hub = subprocess.Popen(
        [sys.executable, "-c", HUB, workshop.directory()], stdout=subprocess.PIPE, cwd=root, start_new_session=True
    )
    with hub:
        assert hub.stdout is not None
        state = json.loads(hub.stdout.readline())
        hub.kill()
    process = LocalProcess.from_state(state)
    assert process is not None
    workshop.started.append(process)
    assert process.to_state() == state
    assert find_running(Path(process.directory)) == process
    assert status(process) is None
    assert await stop(process, 10)
    assert status(process) == 143


RUNS = b'{"child-pid": %d}\n{"server-pid": 2}\n'
DAMAGED = {
    "a number": (b"5\n", 0),
    "a list": (b"[1]\n", 0),
    "pairs": (b'[["exit-code", 3]]\n', 0),
    "null": (b"null\n", 0),
    "text": (b'"exit-code"\n', 0),
    "text for a number": (b'{"exit-code": "x"}\n', 0),
    "a truth for a number": (b'{"exit-code": true}\n', 0),
    "a fraction": (b'{"exit-code": 1.5}\n', 0),
    "a negative number": (b'{"exit-code": -1}\n', 0),
    "a number that no process ends with": (b'{"exit-code": %d}\n' % 2**70, 0),
    "a number of 5,000 digits": (b'{"exit-code": ' + b"7" * 5000 + b"}\n", 0),
    "nested deeply": (b"[" * 60_000, 0),
    "nested deeply in an object": (b'{"exit-code": ' + b'{"a":' * 10_000, 0),
    "not UTF-8": (b"\xff\xfe\0\n", 0),
    "half written": (b'{"exit-co', 0),
    "nothing": (b"", 0),
    "damage before what counts": (b'null\n[1]\n\xff\n{"exit-code": 3}\n', 3),
    "what counts behind a flood": (b"x" * 10_000_000 + b'\n{"exit-code": 3}\n', 0),
}


@pytest.mark.parametrize(("damage", "code"), DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_status_file_is_an_unknown_exit_status(tmp_path: Path, damage: bytes, code: int) -> None:
    """It never raises and never returns anything but a number: an error would make the hub forget the server."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    (tmp_path / "status").write_bytes(RUNS % (gone.pid + 1) + damage)
    process = LocalProcess(gone.pid, 1, gone.pid, 1, boot_id(), str(tmp_path))
    assert status(process) == code
    assert await stop(process, 0)


NO_NUMBERS = {
    "text": b'{"child-pid": "7", "server-pid": "8", "refused": 1, "failed": ["x"]}',
    "truths": b'{"child-pid": true, "server-pid": false, "refused": null, "failed": false}',
    "objects": b'{"child-pid": {}, "server-pid": [], "refused": {}, "failed": {}}',
}


@pytest.mark.parametrize("said", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_progress_of_another_type_is_not_said(tmp_path: Path, said: bytes) -> None:
    """Numbers are numbers and sentences are text, or nothing."""
    (tmp_path / "status").write_bytes(said)
    assert read_progress(tmp_path) == Progress()


async def test_a_status_file_that_cannot_be_read_is_an_unknown_exit_status(tmp_path: Path) -> None:
    """Neither a folder in its place nor a missing one raises."""
    (tmp_path / "status").mkdir()
    for folder in (tmp_path, tmp_path / "none"):
        assert read_progress(folder) == Progress()
        assert status(LocalProcess(2**31 - 1, 1, 0, 0, boot_id(), str(folder))) == 0


async def test_another_process_with_the_same_pid_is_not_the_server(workshop: Workshop) -> None:
    """Neither after a reuse of the pid nor after a restart of the machine; and it is not ended by a stop."""
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            info = process_info(stranger.pid)
            assert info is not None
            now = LocalProcess(stranger.pid, info.start_time, stranger.pid, info.start_time, boot_id(), "/nowhere")
            assert status(now) is None
            earlier = info.start_time - 1
            for other in (replace(now, start_time=earlier, server_start_time=earlier), replace(now, boot="another")):
                assert status(other) == 0
                assert await stop(other, 0)
            assert stranger.poll() is None
        finally:
            stranger.kill()


GOOD = LocalProcess(2000, 10, 2001, 11, "boot", "/run/alice", ("/sys/fs/cgroup/x",)).to_state()
GARBAGE = {
    "nothing": None,
    "a number": 7,
    "a list": [GOOD],
    "empty": {},
    "a key too few": {key: value for key, value in GOOD.items() if key != "boot"},
    "text for a pid": {**GOOD, "pid": "2000"},
    "true for a pid": {**GOOD, "pid": True},
    "init": {**GOOD, "pid": 1},
    "a negative pid": {**GOOD, "server_pid": -1},
    "a huge pid": {**GOOD, "pid": 2**80},
    "a number among the groups": {**GOOD, "cgroups": [1]},
    "groups as text": {**GOOD, "cgroups": "/sys"},
    "a pid that no kernel gives": {**GOOD, "pid": 2**40},
    "a folder with a NUL": {**GOOD, "directory": "/run/a\0b"},
    "a group that cannot be encoded": {**GOOD, "cgroups": ["/sys/\ud800"]},
}


def test_a_state_comes_back_as_it_was() -> None:
    """What is written is read; an unknown key of a later version does no harm."""
    assert LocalProcess.from_state({**GOOD, "new": 1}) == LocalProcess(
        2000, 10, 2001, 11, "boot", "/run/alice", ("/sys/fs/cgroup/x",)
    )


@pytest.mark.parametrize("state", GARBAGE.values(), ids=GARBAGE)
def test_a_state_that_is_not_ours_is_none(state: object) -> None:
    """It never raises, whatever a database holds."""
    assert LocalProcess.from_state(state) is None


async def test_the_uid_of_a_servers_listener_is_seen_from_outside(workshop: Workshop) -> None:
    """By which the hub knows that no other user took the port."""
    script = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    plan = server_plan(
        (sys.executable, "-c", f"{script}; open('/home/alice/ready', 'w'); time.sleep(1000)"), [workshop.home]
    )
    process = await workshop.start(plan)
    await until_listed(workshop.folder / "home/alice", "ready")
    assert listener_uid(int(log_tail(Path(process.directory)))) == ALICE.uid


# its limits


async def test_memory_beyond_the_limit_ends_the_server_with_137(workshop: Workshop) -> None:
    """The kernel kills it; the hub and its neighbours go on."""
    if not workshop.machine.can_limit:
        pytest.skip("limits cannot be written here")
    script = "block = bytearray(300 * 2**20); print('had it all')"
    code, output = await workshop.run(server_plan(("python3", "-c", script), [workshop.home], memory=100 * 2**20))
    assert (code, output) == (137, "")


async def test_limits_are_in_force_before_the_server_runs(workshop: Workshop) -> None:
    """The server itself is in its groups, each limit is there, and CPU beyond it is held back."""
    if not workshop.machine.can_limit:
        pytest.skip("limits cannot be written here")
    plan = workshop.script(
        "timeout 1 sh -c 'while :; do :; done'; cat /proc/self/cgroup; sleep 1000", cpu=0.25, memory=2**28
    )
    process = await workshop.start(plan)
    read = {name: value for group in process.cgroups for name, value in _limits(Path(group)).items()}
    expected_v1 = {"memory.limit_in_bytes": str(2**28), "cpu.cfs_quota_us": "25000", "pids.max": "4096"}
    expected_v2 = {"memory.max": str(2**28), "cpu.max": "25000 100000", "pids.max": "4096"}
    assert read in (expected_v1, expected_v2)
    while SERVER_ID not in log_tail(Path(process.directory)):
        assert status(process) is None
    throttled = [path.read_text() for group in process.cgroups for path in Path(group).glob("cpu.stat")]
    assert "nr_throttled 0" not in throttled[0]


def _limits(group: Path) -> dict[str, str]:
    names = ("memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max", "pids.max")
    return {name: (group / name).read_text().strip() for name in names if (group / name).exists()}


# its log


def test_the_end_of_a_log_is_bounded_and_harmless(tmp_path: Path) -> None:
    """Whole lines, control characters and broken text escaped; nothing for a log that is not there."""
    (tmp_path / "server.log").write_bytes(b"long ago\n" + b"x" * 50 + b"\nred \x1b[31m \xff caf\xc3\xa9\r\nend\n")
    assert log_tail(tmp_path, 40) == "red \\x1b[31m \ufffd café\\r\nend"
    assert log_tail(tmp_path / "nowhere") == ""


async def test_a_log_is_emptied_while_the_server_writes_it(workshop: Workshop) -> None:
    """A server that writes without end does not fill the hub's disk: it goes on at the beginning."""
    process = await workshop.start(workshop.script("yes | head -c 100000; touch ~/full; read never; sleep 1000"))
    await until_listed(workshop.folder / "home/alice", "full")
    log = Path(process.directory) / "server.log"
    trim_log(log.parent, 200_000)
    assert log.stat().st_size == 100_000
    trim_log(log.parent, 50_000)
    assert log.stat().st_size == 0


KEEP_SIZE = 1  # fallocate(2)


@pytest.mark.parametrize("printed_bytes", [0, 1200])
def test_blocks_reserved_behind_the_end_of_a_log_are_given_back(tmp_path: Path, printed_bytes: int) -> None:
    """A server's user has the log open, and can make it hold the disk without making it longer."""
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * printed_bytes)
    with log.open("ab") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.fallocate(file.fileno(), KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(2**22)):
            pytest.skip(f"this file system reserves no blocks: {os.strerror(ctypes.get_errno())}")
        assert log.stat().st_size == printed_bytes
        trim_log(tmp_path, 2**23)
        assert log.stat().st_blocks * 512 >= 2**22
        trim_log(tmp_path, 2**21)
        assert log.stat().st_blocks == 0
