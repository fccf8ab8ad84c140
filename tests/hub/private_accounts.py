"""Accounts of the machine for one process alone: its own /etc/passwd and the like, in its own mount namespace.

Nothing on the machine is changed, so nothing is left behind however the process ends.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_LIBC = ctypes.CDLL(None, use_errno=True)


class PrivateAccounts:
    """Files that stand in for those of the machine.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pam.d").mkdir(parents=True)
        (folder / "pam.d" / "notebooks").write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
        (folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\n")
        self.write("passwd", "root:x:0:0:root:/root:/bin/bash")
        self.write("group", "root:x:0:")
        self.write("shadow", "root:*:19000:0:99999:7:::")

    def write(self, name: str, *lines: str) -> None:
        """Write ``passwd``, ``group`` or ``shadow``; in place, since a process that has entered sees this very file."""
        path = self.folder / name
        path.touch(mode=0o600 if name == "shadow" else 0o644)
        path.write_text("\n".join(lines) + "\n")

    def enter(self) -> None:
        """Let this process (its calling thread and what comes from it) see these files.

        Raises:
            OSError: the system does not allow it.
        """
        _check(_LIBC.unshare(_NEW_MOUNTS | (_NEW_USERS if os.geteuid() else 0)))
        _check(_LIBC.mount(None, b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None))
        for name in ("passwd", "group", "shadow", "nsswitch.conf", "pam.d"):
            source, target = self.folder / name, Path("/etc", name)
            if target.exists():
                _check(_LIBC.mount(bytes(source), bytes(target), None, ctypes.c_ulong(_BIND), None))

    def entering(self) -> str:
        """Python text that lets the process which runs it enter."""
        root = str(Path(__file__).parents[2])
        return (
            f"import sys; sys.path.insert(0, {root!r})\n"
            "from pathlib import Path\n"
            "from tests.hub.private_accounts import PrivateAccounts\n"
            f"PrivateAccounts.enter_folder(Path({str(self.folder)!r}))\n"
        )

    @classmethod
    def enter_folder(cls, folder: Path) -> None:
        """Enter a folder that another process has made."""
        accounts = cls.__new__(cls)
        accounts.folder = folder
        accounts.enter()

    def run(self, code: str) -> str:
        """Run Python code that sees these accounts and return what it prints.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        command = [sys.executable, "-c", self.entering() + code]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout

    def problem(self) -> str | None:
        """Why a process cannot enter on this machine; None when it can."""
        command = [sys.executable, "-c", self.entering()]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        return done.stderr.strip().rpartition("\n")[2] if done.returncode else None


def password_hash(password: str) -> str:
    """A hash as /etc/shadow has it, made by the library that PAM itself uses."""
    libcrypt = ctypes.CDLL("libcrypt.so.1")
    libcrypt.crypt.restype = ctypes.c_char_p
    return bytes(libcrypt.crypt(password.encode(), b"$5$rounds=1000$somesalt$")).decode()


def _check(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
