"""Blocking questions in threads, under a time limit."""

import asyncio
import subprocess
import sys
import threading

import pytest

from nbplatform_spawners.auth.asking import MOST_AT_ONCE, Asker
from nbplatform_spawners.errors import DirectoryUnavailable, Refusal


async def test_the_answer_comes_back() -> None:
    """From a thread that is not the event loop's."""
    assert await Asker().ask(lambda: threading.current_thread().name, 5) == "nbplatform-ask"


async def test_what_the_question_raises_comes_back() -> None:
    """A refusal stays the refusal that it is."""

    def refuse() -> None:
        raise Refusal("account", "it ended")

    with pytest.raises(Refusal, match="it ended"):
        await Asker().ask(refuse, 5)


async def test_a_question_that_hangs_is_given_up() -> None:
    """The directory counts as unreachable; other questions go on meanwhile, and a late answer harms nobody."""
    release = threading.Event()
    asker = Asker()
    hung = asyncio.create_task(asker.ask(release.wait, 0.2))
    assert await asker.ask(lambda: "quick", 5) == "quick"
    with pytest.raises(DirectoryUnavailable, match=r"no answer within 0\.2 seconds"):
        await hung
    release.set()
    assert await asker.ask(lambda: "still there", 5) == "still there"


async def test_hung_questions_are_bounded() -> None:
    """With a directory that hangs for ever only so many threads are lost; when it answers again, all goes on."""
    release = threading.Event()
    asker = Asker()
    before = threading.active_count()
    hung = [asker.ask(release.wait, 0.2) for _ in range(3 * MOST_AT_ONCE)]
    answers = await asyncio.gather(*hung, return_exceptions=True)
    assert all(isinstance(answer, DirectoryUnavailable) for answer in answers)
    assert threading.active_count() - before <= MOST_AT_ONCE
    release.set()
    assert await asker.ask(lambda: "back", 5) == "back"


def test_a_hung_question_does_not_keep_the_program_from_ending() -> None:
    """A hub that is told to stop stops, whatever its directory does."""
    code = """
import asyncio, threading
from nbplatform_spawners.auth.asking import Asker
from nbplatform_spawners.errors import DirectoryUnavailable
try:
    asyncio.run(Asker().ask(threading.Event().wait, 0.1))
except DirectoryUnavailable:
    print("given up")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "given up\n"
