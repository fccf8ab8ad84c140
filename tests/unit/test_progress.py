"""What a waiting user is told: steps in order, a bar that never goes back, a sign of life when it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nbplatform_spawners.spawners.progress import Progress

LIMIT = 10.0  # seconds for what comes at once
MIB = 1024**2


def messages(events: list[dict[str, Any]]) -> list[str]:
    """The words alone."""
    return [event["message"] for event in events]


async def read(events: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The next events."""
    async with asyncio.timeout(LIMIT):
        return [await anext(events) for _ in range(count)]


async def test_every_reader_gets_every_step_in_order() -> None:
    """A page that comes late reads the same as one that was there from the first."""
    progress = Progress()
    early = progress.events()
    progress.say(5, "Deciding")
    first = await read(early, 1)
    progress.say(30, "Starting")
    rest = await read(early, 1)
    assert first + rest == await read(progress.events(), 2) == progress.steps()
    assert progress.steps() == [
        {"progress": 5, "message": "Deciding", "step": 0},
        {"progress": 30, "message": "Starting", "step": 1},
    ]


async def test_the_bar_never_goes_back() -> None:
    """Neither a smaller percentage nor an image that turns out to be larger moves it back."""
    progress = Progress()
    progress.say(15, "Choosing")
    progress.pulling("scipy", 90 * MIB, 100 * MIB)
    far = progress.steps()[-1]["progress"]
    progress.pulling("scipy", 90 * MIB, 900 * MIB)
    assert progress.steps()[-1]["progress"] == far > 15
    progress.say(30, "Starting")
    assert progress.steps()[-1]["progress"] == far


PULLS = {
    "a share": (400 * MIB, 1024 * MIB, "Fetching the image scipy: 39% of 1 GiB"),
    "nobody knows how large": (300 * MIB, None, "Fetching the image scipy: 300 MiB so far"),
    "nothing yet": (0, 0, "Fetching the image scipy: 0 bytes so far"),
    "more than all": (2 * MIB, MIB, "Fetching the image scipy: 100% of 1 MiB"),
}


@pytest.mark.parametrize(("done", "total", "words"), PULLS.values(), ids=PULLS)
def test_an_image_that_is_fetched_says_how_much_of_it_is_here(done: int, total: int | None, words: str) -> None:
    """In per cent where the size is known, else in bytes; whatever a registry claims, 100 is the most."""
    progress = Progress()
    progress.pulling("scipy", done, total)
    (event,) = progress.steps()
    assert event["message"] == words
    assert 0 <= event["progress"] <= 100


async def test_a_pull_is_one_step_however_many_chunks_come() -> None:
    """Thousands of chunks are one line that changes; only a change that shows wakes the readers."""
    progress = Progress()
    events = progress.events()
    progress.pulling("scipy", 0, 100_000)
    before = await read(events, 1)
    for done in range(50_001):
        progress.pulling("scipy", done, 100_000)
    after = await read(events, 1)
    assert [event["step"] for event in before + after] == [0, 0]
    assert messages(after) == ["Fetching the image scipy: 50% of 97.66 KiB"]
    progress.pulling("other", 1, 2)
    assert len(progress.steps()) == 2
    woken = progress._more
    progress.pulling("other", 1, 2)
    assert progress._more is woken


async def test_a_step_that_takes_long_says_so_itself() -> None:
    """Nobody says anything new, and the page hears all the same that time passes; the step stays the same one."""
    progress = Progress(notice=0.01)
    progress.say(60, "Waiting for your server to answer")
    events = progress.events()
    (first, second) = await read(events, 2)
    assert first["message"] == "Waiting for your server to answer"
    assert second["message"].startswith("Waiting for your server to answer")
    assert (second["step"], second["progress"]) == (0, 60)


# seconds that a step has taken, what is said of it
WAITS = [
    (9.9, "Waiting"),
    (10.0, "Waiting (10 seconds so far)"),
    (19.0, "Waiting (10 seconds so far)"),
    (20.0, "Waiting (20 seconds so far)"),
    (45.0, "Waiting (30 seconds so far)"),
    (60.0, "Waiting (1 minute so far)"),
    (119.0, "Waiting (1 minute and 30 seconds so far)"),
    (3600.0, "Waiting (1 hour so far)"),
]


@pytest.mark.parametrize(("taken", "words"), WAITS)
def test_the_time_a_step_takes_is_told_ever_more_seldom(taken: float, words: str) -> None:
    """Every 10 seconds at first, every 30 later: a screen reader that reads each change stays bearable."""
    now = [1000.0]
    progress = Progress(clock=lambda: now[0])
    progress.say(60, "Waiting")
    now[0] += taken
    assert messages(progress.steps()) == [words]


def test_a_step_that_is_over_tells_no_time() -> None:
    """The last step alone is waited for."""
    now = [1000.0]
    progress = Progress(clock=lambda: now[0])
    progress.say(60, "Waiting")
    now[0] += 30
    progress.say(90, "Nearly there")
    assert messages(progress.steps()) == ["Waiting", "Nearly there"]


async def test_another_start_begins_with_no_steps() -> None:
    """What an earlier start said is gone, and a reader that was there already hears of the new one."""
    progress = Progress()
    progress.say(60, "Waiting")
    events = progress.events()
    await read(events, 1)
    progress.clear()
    assert progress.steps() == []
    progress.say(5, "Deciding")
    assert messages(await read(events, 1)) == ["Deciding"]


@pytest.mark.parametrize("ticks", range(5))
async def test_a_reader_ends_when_it_is_told_to_although_something_is_new(ticks: int) -> None:
    """The hub cancels the reader the moment a start fails, which also clears the steps: it must not wait on."""
    progress = Progress()
    progress.say(5, "Deciding")
    events = progress.events()
    await read(events, 1)
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    progress.clear()
    for _ in range(ticks):
        await asyncio.sleep(0)
    waiting.cancel()
    done, _ = await asyncio.wait([waiting], timeout=LIMIT)
    assert done
    assert waiting.cancelled()
