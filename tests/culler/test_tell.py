"""Passing events on: commands and web hooks that fail, hang and flood, and none of them in anybody's way."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.culler import tell
from nbplatform_spawners.culler.tell import AT_ONCE, Teller

from .hook_double import HookDouble

EVENT = {"user": {"name": "a/b ☃\n"}, "message": "your server will be stopped"}
LOG = logging.getLogger("tell")
Open = Callable[..., Teller]


@pytest.fixture
async def open_teller() -> AsyncIterator[Open]:
    """Return what makes tellers, which are closed afterwards."""
    made: list[Teller] = []

    def opened(**settings: Any) -> Teller:
        made.append(Teller(LOG, **settings))
        return made[-1]

    yield opened
    for teller in made:
        teller.close()


def command(source: str, *arguments: object) -> list[str]:
    """Return a command that runs some Python."""
    return [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)]


async def test_a_command_gets_the_event_and_no_token(
    open_teller: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON on its standard input; the rest of its environment is the service's, but for what opens the hub."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "planted-token")
    monkeypatch.setenv("JPY_API_TOKEN", "planted-token")
    monkeypatch.setenv("SITE_MAIL", "yes")
    kept = tmp_path / "kept"
    source = """
        import json, os, sys
        told = {"event": json.load(sys.stdin), "environment": dict(os.environ), "group": os.getpgrp() == os.getpid()}
        open(sys.argv[1], "w").write(json.dumps(told))
    """
    assert await open_teller(command=command(source, kept)).tell(EVENT) is True
    got = json.loads(kept.read_text(encoding="utf-8"))
    assert got["event"] == EVENT
    assert got["group"] is True
    assert got["environment"]["SITE_MAIL"] == "yes"
    assert "planted-token" not in str(got["environment"])


FAILURES: dict[str, tuple[list[str], str]] = {
    "it is not there": (["/nowhere/mail"], "warn_command cannot be run: \"[Errno 2] No such file or directory: '/n"),
    "it fails": (
        command("import sys; sys.exit('no mail\\n\\x1b[31m today')"),
        "warn_command failed with status 1: 'no",
    ),
    "it is killed": (command("import os; os.kill(os.getpid(), 9)"), "warn_command failed with status -9: ''"),
    "it floods": (
        command("import sys\nfor _ in range(300): sys.stderr.write('x' * 100000)\nsys.exit('the end')"),
        "warn_command failed with status 1: 'xxxx",
    ),
}


@pytest.mark.parametrize(("argv", "line"), FAILURES.values(), ids=FAILURES)
async def test_a_command_that_fails_is_logged_in_one_line(
    open_teller: Open, argv: list[str], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """How it ended, and the last that it said, cut and escaped."""
    assert await open_teller(command=argv).tell(EVENT) is False
    (message,) = caplog.messages
    assert message.startswith(line)
    assert len(message) < 1000
    assert message.isprintable()
    if "xxxx" in line:
        assert message.endswith("the end'")


async def test_a_command_that_reads_nothing_is_no_hindrance(open_teller: Open) -> None:
    """However long the event is."""
    assert await open_teller(command=["true"]).tell({"message": "x" * 10**6}) is True


async def test_a_command_that_hangs_is_killed_with_all_that_it_started(
    open_teller: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mailer that waits for a dead server must not pile up."""
    monkeypatch.setattr(tell, "COMMAND_LIMIT", 2.0)
    kept = tmp_path / "child"
    source = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "600"])
        open(sys.argv[1], "w").write(str(child.pid))
        time.sleep(600)
    """
    assert await open_teller(command=command(source, kept)).tell(EVENT) is False
    assert caplog.messages == ["warn_command ran for more than 2 s and was killed"]
    await gone(int(kept.read_text(encoding="utf-8")))


def state_of(pid: int) -> str:
    """Return the letter that the kernel has for a process's state; X for one that is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def numbers(folder: Path, pattern: str) -> list[int]:
    """Return the numbers that these files hold by now."""
    texts = [one.read_text(encoding="utf-8") for one in folder.glob(pattern)]
    return [int(text) for text in texts if text]


async def gone(pid: int) -> None:
    """Wait until a process has ended; one that nobody has collected yet has ended, too."""
    async with asyncio.timeout(30):
        while True:
            if state_of(pid) in "ZX":
                return
            await asyncio.sleep(0.02)


async def test_what_a_command_leaves_running_is_not_waited_for(open_teller: Open, tmp_path: Path) -> None:
    """A mailer that goes on in the background, with our pipe in its hand, has told whom it should."""
    source = """
        import subprocess, sys
        child = subprocess.Popen(["sleep", "600"])
        open(sys.argv[1], "w").write(str(child.pid))
    """
    kept = tmp_path / "child"
    async with asyncio.timeout(20):
        assert await open_teller(command=command(source, kept)).tell(EVENT) is True
    os.kill(int(kept.read_text(encoding="utf-8")), 9)


async def test_only_a_few_run_at_once_and_all_are_told(open_teller: Open, tmp_path: Path) -> None:
    """``tell`` comes back at once; ``finish`` waits for all of them."""
    source = """
        import os, sys, time
        mark = os.path.join(sys.argv[1], f"running-{os.getpid()}")
        open(mark, "w").close()
        time.sleep(0.2)
        print(len([name for name in os.listdir(sys.argv[1]) if name.startswith("running-")]),
              file=open(os.path.join(sys.argv[1], f"done-{os.getpid()}"), "w"))
        os.unlink(mark)
    """
    teller = open_teller(command=command(source, tmp_path))
    for _ in range(3 * AT_ONCE):
        teller.tell(EVENT)
    assert os.listdir(tmp_path) == []
    await teller.finish()
    seen = numbers(tmp_path, "done-*")
    assert len(seen) == 3 * AT_ONCE
    assert max(seen) <= AT_ONCE


async def started(kept: Path) -> None:
    """Wait until a command has written its number."""
    while True:
        if numbers(kept.parent, kept.name):
            return
        await asyncio.sleep(0.02)


async def test_the_end_of_the_service_ends_its_commands(open_teller: Open, tmp_path: Path) -> None:
    """Nothing is left behind by a service that is stopped."""
    kept = tmp_path / "pid"
    source = "import os, sys, time\nopen(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(600)"
    teller = open_teller(command=command(source, kept))
    task = teller.tell(EVENT)
    async with asyncio.timeout(20):
        await started(kept)
    teller.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(int(kept.read_text(encoding="utf-8")))


@pytest.fixture
def hook() -> Iterator[AbstractContextManager[HookDouble]]:
    """Run a web hook."""
    with HookDouble() as double:
        yield double


async def test_a_web_hook_gets_the_event_and_the_header(open_teller: Open, hook: HookDouble, tmp_path: Path) -> None:
    """By POST, as JSON; the header is read at each event, so that a new secret needs no restart."""
    secret = tmp_path / "header"
    secret.write_text("Authorization: Bearer planted-secret\n", encoding="utf-8")
    secret.chmod(0o600)
    teller = open_teller(webhook=f"{hook.url}/hook?key=planted", header_file=str(secret))
    assert await teller.tell(EVENT) is True
    secret.write_text("X-Key: second\n", encoding="utf-8")
    assert await teller.tell(EVENT) is True
    first, second = hook.got
    assert (first.method, first.path, first.body) == ("POST", "/hook?key=planted", EVENT)
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Authorization"] == "Bearer planted-secret"
    assert second.headers["X-Key"] == "second"
    assert "planted" not in repr(teller)


HOOKS = {
    "error": "it answers with status 500",
    "redirect": "it answers with status 307",
    "hang": "no whole answer within 1 seconds",
    "reset": "Connection reset by peer",
}


@pytest.mark.parametrize(("mode", "why"), HOOKS.items(), ids=HOOKS)
async def test_a_web_hook_that_fails_is_logged_without_its_address(
    open_teller: Open,
    hook: HookDouble,
    mode: str,
    why: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The path and query of an address are often the secret; a redirect is not followed with the event."""
    monkeypatch.setattr(tell, "HOOK_LIMIT", 1.0)
    hook.mode = mode
    assert await open_teller(webhook=f"{hook.url}/planted-secret").tell(EVENT) is False
    assert caplog.messages == [f"warn_webhook at 127.0.0.1 was not told: {why}"]
    assert len(hook.got) == 1


HEADERS = {
    "missing": (None, 0o600, "cannot be read"),
    "read by all": ("X-Key: planted-secret\n", 0o644, "everybody can read or write it"),
    "no header": ("planted-secret\n", 0o600, "must hold one line, 'Name: value'"),
    "two lines": ("X-Key: planted-secret\nY: z\n", 0o600, "must hold one line"),
    "no name": (": planted-secret\n", 0o600, "must hold one line"),
    "no value": ("planted-secret:\n", 0o600, "must hold one line"),
}


@pytest.mark.parametrize(("content", "mode", "why"), HEADERS.values(), ids=HEADERS)
async def test_a_bad_header_file_is_said_and_nothing_is_sent(
    open_teller: Open, hook: HookDouble, tmp_path: Path, content: str | None, mode: int, why: str, caplog: Any
) -> None:
    """An event without the header it needs would be refused, or worse, taken from nobody in particular."""
    secret = tmp_path / "header"
    if content is not None:
        secret.write_text(content, encoding="utf-8")
        secret.chmod(mode)
    assert await open_teller(webhook=hook.url, header_file=str(secret)).tell(EVENT) is False
    (message,) = caplog.messages
    assert why in message
    assert "planted-secret" not in message
    assert hook.got == []


async def test_command_and_hook_are_told_both(open_teller: Open, hook: HookDouble, caplog: Any) -> None:
    """One that fails does not keep the event from the other."""
    assert await open_teller(command=["false"], webhook=hook.url).tell(EVENT) is False
    assert [got.body for got in hook.got] == [EVENT]
    assert caplog.messages == ["warn_command failed with status 1: ''"]
    assert await open_teller().tell(EVENT) is True


@pytest.mark.parametrize("address", ["file:///etc/passwd", "hooks.example.org/x", "http://", "ftp://h/x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """At the start, not at the first warning."""
    with pytest.raises(ValueError, match="the address of a web hook"):
        Teller(LOG, webhook=address)
