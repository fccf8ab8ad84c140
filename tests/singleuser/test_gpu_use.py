"""Whether a server's GPUs are used: the sums, whose GPUs they are, and the driver's library at the wire."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.culler.answers import parse_activity
from nbplatform_spawners.singleuser.gpu_use import REST, GpuUse, Sample, chosen, is_granted, visible

from .scripts import run_lines
from .servers import OURS, running_server, wait_for

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
ONE, TWO = "GPU-11111111-0000-4000-8000-000000000001", "GPU-22222222-0000-4000-8000-000000000002"
MIG = "MIG-33333333-0000-4000-8000-000000000003"
SOURCE = Path(__file__).with_name("stand_in_nvml.c")

# id, environment, device nodes, whether GPUs were given, what is visible
GRANTS: list[tuple[str, dict[str, str], int, bool, tuple[str, ...] | None]] = [
    ("nothing is said", {}, 2, False, None),
    (
        "a CPU session of the local backend",
        {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"},
        2,
        False,
        (),
    ),
    ("a GPU session of it", {"CUDA_VISIBLE_DEVICES": f"{ONE},{TWO}"}, 2, True, (ONE, TWO)),
    ("a CPU container", {"NVIDIA_VISIBLE_DEVICES": "void"}, 0, False, None),
    ("a GPU container of the NVIDIA runtime", {"NVIDIA_VISIBLE_DEVICES": ONE}, 1, True, (ONE,)),
    ("a GPU container through CDI", {"NVIDIA_VISIBLE_DEVICES": "void"}, 1, True, None),
    ("an image that asks for all", {"NVIDIA_VISIBLE_DEVICES": "all"}, 1, True, None),
    ("the machine's indices mean nothing inside", {"NVIDIA_VISIBLE_DEVICES": "7"}, 1, True, None),
    ("indices of CUDA", {"CUDA_VISIBLE_DEVICES": "1, 0"}, 2, True, ("1", "0")),
    ("CUDA ends at a name that is none", {"CUDA_VISIBLE_DEVICES": f"{TWO},-1,{ONE}"}, 2, True, (TWO,)),
    ("CUDA's way to say none", {"CUDA_VISIBLE_DEVICES": "-1"}, 2, False, ()),
    ("nonsense", {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 2, False, ()),
]


@pytest.mark.parametrize(("_", "environ", "nodes", "given", "seen"), GRANTS, ids=[row[0] for row in GRANTS])
def test_the_environment_says_whose_gpus_these_are(
    _: str, environ: dict[str, str], nodes: int, given: bool, seen: tuple[str, ...] | None
) -> None:
    """Only what this server was given is looked at."""
    assert is_granted(environ, nodes) is given
    assert visible(environ) == seen


# id, names, the driver's UUIDs, the indices meant
NAMES: list[tuple[str, tuple[str, ...] | None, tuple[str, ...]]] = [
    ("all", None, (0, 1)),
    ("by UUID", (TWO,), (1,)),
    ("by the begin of a UUID", ("GPU-2222",), (1,)),
    ("by index, in any order and once", ("1", "0", "1"), (1, 0)),
    ("one that is not there", ("GPU-9", "5", "99999999999999999999"), ()),
    ("a part of a GPU", (MIG,), ()),
    ("an index that is no ASCII number", ("²",), ()),
]


@pytest.mark.parametrize(("_", "names", "meant"), NAMES, ids=[row[0] for row in NAMES])
def test_names_are_found_among_the_drivers_gpus(_: str, names: tuple[str, ...] | None, meant: tuple[int, ...]) -> None:
    """What cannot be found is not replaced by another."""
    assert chosen(names, (ONE, TWO)) == meant


def ring(first: int, count: int, percent: int) -> list[Sample]:
    """Samples of a driver: five a second, from a moment in microseconds."""
    return [Sample(first + 200_000 * number, percent) for number in range(count)]


def test_use_is_the_integral_of_the_samples() -> None:
    """A burst of 50 ms is one sample of 25 %; a ring asked for again adds nothing twice."""
    use = GpuUse(1)
    samples = [*ring(10**15, 40, 0), Sample(10**15 + 40 * 200_000, 25), *ring(10**15 + 41 * 200_000, 30, 0)]
    use.add(0, samples, NOW)
    assert use.seconds == pytest.approx(0.05)
    assert use.last_used == NOW - timedelta(seconds=6)
    use.add(0, samples, NOW + timedelta(seconds=1))
    assert use.seconds == pytest.approx(0.05)
    assert use.last_used == NOW - timedelta(seconds=6)
    assert use.seen(0) == samples[-1].at


def test_a_gap_is_not_filled_and_values_are_bounded() -> None:
    """What lies between two rings is not known: a sample speaks for a second at most, and for 0 to 100 %."""
    use = GpuUse(1)
    use.add(0, [Sample(10**15, 100)], NOW)
    use.add(0, [Sample(10**15 + 3600 * 10**6, 4_000_000_000)], NOW + timedelta(hours=1))
    use.add(0, [Sample(10**15 + 3601 * 10**6, -5)], NOW + timedelta(hours=1))
    assert use.seconds == pytest.approx(0.2 + 1.0)


def test_several_gpus_are_one_use() -> None:
    """Seconds add up, the latest use of any of them counts, each has a ring of its own."""
    use = GpuUse(2)
    use.add(0, ring(10**15, 10, 100), NOW)
    use.add(1, ring(2 * 10**15, 10, 50), NOW + timedelta(seconds=5))
    use.add(0, ring(10**15, 10, 100), NOW + timedelta(seconds=10))
    shown = use.as_json(NOW)
    assert (shown["count"], shown["seconds_used"]) == (2, pytest.approx(3.0))
    assert shown["last_used"] == (NOW + timedelta(seconds=5)).isoformat()


def test_a_use_ends_when_it_has_paused_for_ten_minutes() -> None:
    """It begins where the GPU was used again after such a pause, and goes on through shorter ones."""
    use = GpuUse(1)
    assert use.as_json(NOW) == {"count": 1, "last_used": None, "used_since": None, "seconds_used": 0.0}
    pause, at = REST - timedelta(seconds=1), NOW
    for turn in range(3):
        at = NOW + turn * pause
        use.add(0, [Sample(10**15 + turn * 10**9, 10)], at)
    assert use.as_json(at)["used_since"] == NOW.isoformat()
    assert use.as_json(at + REST)["used_since"] == NOW.isoformat()
    assert use.as_json(at + REST + timedelta(seconds=1))["used_since"] is None
    again = at + timedelta(hours=1)
    use.add(0, [Sample(10**15 + 10**10, 10)], again)
    assert use.as_json(again)["used_since"] == again.isoformat()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the double of the driver's library."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed", exc_type=ImportError)
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here, which makes the double of the driver's library")
    folder = tmp_path_factory.mktemp("nvml")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


class Driver:
    """The double's say."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "driver"
        self.env = {"LD_LIBRARY_PATH": str(library), "STAND_IN_NVML": str(self._file)}

    def says(self, text: str) -> None:
        """What it says from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.replace(self._file)


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> Driver:
    """A double of one GPU that was used, and another."""
    one = Driver(library, tmp_path)
    one.says(f"{ONE} 25\n{TWO} 100\n")
    return one


SAMPLER = """
import os, pathlib, time
from datetime import UTC, datetime
from nbplatform_spawners.singleuser.gpu_sampler import GpuSampler
driver = pathlib.Path(os.environ["STAND_IN_NVML"])
def say(text):
    new = driver.with_suffix(".new")
    new.write_text(text)
    new.replace(driver)
sampler = GpuSampler(os.environ, lambda: datetime.now(UTC), 0.05)
"""


def looked(driver: Driver, lines: str, **env: str) -> tuple[Any, str]:
    """Run lines with a sampler in a process of their own: a library is loaded once."""
    whole = {**driver.env, "PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": ONE, **env}
    return run_lines(SAMPLER + lines, env=whole)


def test_the_whole_ring_is_read_and_only_of_the_servers_own_gpu(driver: Driver) -> None:
    """71 samples of 0.2 s with 25 %; the other GPU of the machine is somebody else's."""
    told, errors = looked(driver, "sampler.look()\ntell(answer=sampler.answer())")
    use, problem = told["answer"]
    assert problem is None
    assert (use["count"], use["seconds_used"]) == (1, pytest.approx(71 * 0.2 * 0.25))
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(use["last_used"]) < timedelta(minutes=2)
    since = datetime.fromisoformat(use["last_used"]) - datetime.fromisoformat(use["used_since"])
    assert since == timedelta(seconds=14)
    assert errors == ""


# id, what the driver says, then what, the seconds used
RINGS = [
    ("nothing new is no error", f"{ONE} none", 0.0),
    ("idle", f"{ONE} 0", 0.0),
    ("at work", f"{ONE} 100", 14.2),
]


@pytest.mark.parametrize(("_", "says", "seconds"), RINGS, ids=[row[0] for row in RINGS])
def test_what_the_driver_keeps_is_added_once(driver: Driver, _: str, says: str, seconds: float) -> None:
    """Looked at three times, of which the last two find nothing or next to nothing new."""
    driver.says(says)
    told, errors = looked(driver, "good = [sampler.look() for _ in range(3)]\ntell(answer=sampler.answer(), good=good)")
    use, problem = told["answer"]
    assert told["good"] == [True] * 3
    assert problem is None
    assert seconds <= use["seconds_used"] <= seconds * 1.5
    assert (use["last_used"] is None) is (seconds == 0)
    assert errors == ""


# id, what the driver says, changes of the environment, the problem
PROBLEMS = [
    ("the GPU is lost", f"{ONE} -15", {}, "GPU is lost"),
    ("the driver does not start", "init -9", {}, "Driver Not Loaded"),
    ("there is no driver", f"{ONE} 1", {"LD_LIBRARY_PATH": ""}, "NVML Shared Library Not Found"),
    ("another GPU", f"{TWO} 1", {}, "the driver knows none of the GPUs that this server was given"),
    ("a part of a GPU", f"{ONE} 1", {"CUDA_VISIBLE_DEVICES": MIG}, "the driver knows none of the GPUs"),
]


@pytest.mark.parametrize(("_", "says", "env", "why"), PROBLEMS, ids=[row[0] for row in PROBLEMS])
def test_what_cannot_be_read_is_one_sentence_and_is_tried_again(
    driver: Driver, _: str, says: str, env: dict[str, str], why: str
) -> None:
    """Null and why; one line in the log however often it fails; good again when it is, and then told again."""
    if why.startswith("NVML Shared") and Path("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").exists():
        pytest.skip("this machine has the driver's library")
    driver.says(says)
    told, errors = looked(
        driver,
        f"bad = [sampler.look() for _ in range(3)]\nfirst = sampler.answer()\nsay('{ONE} 50')\n"
        f"good = sampler.look()\nsecond = sampler.answer()\nsay('{ONE} -999')\nsampler.look()\n"
        "tell(bad=bad, good=good, first=first, second=second)",
        **env,
    )
    assert told["bad"] == [False] * 3
    assert told["first"][0] is None
    assert why in told["first"][1]
    lines = errors.splitlines()
    assert why in lines[0]
    if env:
        assert len(lines) == 1
    else:
        assert (told["good"], told["second"][0]["seconds_used"], told["second"][1]) == (True, pytest.approx(7.1), None)
        assert len(lines) == 2
    assert all(line.startswith("the use of GPUs is not known: ") for line in lines)


def test_without_the_library_of_python_it_says_what_to_install(driver: Driver, tmp_path: Path) -> None:
    """An image may lack it: the server runs all the same."""
    lines = "import sys\nsys.modules['pynvml'] = None\nsampler.look()\ntell(answer=sampler.answer())"
    told, _ = looked(driver, lines)
    assert told["answer"] == [None, "nvidia-ml-py is not installed in the server's environment"]


def test_a_driver_that_hangs_is_told_and_holds_nothing_up(driver: Driver) -> None:
    """The answer comes at once, and says so after a while; the process can end."""
    driver.says(f"{ONE} 50\nhang 0")
    told, _ = looked(
        driver,
        "from datetime import timedelta\n"
        "later = timedelta(0)\n"
        "sampler = GpuSampler(os.environ, lambda: datetime.now(UTC) + later, 0.05)\n"
        "sampler.start()\ntime.sleep(0.5)\nfirst = sampler.answer()\nlater = timedelta(minutes=2)\n"
        "tell(first=first, second=sampler.answer())",
    )
    assert told["first"] == [None, "the GPUs have not been looked at yet"]
    assert told["second"] == [None, "the GPU driver does not answer"]


def test_a_server_with_a_gpu_says_how_it_is_used(driver: Driver, tmp_path: Path) -> None:
    """The whole way: environment, thread, answer; and nothing is asked of the driver where there is no GPU."""
    home = tmp_path / "home"
    home.mkdir()
    with running_server(home, OURS, {**driver.env, "CUDA_VISIBLE_DEVICES": ONE}) as server:
        ask = lambda: server.ask("GET", "api/nbplatform/activity")  # noqa: E731
        used = wait_for(lambda: ask()["gpus"], "the first look")
        assert used["count"] == 1
        assert used["seconds_used"] >= 71 * 0.2 * 0.25 - 0.01
        assert datetime.fromisoformat(used["last_used"]) > datetime.fromisoformat(used["used_since"])
        assert ask()["gpu_problem"] is None
        assert parse_activity(ask(), datetime.now(UTC)).gpu_used is not None
    shutil.rmtree(home)
    home.mkdir()
    with running_server(home, OURS, {**driver.env, "CUDA_VISIBLE_DEVICES": ""}) as server:
        answer = server.ask("GET", "api/nbplatform/activity")
        assert (answer["gpus"], answer["gpu_problem"]) == (None, None)
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "libnvidia-ml" not in maps


def test_a_server_whose_gpu_is_lost_works_and_says_so(driver: Driver, tmp_path: Path) -> None:
    """Null, one sentence, one line in the log."""
    home = tmp_path / "home"
    home.mkdir()
    driver.says(f"{ONE} -15")
    with running_server(home, OURS, {**driver.env, "CUDA_VISIBLE_DEVICES": ONE}) as server:
        ask = lambda: server.ask("GET", "api/nbplatform/activity")  # noqa: E731
        wait_for(lambda: ask()["gpu_problem"] == "GPU is lost", "the first look")
        assert ask()["gpus"] is None
        assert server.log().count("the use of GPUs is not known: GPU is lost") == 1
