"""The helper process that becomes a server's sandbox: the privileged part, small and on its own.

It joins the server's cgroups, takes a mount namespace of its own, stages what the plan mounts there and becomes
bubblewrap (see ``render/local.py``); in mode ``plain`` it only looks at the sources, and becomes the supervisor.
Standard library only; run as a script, with ``-I -S``, with the numbers of two open files: the specification (one JSON
object) and the status, which takes one JSON object a line.
"""
# pathlib would cost a third of this process's time:
# ruff: noqa: PTH102, PTH110, PTH116, PTH123

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, NoReturn

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # unshare(2)
NO_SUID, NO_DEVICES, BIND, RECURSIVE, PRIVATE, SLAVE = 0x2, 0x4, 0x1000, 0x4000, 0x40000, 0x80000  # mount(2)
SYSTEM = -1
MAX_LINKS = 40
_libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(Exception):
    """A mount that cannot be had; the text is for the user."""


def main(spec: dict[str, Any]) -> NoReturn:
    """Become what the specification says, in its cgroups and with its mounts staged.  Returns never.

    Raises:
        RefusedError: a mount cannot be had.
        OSError: anything else failed.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _lower_protection()
    for group in spec["cgroups"]:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write("0")
    if spec["mode"] == "plain":
        for thing in spec["staged"]:
            _open_planned(thing, check_access=True)
    else:
        own_mounts(as_user=spec["mode"] == "userns")
        _stage_all(spec)
    os.execv(spec["argv"][0], spec["argv"])  # noqa: S606 - no shell, as meant


def own_mounts(*, as_user: bool) -> None:
    """Take a mount namespace that the host's later mounts still reach, as an ordinary user in a user namespace."""
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(NEW_MOUNTS | (NEW_USER if as_user else 0)):
        _raise("no mount namespace of its own")
    if as_user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _mount(None, "/", SLAVE | RECURSIVE)


def open_source(path: str) -> int:
    """Open an absolute path without reading, following only those symbolic links that no user can have made.

    Returns:
        An open file (``O_PATH``) of what was checked: binding it cannot reach anything else.

    Raises:
        RefusedError: a symbolic link is not root's, or stands where others may put or move one.
        OSError: the path is missing or cannot be reached.
    """
    folder, parts, links = os.open("/", os.O_PATH | os.O_DIRECTORY), _parts(path), 0
    while parts:
        part = parts.pop(0)
        try:
            found = _open_part(part, folder)
        except OSError:
            os.close(folder)
            raise
        if stat.S_ISLNK(os.fstat(found).st_mode):
            links += 1
            if links > MAX_LINKS or not _trusted_link(found, folder):
                raise RefusedError(
                    f"{path} leads through the symbolic link {part!r}, which others than root may have made"
                )
            target = os.readlink("", dir_fd=found)
            parts = _parts(target) + parts
            if target.startswith("/"):
                os.dup2(os.open("/", os.O_PATH | os.O_DIRECTORY), folder, inheritable=False)
            os.close(found)
            continue
        os.close(folder)
        folder = found
    return folder


def _open_part(part: str, folder: int) -> int:
    try:
        # asking for a folder makes an automounter mount it, which O_PATH alone does not
        return os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
    except NotADirectoryError:
        return os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)


def _trusted_link(link: int, folder: int) -> bool:
    around = os.fstat(folder)
    writable = around.st_mode & 0o022 and not around.st_mode & stat.S_ISVTX
    return os.fstat(link).st_uid == 0 and around.st_uid == 0 and not writable


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _open_planned(thing: dict[str, Any], *, check_access: bool) -> int | None:
    """Return the open source of a mount; None when it is missing and optional.

    Raises:
        RefusedError: the source is missing, cannot be reached, or the hub's user may not use it.
    """
    if thing["source"] is None:
        return None
    try:
        source = open_source(thing["source"])
    except FileNotFoundError:
        if thing["optional"]:
            return None
        raise RefusedError(f"the storage {thing['source']} does not exist on this machine") from None
    except OSError as error:
        raise RefusedError(f"the storage {thing['source']} cannot be reached: {error.strerror}") from None
    mode = os.fstat(source).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise RefusedError(f"the storage {thing['source']} is neither a folder nor a file")
    usable = os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)
    if check_access and not os.access(f"/proc/self/fd/{source}", usable):
        raise RefusedError(f"the storage {thing['source']} cannot be read by the user that runs the hub")
    return source


def _stage_all(spec: dict[str, Any]) -> None:
    """Bind each source under its number; what is optional and missing gets none."""
    _mount("tmpfs", spec["stage"], NO_SUID | NO_DEVICES, kind="tmpfs", options="mode=0700,size=1m")
    for number, thing in enumerate(spec["staged"]):
        place = f"{spec['stage']}/{number}"
        if thing["source"] is None:
            found = find_mountpoint(spec, thing["target"], thing["parent"], create=False)
            if found in ("folder", "file"):
                _make_place(place, found)
            continue
        source = _open_planned(thing, check_access=spec["mode"] == "userns")
        if source is not None:
            _bind(spec, thing, source, place)
    for path, parent in spec["needed"]:
        if find_mountpoint(spec, path, parent, create=False) == "missing":
            raise RefusedError(f"the storage mounted over {path} hides a part of the server's own environment there")


def _bind(spec: dict[str, Any], thing: dict[str, Any], source: int, place: str) -> None:
    kind = "folder" if stat.S_ISDIR(os.fstat(source).st_mode) else "file"
    found = find_mountpoint(spec, thing["target"], thing["parent"], create=kind == "folder")
    if found not in ("free", kind):
        raise RefusedError(f"{thing['source']} is a {kind}, and there is no {kind} {thing['target']} to mount it on")
    _make_place(place, kind)
    _mount(f"/proc/self/fd/{source}", place, BIND | RECURSIVE)
    if thing["propagation"] == "private":
        _mount(None, place, PRIVATE | RECURSIVE)
    os.close(source)


def find_mountpoint(spec: dict[str, Any], target: str, parent: int | None, *, create: bool) -> str:
    """Say what lies where ``target`` shall be mounted: ``folder``, ``file``, ``missing``; ``free``: the view's own.

    Within planned storage bubblewrap would make a missing folder itself, as root: where ``create`` is set, it is made
    here, as the user.

    Raises:
        RefusedError: a symbolic link leads elsewhere, or the folder cannot be made.
    """
    staged, stage = spec["staged"], spec["stage"]
    while parent is not None and parent != SYSTEM and not os.path.exists(f"{stage}/{parent}"):
        parent = staged[parent]["parent"]
    if parent is None:
        return "free"
    base, below = ("/", target) if parent == SYSTEM else (f"{stage}/{parent}", target[len(staged[parent]["target"]) :])
    folder = os.open(base, os.O_PATH | os.O_DIRECTORY)
    for part in _parts(below):
        try:
            inner = _open_part(part, folder)
        except FileNotFoundError:
            if not create:
                os.close(folder)
                return "missing"
            inner = _make_folder(spec, part, folder, target, read_only=parent == SYSTEM or staged[parent]["read_only"])
        except OSError as error:
            raise RefusedError(f"{target} cannot be mounted: {error.strerror} at {part!r}") from None
        os.close(folder)
        folder = inner
    mode = os.fstat(folder).st_mode
    os.close(folder)
    if stat.S_ISLNK(mode):
        raise RefusedError(f"{target} is a symbolic link, and nothing can be mounted on one")
    return "folder" if stat.S_ISDIR(mode) else "file"


def _make_folder(spec: dict[str, Any], part: str, folder: int, target: str, *, read_only: bool) -> int:
    is_mask = os.fstat(folder).st_dev == os.stat(spec["stage"]).st_dev
    if read_only and not is_mask:
        raise RefusedError(f"{target} cannot be mounted: its folder does not exist, in a place that is read-only")
    try:
        with nullcontext() if is_mask else _acting_as(spec):
            os.mkdir(part, 0o755, dir_fd=folder)
        return os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
    except OSError as error:
        raise RefusedError(f"{target} cannot be mounted: the folder cannot be made: {error.strerror}") from None


@contextmanager
def _acting_as(spec: dict[str, Any]) -> Iterator[None]:
    """Do something with the user's rights, and so that what is made belongs to the user."""
    if spec["mode"] != "root":
        yield
        return
    os.setgroups(spec["groups"])
    os.setegid(spec["gid"])
    os.seteuid(spec["uid"])
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


def _make_place(place: str, kind: str) -> None:
    if kind == "folder":
        os.mkdir(place, 0o555)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444))


def tell(status_fd: int, said: dict[str, Any]) -> None:
    """Add one line to the status."""
    os.write(status_fd, json.dumps(said).encode() + b"\n")


def _lower_protection() -> None:
    """Give up a protection from the out-of-memory killer that the hub may have: it is not for servers."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) < 0:
            file.write("0")


def _mount(source: str | None, target: str, flags: int, *, kind: str | None = None, options: str | None = None) -> None:
    encoded = [os.fsencode(text) if text is not None else None for text in (source, target, kind, options)]
    if _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]):
        _raise(f"cannot mount on {target}")


def _raise(what: str) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


def _start(spec_fd: int, status_fd: int) -> None:
    with os.fdopen(spec_fd, encoding="utf-8") as file:
        spec = json.load(file)
    try:
        main(spec)
    except RefusedError as refused:
        tell(status_fd, {"refused": str(refused)})
    except OSError as error:
        tell(status_fd, {"failed": f"the sandbox cannot be made: {error}"})
    sys.exit(1)


if __name__ == "__main__":
    _start(int(sys.argv[1]), int(sys.argv[2]))
