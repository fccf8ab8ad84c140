"""``nbplatform hosts`` without a Docker daemon: wrong use, bad rules, hosts that do not answer, and what is printed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbplatform_spawners.cli import main
from nbplatform_spawners.hosts.pull_lines import PullLines, Terminal
from nbplatform_spawners.names import bounded
from tests.components.docker_pki import Authority

RULES = """\
pools:
  cpu:
    hosts:
      - {name: cpu01, url: "tcp://127.0.0.1:9", memory: 32G}
      - {name: cpu02, url: "tcp://127.0.0.1:9", memory: 32G, drain: true}
  gpu: {overcommit: 1.5, hosts: [{name: gpu01, url: "tcp://127.0.0.1:9", memory: 32G, gpus: [GPU-1, GPU-2]}]}
profiles:
  cpu: {title: CPU, image: "scipy:1", pool: cpu, allow: true}
"""
ACCOUNTS = """\
groups: {users: 5000}
accounts: {ada: {uid: 5001, group: users}}
"""
WITHOUT_DOCKER = """\
import sys
sys.modules["docker"] = None
from nbplatform_spawners.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rules and accounts, the current one; no certificates."""
    (tmp_path / "placement_rules").mkdir()
    (tmp_path / "placement_rules/00.yaml").write_text(RULES)
    (tmp_path / "accounts.yaml").write_text(ACCOUNTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOCKER_CERT_PATH", raising=False)
    return tmp_path


@pytest.fixture
def certificates(tmp_path: Path) -> str:
    """A folder with a client's good certificates."""
    return str(Authority(tmp_path / "authority").client())


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of one command."""
    try:
        status = main(["hosts", *arguments])
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def run_without_docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where docker-py is not installed."""
    command = [sys.executable, "-c", WITHOUT_DOCKER, "hosts", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


ENDLESS = "x" * 300

# id, arguments, what stands on the standard error
WRONG = [
    ("unknown host", ["status", "--host", "cpu011"], "unknown host 'cpu011', did you mean 'cpu01'?"),
    ("unknown pool", ["check", "--pool", "gpus"], "unknown pool 'gpus', did you mean 'gpu'?"),
    ("no host left", ["status", "--pool", "gpu", "--host", "cpu01"], "none of the hosts is in these pools"),
    ("unknown host to drain", ["drain", "gpu02"], "unknown host 'gpu02', did you mean 'gpu01'?"),
    ("no images", ["pull", "--pool", "gpu"], "the rules name no image for these hosts; name the images to fetch"),
    ("no folder", ["status", "--tls-directory", "nowhere"], "--tls-directory 'nowhere' is no directory"),
    (
        "an endless name",
        ["status", "--tls-directory", ENDLESS],
        f"--tls-directory {bounded(ENDLESS, 200)} cannot be used",
    ),
    ("a root of the system", ["check", "--mount-root", "/etc"], "mount root '/etc': /etc is a part of the system"),
    ("a relative root", ["check", "--mount-root", "home"], "mount root 'home': the path is relative"),
    ("no range", ["check", "--accounts", "accounts.yaml", "--min-uid", "9", "--max-uid", "8"], "--min-uid 9 is more"),
]


@pytest.mark.parametrize(("_", "arguments", "said"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_use_is_told_and_exits_2(
    site: Path, capsys: pytest.CaptureFixture[str], _: str, arguments: list[str], said: str
) -> None:
    """A sentence with what was probably meant, nothing on the output."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"nbplatform hosts: {said}")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--timeout", "0"],
        ["status", "--timeout", "soon"],
        ["check", "--certificate-days", "-1"],
        ["drain"],
        [],
    ],
    ids=" ".join,
)
def test_what_the_parser_refuses_exits_2(site: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """The parser's own words."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "usage: nbplatform hosts" in err


@pytest.mark.parametrize("command", [["status"], ["check"], ["drain", "cpu01"], ["pull"]], ids=" ".join)
def test_bad_rules_are_told_as_rules_check_tells_them(
    site: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Every mistake, `file:line: message`, exit 1; no host is asked."""
    (site / "placement_rules/10.yaml").write_text("rules:\n  - {name: r, match: {gropus: [a]}}\n")
    (site / "placement_rules/20.yaml").write_text("defaults: {memory: 4}\n")
    status, out, err = run(capsys, *command)
    main(["rules", "check", "placement_rules"])
    assert (status, out) == (1, "")
    assert err == capsys.readouterr().out
    assert len(err.splitlines()) == 2


def test_bad_accounts_are_told_and_exit_1(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in ``rules check``."""
    (site / "accounts.yaml").write_text("accounts: {ada: {uid: one}}\n")
    assert run(capsys, "check", "--accounts", "accounts.yaml")[0] == 1
    status, out, err = run(capsys, "check", "--accounts", "none.yaml")
    assert (status, out, err) == (1, "", "none.yaml: the accounts file cannot be read: No such file or directory\n")


def test_rules_without_hosts_say_so(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A site of the local backend, or on Kubernetes."""
    text = "pools: {here: {}}\nprofiles: {cpu: {title: CPU, image: i, pool: here, allow: true}}\n"
    (site / "placement_rules/00.yaml").write_text(text)
    assert run(capsys, "status") == (2, "", "nbplatform hosts: no pool has hosts with a Docker daemon\n")


def test_hosts_out_of_reach_are_in_the_table_and_exit_1(
    site: Path, capsys: pytest.CaptureFixture[str], certificates: str
) -> None:
    """With the reason; of none of them anything is known."""
    status, out, err = run(capsys, "status", "--timeout", "5", "--tls-directory", certificates)
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["cpu01", "cpu", "no", "-"],
        ["cpu02", "cpu", "no", "yes"],
        ["gpu01", "gpu", "no", "-"],
    ]
    assert "? of 48 GiB" in lines[3]
    assert "? of 2" in lines[3]
    assert [line.partition(": ")[0] for line in lines[4:]] == [
        "cpu01, cpu02, gpu01",
        "0 of 3 hosts reachable, 0 servers",
    ]
    assert "cannot be asked" in lines[4]


def test_without_certificates_no_host_is_asked(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the flag."""
    _, out, _ = run(capsys, "status")
    assert out.splitlines()[4] == (
        "cpu01, cpu02, gpu01: no client certificates: name their folder with --tls-directory"
    )


def test_status_for_scripts_is_one_object(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the generation of the rules; filters hold here, too."""
    status, out, _ = run(capsys, "status", "--json", "--pool", "gpu")
    shown = json.loads(out)
    assert status == 1
    assert [(host["host"], host["reachable"], host["servers"]) for host in shown["hosts"]] == [("gpu01", False, None)]
    assert len(shown["generation"]) == 64


def test_check_names_certificates_that_others_can_use(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that others can read is a finding with what to do, and the host is not asked."""
    folder = site / "tls/cpu02"
    folder.mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).touch()
        (folder / name).chmod(0o644)
    status, out, _ = run(capsys, "check", "--host", "cpu02", "--tls-directory", "tls")
    assert status == 1
    assert out == (
        "cpu02: tls: others than its owner can use 'tls/cpu02/key.pem' (mode 0644): set its mode to 0400 or 0440\n"
        "1 host looked at: 1 problem, 0 notes\n"
    )


def test_check_for_scripts_is_one_object(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings with stable labels, the rules' own first."""
    (site / "placement_rules/90.yaml").write_text("defaults: {mounts: [{source: /sps/x}]}\n")
    status, out, _ = run(capsys, "check", "--json", "--host", "cpu02")
    shown = json.loads(out)
    assert status == 1
    assert shown["hosts"] == 1
    found = [(finding["host"], finding["level"], finding["about"]) for finding in shown["findings"]]
    assert found == [(None, "problem", "source"), ("cpu02", "problem", "tls")]


def test_certificates_are_where_docker_has_them_unless_told(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``DOCKER_CERT_PATH`` is the default of --tls-directory."""
    monkeypatch.setenv("DOCKER_CERT_PATH", str(site / "docker"))
    _, out, _ = run(capsys, "status", "--host", "cpu02")
    assert f"cpu02: cannot read '{site}/docker/ca.pem'" in out


def test_drain_shows_the_line_and_changes_nothing(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also for a host that does not answer, exit 0."""
    status, out, err = run(capsys, "drain", "cpu01")
    assert (status, err) == (0, "")
    assert out.splitlines()[:6] == [
        "to drain cpu01, write in 00.yaml:4",
        '-       - {name: cpu01, url: "tcp://127.0.0.1:9", memory: 32G}',
        '+       - {name: cpu01, url: "tcp://127.0.0.1:9", memory: 32G, drain: true}',
        "",
        "The hub takes it within 2 s: nothing new starts there from then on, until you take it back.",
        "No other host of pool cpu takes servers: whoever needs one there is refused.",
    ]
    assert out.splitlines()[6].startswith("What runs there now is not known: ")
    assert (site / "placement_rules/00.yaml").read_text() == RULES


def test_drain_of_a_drained_host_shows_the_way_back(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command twice does not drain more."""
    status, out, _ = run(capsys, "drain", "cpu02", "--json")
    edit = json.loads(out)["edit"]
    assert status == 0
    assert (edit["drain"], edit["file"], edit["line"]) == (False, "00.yaml", 5)
    assert edit["after"] == [edit["before"][0].replace("drain: true", "drain: false")]


@pytest.mark.parametrize("flag", ["--tls-directory", "DOCKER_CERT_PATH"])
def test_a_folder_of_somebody_else_is_a_sentence(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    """The client key is the hub's user's alone: who may not look into its folder is told whom to be."""
    folder = site / "docker-tls"
    folder.mkdir(mode=0o700)
    arguments = ["status", flag, str(folder)] if flag.startswith("--") else ["status"]
    monkeypatch.setenv("DOCKER_CERT_PATH", "" if flag.startswith("--") else str(folder))

    stat = Path.stat

    def refuse(path: Path, **how: bool) -> os.stat_result:
        if path.parent == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refuse)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert f"{flag} '{folder}' may not be looked into: run this as the hub's user" in err


@pytest.mark.parametrize("command", [["status"], ["check"], ["pull"]], ids=" ".join)
def test_a_missing_package_is_a_sentence(site: Path, command: list[str]) -> None:
    """It says what to install."""
    ran = run_without_docker(*command)
    assert (ran.returncode, ran.stdout) == (2, "")
    said = "the Python package 'docker' is missing: pip install \".[docker]\" in the platform's checkout"
    assert ran.stderr == f"nbplatform hosts: {said}\n"


def test_drain_works_without_docker(site: Path) -> None:
    """What the rules say needs no daemon; what runs there is said to be unknown."""
    ran = run_without_docker("drain", "cpu01")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("to drain cpu01, write in 00.yaml:4\n")
    assert "What runs there now is not known: the Python package 'docker' is missing: pip install" in ran.stdout


def test_the_other_commands_need_no_docker(site: Path) -> None:
    """``rules`` and ``accounts`` work where docker-py is not installed."""
    command = [sys.executable, "-c", WITHOUT_DOCKER, "rules", "check", "placement_rules"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_pull_fails_for_each_host_and_image(site: Path, capsys: pytest.CaptureFixture[str], certificates: str) -> None:
    """A host that fails stops no other; the object holds every outcome, the steps are on the standard error."""
    status, out, err = run(capsys, "pull", "a:1", "a:1", "b:1", "--json", "--tls-directory", certificates)
    done = json.loads(out)["images"]
    assert status == 1
    assert [(one["host"], one["image"]) for one in done] == [
        (host, image) for host in ("cpu01", "cpu02", "gpu01") for image in ("a:1", "b:1")
    ]
    assert all(one["problem"] for one in done)
    assert err.count("fetching") == 6
    assert "\x1b" not in err


def test_progress_without_a_terminal_is_a_line_for_each_step() -> None:
    """No line is overwritten, and none is written for mere progress."""
    stream = io.StringIO()
    lines = PullLines(stream, ["a", "b"], None)
    lines.step("a", "fetching x:1")
    lines.progress("a", "x:1", 5, 10)
    lines.step("b", "failed: \x1b[2J")
    assert stream.getvalue() == "a: fetching x:1\nb: failed: \\x1b[2J\n"


def test_progress_on_a_terminal_is_one_line_for_each_host() -> None:
    """All lines are drawn again in place, cut to the width."""
    stream = io.StringIO()
    lines = PullLines(stream, ["a", "bc"], Terminal(width=30, height=24))
    lines.step("a", "fetching x:1")
    lines.progress("bc", "very/long/name:1", 512, 2048)
    lines.progress("bc", "very/long/name:1", 0, 0)
    assert stream.getvalue() == (
        "\x1b[2Ka   fetching x:1\n\x1b[2Kbc  waiting\n"
        "\x1b[2A\x1b[2Ka   fetching x:1\n\x1b[2Kbc   25 % of 2 KiB  very/long\n"
    )


def test_more_hosts_than_lines_are_not_drawn_in_place() -> None:
    """The first would have scrolled away."""
    stream = io.StringIO()
    lines = PullLines(stream, ["a", "b", "c"], Terminal(width=80, height=3))
    lines.step("a", "fetching x:1")
    assert stream.getvalue() == "a: fetching x:1\n"
