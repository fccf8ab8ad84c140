"""The commands in ``scripts/``: their environment, pip without pip, steps and reports."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
TESTS = SCRIPTS.parent / "tests"

import lanes  # noqa: E402
import pip_wheel  # noqa: E402
import run_tests  # noqa: E402
import setup_env  # noqa: E402
import steps  # noqa: E402


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A tiny package with extras, as small as one that installs from nothing can be."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "setup.cfg").write_text("[metadata]\nname = tiny\n[options.extras_require]\nhub =\n  x\ntest =\n  y\n")
    (folder / "pyproject.toml").write_text("[build-system]\nrequires = ['setuptools']\n")
    return folder


# The environment's folder


def test_same_inputs_give_the_same_environment(checkout: Path) -> None:
    """Order and repetition of extras say nothing; the folder lies in the cache, never in the checkout."""
    one = setup_env.environment_folder(checkout, ["hub", "test"])
    assert one == setup_env.environment_folder(checkout, ["test", "hub", "hub"])
    assert checkout not in one.parents
    assert one.parent == Path(os.environ["XDG_CACHE_HOME"]) / "nbplatform"


def test_each_input_gives_another_environment(checkout: Path) -> None:
    """Extras, requirements, tool settings, Python and the checkout's path each make another environment."""
    found = {setup_env.environment_folder(checkout, ["hub"]), setup_env.environment_folder(checkout, ["test"])}
    found.add(setup_env.environment_folder(checkout, ["hub"], python="/usr/bin/another-python"))
    other = shutil.copytree(checkout, checkout.parent / "clone")
    found.add(setup_env.environment_folder(other, ["hub"]))
    for name in ("setup.cfg", "pyproject.toml"):
        (checkout / name).write_text((checkout / name).read_text() + "# edited\n")
        found.add(setup_env.environment_folder(checkout, ["hub"]))
    assert len(found) == 6


def test_all_names_every_extra(checkout: Path) -> None:
    """An extra that is added to setup.cfg is in the test environment without another edit."""
    assert setup_env.all_extras(checkout) == ["hub", "test"]


def test_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The XDG specification says so; a relative one would put the cache wherever the command is run."""
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert setup_env.cache_folder() == Path.home() / ".cache" / "nbplatform"


def make_fake(folder: Path, checkout: Path) -> Path:
    """An environment as far as ``is_complete`` and ``remove_unused`` look."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / setup_env.MARKER).write_text(json.dumps({"checkout": str(checkout), "extras": []}))
    return folder


def test_environment_counts_only_when_marked_and_runnable(tmp_path: Path, checkout: Path) -> None:
    """A half-made environment, and one whose Python was removed from the machine, are made again."""
    folder = make_fake(tmp_path / "env", checkout)
    assert setup_env.is_complete(folder)
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to("/nowhere/python")
    assert not setup_env.is_complete(folder)
    (folder / setup_env.MARKER).unlink()
    assert not setup_env.is_complete(folder)


def test_unused_environments_go_and_others_stay(tmp_path: Path, checkout: Path) -> None:
    """Gone: unused for two weeks, or of a checkout that is gone.  Kept: the one in use, fresh ones, unreadable ones."""
    cache = tmp_path / "c"
    now = 100 * 86400.0
    kept = make_fake(cache / "env-kept", checkout)
    fresh = make_fake(cache / "env-fresh", checkout)
    old = make_fake(cache / "env-old", checkout)
    orphan = make_fake(cache / "env-orphan", tmp_path / "gone")
    strange = make_fake(cache / "env-strange", checkout)
    (strange / setup_env.MARKER).write_text("[]")
    for folder, days in ((kept, 50), (fresh, 3), (old, 15), (orphan, 0), (strange, 50)):
        os.utime(folder / setup_env.MARKER, (now - days * 86400,) * 2)
    setup_env.remove_unused(cache, keep=kept, now=now)
    assert sorted(path.name for path in cache.iterdir()) == ["env-fresh", "env-kept", "env-strange"]


def test_checkout_of_another_user_is_refused_with_the_way_out(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable installation writes into the checkout; where it cannot, it says to use a clone."""
    monkeypatch.setattr(setup_env.os, "access", lambda path, mode: Path(path) != checkout)
    with pytest.raises(steps.StepError, match="use a clone"):
        setup_env.ensure_environment(checkout, [])


def test_no_network_is_said_in_a_sentence_and_nothing_is_marked(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip's trace goes to the log; the user reads what to do, and the next run makes the environment again."""
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(
        steps.StepError, match=r"^the package index cannot be reached.*: check the network.*PIP_INDEX_URL"
    ):
        setup_env.ensure_environment(checkout, [])
    assert not setup_env.is_complete(setup_env.environment_folder(checkout, []))


def test_lock_is_held_until_the_programs_under_it_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed leaves its pip behind: the next run waits for it, then cleans up."""
    program = "import setup_env, steps, pathlib, sys\nwith setup_env.locked(pathlib.Path(sys.argv[1])):\n"
    program += (
        "    steps.run(['sh', '-c', 'echo $$ > ' + sys.argv[1] + '.pid; exec sleep 600'], pathlib.Path('/dev/null'))"
    )
    lock, said = tmp_path / "lock", []
    pid = tmp_path / "lock.pid"
    owner = subprocess.Popen([sys.executable, "-c", program, lock], cwd=SCRIPTS)
    while not (pid.exists() and pid.read_text().strip()):
        assert owner.poll() is None
        time.sleep(0.01)
    owner.kill()
    owner.wait()

    def waiting(text: str) -> None:
        said.append(text)
        os.kill(int(pid.read_text()), signal.SIGKILL)

    monkeypatch.setattr(setup_env, "say", waiting)
    with setup_env.locked(lock):
        assert said == ["waiting for another run that makes an environment"]


# The bash part


def run_setup_env(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with only ``path`` (and the programs that bash itself needs) on PATH."""
    for name in ("bash", "dirname", "sh"):
        if not (path / name).exists():
            (path / name).symlink_to(shutil.which(name) or name)
    return subprocess.run(
        [SCRIPTS / "setup-env", "hub"],
        env={"PATH": str(path), "HOME": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def old_python(path: Path) -> None:
    """A stand-in for a Python that is too old: answers what setup-env asks, as Python 3.9 would."""
    path.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.9 ;; *exit*) exit 1 ;; esac\n')
    path.chmod(0o755)


def test_too_old_a_python_is_named_with_what_is_needed(tmp_path: Path) -> None:
    """Nothing is made; the message says what was found, what is needed and how to get it."""
    old_python(tmp_path / "python3")
    done = run_setup_env(tmp_path)
    assert done.returncode == 1
    assert re.search(r"Python 3\.11 or newer is needed.*python3 is Python 3\.9", done.stderr)
    assert done.stdout == ""


def test_newer_python_beside_an_old_one_is_found(tmp_path: Path) -> None:
    """``python3`` may be old while ``python3.12`` is there: the environment is made from that."""
    old_python(tmp_path / "python3")
    (tmp_path / "python3.12").write_text('#!/bin/sh\ncase "$1" in -c) exit 0 ;; *) echo "ran $1" ;; esac\n')
    (tmp_path / "python3.12").chmod(0o755)
    done = run_setup_env(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"ran {SCRIPTS}/setup_env.py\n")


# Pip from the index, without pip

WHEEL = b"not really a wheel, but with a checksum"
DIGEST = hashlib.sha256(WHEEL).hexdigest()
OFFERED = [  # file, requires-python, yanked, checksum
    ("pip-24.0.tar.gz", ">=3.7", False, DIGEST),
    ("pip-9.0-py2.py3-none-any.whl", None, False, DIGEST),
    ("pip-24.1-py3-none-any.whl", ">=3.8", False, DIGEST),
    ("pip-24.2-py3-none-any.whl", ">=3.8", True, DIGEST),
    ("pip-24.3b1-py3-none-any.whl", ">=3.8", False, DIGEST),
    ("pip-99.0-py3-none-any.whl", ">=3.99", False, DIGEST),
]


class PackageIndex(BaseHTTPRequestHandler):
    """A package index at the wire; ``/html`` the old way, ``/bad`` with wrong checksums, ``/private`` with a login."""

    def do_GET(self) -> None:
        """Answer one request."""
        if "private" in self.path and self.headers.get("Authorization") != "Basic dXM6ZWU6cHc=":
            self.send_response(401)
            self.end_headers()
            return
        kind, body = "application/octet-stream", WHEEL
        if self.path.endswith("/pip/"):
            kind, body = self.json_page() if "html" not in self.path else self.html_page()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def json_page(self) -> tuple[str, bytes]:
        """The page as PEP 691 wants it."""
        files = [
            {
                "filename": name,
                "url": f"http://{self.headers['Host']}{self.path}{name}",
                "hashes": {"sha256": "0" * 64 if "bad" in self.path else digest},
                "requires-python": wants,
                "yanked": yanked,
            }
            for name, wants, yanked, digest in OFFERED
        ]
        return pip_wheel.JSON_PAGE, json.dumps({"files": files}).encode()

    def html_page(self) -> tuple[str, bytes]:
        """The page as PEP 503 wants it, with relative links."""
        links = []
        for name, wants, yanked, digest in OFFERED:
            extra = f' data-requires-python="{wants.replace(">", "&gt;")}"' if wants else ""
            extra += ' data-yanked=""' if yanked else ""
            links.append(f'<a href="../../files/{name}#sha256={digest}"{extra}>{name}</a>')
        return "text/html; charset=utf-8", "\n".join(links).encode()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def index() -> Iterator[str]:
    """Address (host and port) of a running ``PackageIndex``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), PackageIndex) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_pip_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.mark.parametrize("address", ["{}/json", "{}/html", "us:ee%3Apw@{}/private"])
def test_newest_suitable_pip_is_fetched(
    address: str, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a source archive, a pre-release, a yanked one, or one for a newer Python; mirrors with a login too."""
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{address.format(index)}/simple/")
    found = pip_wheel.fetch_pip(tmp_path)
    assert found == tmp_path / "pip-24.1-py3-none-any.whl"
    assert found.read_bytes() == WHEEL


def test_wheel_with_another_checksum_is_not_kept(index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is run must be what the index names."""
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index}/bad/simple")
    with pytest.raises(steps.StepError, match="checksum"):
        pip_wheel.fetch_pip(tmp_path)
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://me:secret@127.0.0.1:9/simple", "cannot be reached"),
        ("file:///srv/me:secret@index", "http or https"),
        ("http://me:secret@{index}/private", r"cannot be reached.*Unauthorized"),
    ],
)
def test_index_errors_are_sentences_without_the_password(
    address: str, says: str, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index address may hold a password, which is in no message."""
    monkeypatch.setenv("PIP_INDEX_URL", address.format(index=index))
    with pytest.raises(steps.StepError, match=says) as caught:
        pip_wheel.fetch_pip(tmp_path)
    assert "http" in str(caught.value)
    if not address.startswith("file"):
        assert "secret" not in str(caught.value)


def test_environment_wins_over_pips_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in pip itself: ``PIP_INDEX_URL`` over ``[install]`` over ``[global]``."""
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://global\ncert = /global.pem\n[install]\ncert = /install.pem\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    assert pip_wheel.pip_settings()["cert"] == "/install.pem"
    assert pip_wheel.pip_settings()["index-url"] == "http://global"
    monkeypatch.setenv("PIP_INDEX_URL", "http://environment")
    assert pip_wheel.pip_settings()["index-url"] == "http://environment"


# Steps and reports


def test_failed_program_shows_the_end_of_its_own_output(tmp_path: Path) -> None:
    """The log holds everything; the message holds its last lines, none of an earlier program, and the log's path."""
    log = tmp_path / "log"
    steps.run(["sh", "-c", "echo earlier"], log)
    with pytest.raises(steps.StepError) as caught:
        steps.run(["sh", "-c", "seq 100; exit 3"], log)
    assert str(caught.value).splitlines()[0] == f"sh failed with status 3; the end of {log}:"
    assert str(caught.value).splitlines()[-1] == "  | 100"
    assert len(str(caught.value).splitlines()) == 1 + steps.TAIL_LINES
    assert "earlier" not in str(caught.value)
    assert log.read_text().startswith("earlier\n1\n")


def test_program_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """A missing program is no traceback."""
    with pytest.raises(steps.StepError, match=r"^/nowhere/program cannot be started: No such file"):
        steps.run(["/nowhere/program"], tmp_path / "log")


@pytest.mark.parametrize(
    ("arguments", "strict"),
    [
        ([], False),
        (["--require", "all"], True),
        (["--require=all", "-k", "x"], True),
        (["-x", "--require", "all"], True),
        (["-k", "all"], False),
        (["all", "--require"], False),
    ],
)
def test_require_all_is_understood_as_pytest_does(arguments: list[str], strict: bool) -> None:
    """Both spellings, anywhere in the line."""
    assert run_tests.requires_all(arguments) is strict


@pytest.mark.parametrize(
    ("results", "lacking", "strict", "status"),
    [
        ({"a": 0, "b": 0}, [], True, 0),
        ({"a": 0, "b": 0}, ["chromium"], False, 0),
        ({"a": 0, "b": 0}, ["chromium"], True, 1),
        ({"a": 0, "b": 5}, [], False, 1),
        ({"a": -9, "b": 0}, [], False, 1),
    ],
)
def test_status_is_right(results: dict[str, int], lacking: list[str], strict: bool, status: int) -> None:
    """One failed check fails the command; a missing tool fails it when everything is required."""
    assert run_tests.report(results, lacking, strict=strict) == status


def test_both_halves_of_the_suite_are_the_whole_suite() -> None:
    """Every folder of tests is in exactly one half; what chooses tests, or a single core, gets one process."""
    first, second = lanes.halves(["--require", "all"], 2)
    found = {str(path.relative_to(TESTS.parent)) for path in TESTS.rglob("test_*.py")}
    for path in found:
        assert sum(path.startswith(f"{folder}/") for folder in first + second) == 1, path
    for one in (["-k", "x"], ["tests/unit"], ["--require", "all", "-x"]):
        assert lanes.halves(one, 2) == []
    assert lanes.halves([], 1) == []


def test_a_half_that_fails_is_told_and_both_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two real pytest processes: each has its status, and what both print is there, whole."""
    for name, test in (("good", "assert True"), ("bad", "assert 'the word' == ''")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(f"def test_{name}():\n    {test}\n")
    monkeypatch.setattr(lanes, "CHECKOUT", tmp_path)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    for sides, statuses in (([["good"], ["bad"]], [0, 1]), ([["bad"], ["good"]], [1, 0])):
        assert list(lanes.run_halves(sides, [], environment).values()) == statuses
        printed = capfd.readouterr().out
        assert all(word in printed for word in ("1 passed", "1 failed", "the word"))


def test_commands_are_executable_and_bash_reads_them() -> None:
    """What the README names can be run as it is written there."""
    for path in (*(SCRIPTS / name for name in ("demo", "test", "bench", "setup-env")), SCRIPTS.parent / ".ci" / "run"):
        assert os.access(path, os.X_OK), path
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0, path


@pytest.mark.parametrize("name", ["demo", "test"])
def test_help_needs_no_environment(name: str, tmp_path: Path) -> None:
    """``--help`` answers at once, from any folder, and installs nothing."""
    done = subprocess.run([SCRIPTS / name, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: ./scripts/{name} ")
    assert not (tmp_path / "cache").exists()


def test_packages_start_no_service_while_they_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian asks policy-rc.d, which is there only for that time; 101 forbids it."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(steps, "POLICY", policy)

    def install() -> None:
        with steps.no_services_started():
            assert subprocess.run([policy, "slapd", "start"]).returncode == 101
            raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        install()
    assert not policy.exists()


def test_a_machine_s_own_rule_for_services_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("of the machine's own")
    monkeypatch.setattr(steps, "POLICY", policy)
    with steps.no_services_started():
        pass
    assert policy.read_text() == "of the machine's own"
