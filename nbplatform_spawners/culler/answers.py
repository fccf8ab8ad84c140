"""What a server answers about its use: every field checked, every time moved to the culler's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ..times import read_time
from .activity import Activity

VERSION = 1
MAX_COUNT = 10**6
MAX_SECONDS = 10**10
Clock = Callable[[Any], datetime | None]
"""Returns a time of the answer on the culler's clock, None for null."""


def parse_activity(body: object, now: datetime) -> Activity:
    """Return the activity that our server extension answered with.

    Args:
        body: the parsed JSON of ``GET api/nbplatform/activity``.
        now: aware time at which the answer came.

    Raises:
        ValueError: it is another answer; one sentence says what is wrong.
    """
    answer = _object(body, "the answer")
    if answer.get("version") != VERSION or isinstance(answer.get("version"), bool):
        raise ValueError(f"the answer is not of version {VERSION}")
    clock = _clock(_time(answer, "now"), now)
    _time(answer, "started")
    kernels, terminals = _object(answer.get("kernels"), "kernels"), _object(answer.get("terminals"), "terminals")
    times = [
        clock(answer["started"]),
        clock(answer.get("last_action")),
        clock(kernels.get("last_activity")),
        clock(terminals.get("last_activity")),
        now if _count(answer, "downloads") else None,
    ]
    gpus = answer.get("gpus")
    return Activity(
        last=_latest(times),
        busy=_count(kernels, "busy"),
        busy_since=clock(kernels.get("busy_since")),
        extend_asked=clock(answer.get("extend_asked")),
        by="server",
        **({} if gpus is None else _gpus(_object(gpus, "gpus"), clock)),
    )


def parse_jupyter(status: object, kernels: object, terminals: object, now: datetime) -> Activity:
    """Return the activity that Jupyter's own API tells.

    ``last_activity`` of the status counts requests of an open tab as well: it is an upper bound, as the hub's is.  Of
    a busy kernel only its last message is known, so one that goes on to print has begun when it last printed.

    Args:
        status: the parsed JSON of ``GET api/status``; ``now`` in it, if there, is the server's time.
        kernels: that of ``GET api/kernels``.
        terminals: that of ``GET api/terminals``; None when the server has none.
        now: aware time at which the answers came.

    Raises:
        ValueError: they are other answers; one sentence says what is wrong.
    """
    told = _object(status, "the status")
    clock = _clock(now if told.get("now") is None else _time(told, "now"), now)
    times = [clock(told.get("started")), clock(told.get("last_activity"))]
    busy: list[datetime | None] = []
    for kernel in _objects(kernels, "the kernels"):
        is_busy = kernel.get("execution_state") == "busy"
        (busy if is_busy else times).append(clock(kernel.get("last_activity")))
    times += [clock(terminal.get("last_activity")) for terminal in _objects(terminals or [], "the terminals")]
    return Activity(last=_latest(times), busy=len(busy), busy_since=_latest(busy), by="jupyter")


def _clock(theirs: datetime, now: datetime) -> Clock:
    """Return what moves the server's times by how far its clock is from ours; none of them is in the future then."""
    skew = now - theirs

    def moved(text: Any) -> datetime | None:
        return None if text is None else _moved(read_time(text), skew, now)

    return moved


def _moved(time: datetime, skew: timedelta, now: datetime) -> datetime:
    try:
        return min(time + skew, now)
    except OverflowError:
        raise ValueError("a time is thousands of years away") from None


def _gpus(gpus: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    seconds = gpus.get("seconds_used")
    if seconds is not None and not (_is_number(seconds) and 0 <= seconds <= MAX_SECONDS):
        raise ValueError("seconds_used is no number of seconds")
    return {
        "gpu_used": clock(gpus.get("last_used")),
        "gpu_since": clock(gpus.get("used_since")),
        "gpu_seconds": None if seconds is None else float(seconds),
    }


def _time(answer: Mapping[str, Any], key: str) -> datetime:
    if key not in answer:
        raise ValueError(f"{key} is missing")
    return read_time(answer[key])


def _count(answer: Mapping[str, Any], key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{key} is no count")
    return value


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what}: no object")
    return value


def _objects(value: object, what: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"{what}: no list")
    return [_object(one, what) for one in value]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _latest(times: list[datetime | None]) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
