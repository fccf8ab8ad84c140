"""``./scripts/demo`` for real: what its reader is told works, and nothing of it is left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.local_machine import probe_machine
from tests.components.hub import Session, run_cell
from tests.components.keeper import Kept, keeper
from tests.components.need import need
from tests.components.proxy import proxy_command

DEMO = Path(__file__).resolve().parents[2] / "scripts" / "demo.py"
PASSWORD = r"[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}"
LIMIT = 120.0


def wait_until(true: Callable[[], object], what: str) -> None:
    """Wait for something; fails with its name when it does not come."""
    limit = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < limit, f"waited in vain for: {what}"
        time.sleep(0.1)


@dataclass
class Demo:
    """A running demo as its reader sees it: the printed text, and the process."""

    process: Kept
    text: str
    token: str = ""  # run_cell asks as a visitor; no token is ever shown

    @property
    def url(self) -> str:
        """The printed address."""
        return re.search(r"The demo runs: +(http://127\.0\.0\.1:\d+)\n", self.text)[1]

    @property
    def folder(self) -> Path:
        """The demo's folder, from the printed path of the rules."""
        return Path(re.search(r"^Rules: +(.+)/placement_rules", self.text, re.MULTILINE)[1])

    @property
    def log(self) -> str:
        """The hub's log."""
        return (self.folder / "hub" / "hub.log").read_text()

    def password(self, name: str) -> str:
        """The printed password of an account, else the one in the file that the text names."""
        text = self.text + Path(re.search(r"more: (.*/passwords\.txt)", self.text)[1]).read_text()
        return re.search(rf"^ *{name} +({PASSWORD})\b", text, re.MULTILINE)[1]

    def login(self, name: str) -> Session:
        """Log in as a reader would."""
        session = Session(self.url)
        session.login(name, self.password(name))
        return session


@contextmanager
def running_demo(*arguments: str, folder: Path | None = None) -> Iterator[Demo]:
    """A demo that answers; it ends with the block, or with this process."""
    proxy_command()  # lacking it, MissingComponent says why
    with keeper("demo-test", grace=30) as one:
        log = one.folder / "output"
        environment = {**os.environ, "TMPDIR": str(folder or one.folder)}
        process = one.start([sys.executable, str(DEMO), "--port", "0", *arguments], env=environment, log=log)
        wait_until(lambda: "Ctrl-C ends" in log.read_text() or not process.alive(), "the demo's text")
        assert process.alive(), log.read_text()
        yield Demo(process, log.read_text())


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """One demo for the tests that end nothing."""
    with need(running_demo()) as running:
        yield running


def start(demo: Demo, session: Session, name: str, profile: str = "cpu") -> None:
    """Start the user's server by the form of the spawn page and wait until it is ready."""
    answer = session.post("/hub/spawn", {"profile": profile})
    assert answer.status == 200, answer.text

    def server() -> Mapping[str, object]:
        model: Mapping[str, object] = session.script("GET", f"/hub/api/users/{name}").json["servers"].get("", {})
        return model

    wait_until(lambda: server().get("ready") or not server().get("pending"), "the spawn")
    assert server().get("ready"), demo.log[-3000:]


def stop(session: Session, name: str) -> None:
    """Stop the user's server and wait until it is gone."""
    assert session.script("DELETE", f"/hub/api/users/{name}/server").status in (202, 204)
    wait_until(lambda: not session.script("GET", f"/hub/api/users/{name}").json["servers"], "the stop")


def seen_inside(demo: Demo, session: Session, name: str, code: str) -> Mapping[str, object]:
    """Run code that leaves its answer in ``answer``; returns it."""
    text = run_cell(demo, name, f"import json, os\n{code}\nprint(json.dumps(answer))", session=session)  # type: ignore[arg-type]
    return json.loads(text)


LOOK = """
answer = {"uid": os.getuid(), "gid": os.getgid(), "groups": sorted(os.getgroups()), "home": os.path.expanduser("~"),
          "sps": sorted(os.listdir("/sps")) if os.path.isdir("/sps") else None, "memory": os.environ.get("MEM_LIMIT")}
"""
TOUCH = """
open("/sps/atlas/by-alice", "w").close()
open(os.path.expanduser("~/by-alice"), "w").close()
try:
    open("/cvmfs/by-alice", "w").close()
except OSError as error:
    answer = error.errno
"""


def test_text_names_all_that_is_needed(demo: Demo) -> None:
    """Address, three accounts with passwords, rules to edit, and how to end it; each lack of the machine is told."""
    assert len(re.findall(rf"^  (?:alice|erin|mallory) +{PASSWORD} ", demo.text, re.MULTILINE)) == 3
    assert (demo.folder / "placement_rules" / "90-defaults.yaml").is_file()
    squeezed = " ".join(demo.text.split())
    for note in probe_machine().notes:
        assert " ".join(note.split()) in squeezed
    assert demo.text.rstrip().endswith("Ctrl-C ends the demo and every server it started.")


def test_server_runs_as_the_account_with_its_storage(demo: Demo) -> None:
    """``id``, ``ls`` and ``touch`` in a kernel show the account's uid, gid, groups, storage and rights."""
    session = demo.login("alice")
    start(demo, session, "alice")
    seen = seen_inside(demo, session, "alice", LOOK)
    mode = probe_machine().mode
    if mode == "plain":
        assert seen["uid"] == os.getuid()
    else:
        assert (seen["uid"], seen["gid"], seen["home"]) == (62001, 61000, "/home/alice")
        assert seen["sps"] == ["atlas"]
        assert seen_inside(demo, session, "alice", TOUCH) == 30  # read-only file system
        home, storage = (demo.folder / path / "by-alice" for path in ("home/alice", "sps/atlas"))
        owner = (62001, 61000, 61100) if mode == "root" else (os.getuid(), home.stat().st_gid, storage.stat().st_gid)
        assert (home.stat().st_uid, home.stat().st_gid, storage.stat().st_gid) == owner
    if mode == "root":
        assert seen["groups"] == [61000, 61100, 61200]
    stop(session, "alice")


@pytest.mark.parametrize(
    ("name", "profile", "sentence"),
    [
        ("mallory", "gpu", "Your GPU access is suspended until the hoarded sessions are discussed."),
        ("alice", "gpu", "K80"),
        ("bob", "gpu", "no rule"),
    ],
)
def test_refused_user_reads_why(demo: Demo, name: str, profile: str, sentence: str) -> None:
    """The printed text promises that each of them is told the reason."""
    session = demo.login(name)
    answer = session.post("/hub/spawn", {"profile": profile})
    assert sentence in answer.text
    assert not session.script("GET", f"/hub/api/users/{name}").json["servers"]


def test_edit_changes_the_next_spawn_and_a_broken_file_changes_nothing(demo: Demo) -> None:
    """What the printed text invites the reader to try."""
    file = demo.folder / "placement_rules" / "90-defaults.yaml"
    text = file.read_text()
    session = demo.login("erin")
    before = session.page("/hub/spawn")
    file.write_text(text.replace("memory: 4G", "memory: 2G"))
    wait_until(lambda: session.page("/hub/spawn") != before, "the edit on the spawn page")
    after = session.page("/hub/spawn")
    line = 1 + text[: text.index("memory: 4G")].count("\n")
    file.write_text(text.replace("memory: 4G", "memory: lots"))
    wait_until(lambda: f"90-defaults.yaml:{line}: " in demo.log, "the mistake in the log")
    assert choices(session.page("/hub/spawn")) == choices(after)
    start(demo, session, "erin")
    assert seen_inside(demo, session, "erin", LOOK)["memory"] == str(2 * 2**30)
    stop(session, "erin")
    file.write_text(text)
    wait_until(lambda: choices(session.page("/hub/spawn")) == choices(before), "the edit taken back")


def choices(page: str) -> str:
    """The page without what differs at each visit."""
    return re.sub(r"_xsrf[^>]*>|\?v=[0-9a-f]+|xsrf_token[^,]*,", "", page)


def test_taken_port_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """The message names ``--port``; no folder and no process stays."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, DEMO, "--port", str(port)],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(rf"nbplatform: port {port} of 127\.0\.0\.1 is taken .*--port \d+\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_two_demos_do_not_share_a_folder(demo: Demo) -> None:
    """The second is refused before it touches anything of the first."""
    command = [sys.executable, DEMO, "--port", "0", "--dir", demo.folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"another demo runs in {demo.folder}" in done.stderr
    assert demo.process.alive()
    assert demo.log


def family(pid: int) -> set[tuple[int, str]]:
    """A process and all its descendants, each as pid and start time."""
    parents: dict[int, list[int]] = {}
    started: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        started[int(entry.parent.name)] = fields[19]
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        found.add((one, started[one]))
        todo += parents.get(one, [])
    return found


def alive(process: tuple[int, str]) -> bool:
    """Tell whether it still runs; a zombie does not."""
    try:
        fields = Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == process[1] and fields[0] not in "ZX"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_end_leaves_no_process_and_no_folder(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, TERM and even KILL end the hub, its proxy and the servers, and the temporary folder goes."""
    with need(running_demo(folder=tmp_path)) as running:
        session = running.login("alice")
        start(running, session, "alice")
        processes = family(running.process.pid)
        assert len(processes) >= 5  # the demo, its keeper, the hub, the proxy, the server
        running.process.signal(number)
        code = running.process.wait(LIMIT)
        assert code == (-9 if number == signal.SIGKILL else 0)
        wait_until(lambda: not [one for one in processes if alive(one)], "the end of every process")
        wait_until(lambda: not running.folder.exists(), "the end of the folder")
        assert list(tmp_path.iterdir()) == []


def test_given_folder_stays_and_serves_again(tmp_path: Path) -> None:
    """``--dir`` keeps rules and homes from run to run; a run's passwords are its own."""
    passwords = set()
    for text in ("# mine\n", "# mine\n# mine\n"):
        with need(running_demo("--dir", str(tmp_path / "kept"))) as running:
            passwords.add(running.password("alice"))
            rule_file = tmp_path / "kept" / "placement_rules" / "15-lists.yaml"
            rule_file.write_text("# mine\n" + rule_file.read_text())
        assert rule_file.read_text().startswith(text)
    assert len(passwords) == 2
    assert (tmp_path / "kept" / "home" / "alice").is_dir()


def test_hub_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """A rule file that is broken between two runs stops the start; its mistake is shown, and nothing keeps running."""
    with need(running_demo("--dir", str(tmp_path / "kept"))):
        pass
    shutil.rmtree(tmp_path / "kept" / "placement_rules" / "tests")
    (tmp_path / "kept" / "placement_rules" / "90-defaults.yaml").write_text("defaults: {memory: lots}\n")
    command = [sys.executable, DEMO, "--port", "0", "--dir", tmp_path / "kept"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the hub ended at its start" in done.stderr
    assert "90-defaults.yaml:1: " in done.stderr
