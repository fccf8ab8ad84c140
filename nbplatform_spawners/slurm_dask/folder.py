"""The folder of one cluster, on storage that its nodes share: private to the user, whatever lies around it."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from ..names import bounded
from .certificates import expires
from .errors import ClusterFailed, ClusterRefused

CERT, KEY = "tls.pem", "tls.key"
MAX_FILE = 1024 * 1024
_CLUSTER = re.compile(r"[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PLAIN = re.compile(r"/[A-Za-z0-9_.@+,:=~/-]*")
"""Paths stand in job scripts and in the patterns of Slurm's output files: what means something there is not used."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ClusterFolder:
    """The folder of one cluster, which exists.  Every call looks anew whether it is still the user's own.

    The calls wait for the storage: on an event loop they belong into a thread.

    Args:
        path: absolute; its last part is the cluster's id.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<ClusterFolder {self.path}>"

    @classmethod
    def make(cls, root: str, cluster: str) -> ClusterFolder:
        """Make the folder of a new cluster, mode 0700, and whatever is missing above it.

        Args:
            root: absolute path of the folder that holds those of all clusters of the user.
            cluster: the cluster's id, 12 lowercase hex digits.

        Raises:
            ClusterRefused: it cannot be made there, others could exchange it, or it exists.
            ValueError: the id is none.
        """
        if not _CLUSTER.fullmatch(cluster):
            raise ValueError(f"a cluster's id is 12 lowercase hex digits, not {bounded(cluster)}")
        shown = bounded(root, 200)
        if not _PLAIN.fullmatch(root) or ".." in root.split("/"):
            raise ClusterRefused(
                f"the folder {shown} for clusters cannot stand in a job script: it must be an absolute path of "
                "letters, digits and _.@+,:=~-"
            )
        try:
            _make_all(Path(root))
            _demand_safe(Path(root).stat(), shown)
            path = Path(root, cluster)
            path.mkdir(0o700)
            folder = cls(path)
            with folder._opened() as at:
                os.fchmod(at, 0o700)
        except OSError as error:
            raise ClusterRefused(f"the folder for the cluster cannot be made in {shown}: {_why(error)}") from None
        return folder

    def write(self, name: str, content: bytes) -> Path:
        """Write a new file, mode 0600 from its first moment on: all of it, or nothing.

        Returns:
            its path.

        Raises:
            ClusterRefused: it cannot be written, or is there already.
            ClusterFailed: the folder is no longer the user's own.
            ValueError: the name is none.
        """
        _demand_name(name)
        path = self.path / name
        temporary = f".{name}.{secrets.token_hex(6)}"
        try:
            with self._opened() as at:
                if _exists(name, at):
                    raise ClusterRefused(f"{bounded(str(path), 200)} exists already, and is not written again")
                try:
                    with os.fdopen(os.open(temporary, _MAKE, 0o600, dir_fd=at), "wb") as file:
                        os.fchmod(file.fileno(), 0o600)
                        file.write(content)
                        file.flush()
                        os.fsync(file.fileno())
                    os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
                except OSError:
                    _unlink(temporary, at)
                    raise
        except OSError as error:
            raise ClusterRefused(f"{bounded(str(path), 200)} cannot be written: {_why(error)}") from None
        return path

    def read(self, name: str, limit: int = MAX_FILE) -> bytes | None:
        """Return what a file holds; None when there is none.

        Args:
            name: in the folder, or in a folder in it (``log/scheduler.out``).
            limit: bytes that it may have.

        Raises:
            ClusterFailed: it cannot be read, is longer, or is not the user's own file.
        """
        content = self._read(name, limit + 1, end=False)
        if content is not None and len(content) > limit:
            raise ClusterFailed(f"{bounded(str(self.path / name), 200)} has more than {limit} bytes")
        return content

    def tail(self, name: str, limit: int = 4096) -> str:
        """Return the last ``limit`` bytes of a job's output as text; empty when there is none, or none to be read."""
        try:
            content = self._read(name, limit, end=True)
        except ClusterFailed:
            return ""
        return (content or b"").decode("utf-8", "replace")

    def names(self, inside: str = "") -> list[str]:
        """Return the names in the folder, or in a folder in it, in order; none when it is not there."""
        try:
            with self._opened() as at, _inside(at, inside) as inner:
                return sorted(os.listdir(inner))  # noqa: PTH208 - a path cannot stand for what is open
        except (ClusterFailed, OSError):
            return []

    def make_inside(self, name: str) -> Path:
        """Make a folder in it, mode 0700, unless it is there; return its path.

        Raises:
            ClusterRefused: it cannot be made.
            ValueError: the name is none.
        """
        _demand_name(name)
        path = self.path / name
        try:
            with self._opened() as at:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=at)
                with _inside(at, name) as inner:
                    os.fchmod(inner, 0o700)
        except OSError as error:
            raise ClusterRefused(f"{bounded(str(path), 200)} cannot be made: {_why(error)}") from None
        return path

    def remove(self) -> bool:
        """Remove the folder and all in it, following no link.

        Returns:
            whether nothing is left; a node that still writes may leave something, which another call removes.
        """
        shutil.rmtree(self.path, ignore_errors=True)
        return not os.path.lexists(self.path)

    def _read(self, name: str, limit: int, *, end: bool) -> bytes | None:
        inside, _, last = name.rpartition("/")
        _demand_name(last)
        shown = bounded(str(self.path / name), 200)
        try:
            with (
                self._opened() as at,
                _inside(at, inside) as inner,
                open(last, "rb", opener=lambda path, _: os.open(path, _READ, dir_fd=inner)) as file,
            ):
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
                    raise ClusterFailed(f"{shown} is not your own file")
                if end:
                    file.seek(max(0, about.st_size - limit))
                return file.read(limit)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ClusterFailed(f"{shown} cannot be read: {_why(error)}") from None

    @contextmanager
    def _opened(self) -> Iterator[int]:
        at = os.open(self.path, _FOLDER)
        try:
            _demand_own(os.fstat(at), bounded(str(self.path), 200))
            yield at
        finally:
            os.close(at)


def remove_expired(root: str, now: datetime) -> list[str]:
    """Remove the user's cluster folders whose certificate has expired: nobody came back to close those clusters.

    Args:
        root: the folder that holds those of all clusters of the user; nothing happens when there is none.
        now: aware time.

    Returns:
        the ids of the clusters whose folders were removed.
    """
    try:
        found = sorted(path.name for path in Path(root).iterdir() if _CLUSTER.fullmatch(path.name))
    except OSError:
        return []
    removed = []
    for name in found:
        folder = ClusterFolder(Path(root, name))
        try:
            cert = folder.read(CERT)
        except ClusterFailed:
            continue
        end = expires(cert) if cert else None
        if end is not None and end < now and folder.remove():
            removed.append(name)
    return removed


@contextmanager
def _inside(at: int, name: str) -> Iterator[int]:
    """Open a folder in a folder; an empty name is the folder itself."""
    if name:
        _demand_name(name)
    inner = os.open(name, _FOLDER, dir_fd=at) if name else os.dup(at)
    try:
        yield inner
    finally:
        os.close(inner)


def _make_all(path: Path) -> None:
    """Make a folder and those above it, each private: ``os.makedirs`` leaves those above to the umask."""
    for one in (*reversed(path.parents), path):
        try:
            one.mkdir(0o700)
        except OSError:
            if not one.is_dir():
                raise


def _demand_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{bounded(name)} is no name for a file of a cluster")


def _demand_safe(about: os.stat_result, shown: str) -> None:
    """Check that nobody else can exchange what lies in a folder."""
    if about.st_uid not in (os.geteuid(), 0):
        raise ClusterRefused(f"the folder {shown} for clusters belongs to somebody else (uid {about.st_uid})")
    if about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(about.st_mode)
        raise ClusterRefused(f"others can exchange what lies in {shown} (mode {mode:04o}): chmod 700 it")


def _demand_own(about: os.stat_result, shown: str) -> None:
    if about.st_uid != os.geteuid():
        raise ClusterFailed(f"the folder {shown} of the cluster belongs to somebody else (uid {about.st_uid})")
    if about.st_mode & 0o077:
        raise ClusterFailed(f"others can look into the folder {shown} of the cluster: chmod 700 it")


def _exists(name: str, at: int) -> bool:
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlink(name: str, at: int) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=at)


def _why(error: OSError) -> str:
    if error.errno in (errno.EDQUOT, errno.ENOSPC):
        return f"{error.strerror}; remove something there first"
    return error.strerror or type(error).__name__
