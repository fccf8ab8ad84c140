"""Slurm's key and the tokens made with it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from nbplatform_spawners.slurm_dask.jwt_key import KeyProblem, mint, read_key

KEY = bytes(range(7, 39))
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def key_file(folder: Path, content: bytes = KEY, mode: int = 0o600) -> str:
    """Write a key."""
    path = folder / "jwt.key"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("content", [KEY, KEY + b"\n", b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 1600 + b"\n"])
def test_a_key_is_read_as_slurm_reads_it(tmp_path: Path, content: bytes) -> None:
    """Byte for byte, a line's end at its end included, and one that looks like a PEM file is as good as any."""
    key = read_key(key_file(tmp_path, content))
    assert key == content
    assert mint(key, "alice", NOW, 600).count(".") == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o610, 0o601])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Any right of the group or of others is one too many, whoever asks."""
    with pytest.raises(KeyProblem, match="chmod 600"):
        read_key(key_file(tmp_path, mode=mode))


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "0 bytes"), (b"x" * 31, "31 bytes"), (b"x" * 70000, "must have 32 to 65536")]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """A short key can be guessed, and a long file is something else; nothing of it is in the sentence."""
    with pytest.raises(KeyProblem, match=told) as error:
        read_key(key_file(tmp_path, content))
    assert "xxx" not in str(error.value)


def test_a_key_must_be_a_file(tmp_path: Path) -> None:
    """A missing one, a folder and a pipe are said, and nothing hangs."""
    for path, told in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(KeyProblem, match=told):
            read_key(str(path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyProblem, match="must be a file"):
        read_key(str(tmp_path / "pipe"))
    with pytest.raises(KeyProblem, match="no path"):
        read_key("a\0b")


def test_a_token_says_who_and_until_when() -> None:
    """HS256 with Slurm's three claims, as a library that others wrote reads it; another key makes another signature."""
    token = mint(KEY, "alice", NOW, 600)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    begin = int(NOW.timestamp())
    options = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(token, KEY, ["HS256"], options=options) == {"iat": begin, "exp": begin + 600, "sun": "alice"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, KEY[::-1], ["HS256"], options=options)


@pytest.mark.parametrize(
    "user", ["", "root", "ROOT", "0", "62001", "a b", "-x", "a/b", "alice\n", "x" * 65, "ünïcode", 'a","sun":"root']
)
def test_no_token_for_a_name_that_is_not_safe(user: str) -> None:
    """Nor for root, whom Slurm lets do everything."""
    with pytest.raises(ValueError, match="no token is made"):
        mint(KEY, user, NOW, 600)


@pytest.mark.parametrize(
    ("now", "lifespan", "told"),
    [(NOW, 0, "1 to 3600"), (NOW, 3601, "1 to 3600"), (NOW.replace(tzinfo=None), 60, "offset")],
)
def test_no_token_for_a_time_that_is_none(now: datetime, lifespan: int, told: str) -> None:
    """Not for ever, not for nothing, not at an hour of unknown where."""
    with pytest.raises(ValueError, match=told):
        mint(KEY, "alice", now, lifespan)


def test_the_offset_of_the_time_does_not_matter() -> None:
    """One moment, one token."""
    other = NOW.astimezone(tz=None) + timedelta(0)
    assert mint(KEY, "alice", other, 60) == mint(KEY, "alice", NOW, 60)
