"""``nbplatform rules``: what it prints, and its exit status."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbplatform_spawners.cli import main
from nbplatform_spawners.rules.parse import generation_of
from nbplatform_spawners.rules.store import read_files

ROOT = Path(__file__).parents[2]
SITE = ROOT / "placement_rules/example-site"
RULES, ACCOUNTS = str(SITE / "placement_rules"), str(SITE / "accounts.yaml")
NOON = "2026-11-23T12:00+01:00"
GIB = 1024**3


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a copy of the example site that may be changed."""
    return Path(shutil.copytree(SITE, tmp_path / "site"))


def edit(site: Path, name: str, old: str, new: str) -> None:
    """Replace text in one rule file."""
    path = site / "placement_rules" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of one command."""
    try:
        status = main(["rules", *arguments])
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def explain(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return what ``explain`` says about the example site, at a fixed time."""
    return run(capsys, "explain", *arguments, "--rules", RULES, "--accounts", ACCOUNTS, "--at", NOON)


def test_check_of_a_good_site_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The example site loads without a mistake and without a warning."""
    status, out, err = run(capsys, "check", RULES)
    generation = generation_of(read_files(Path(RULES)))
    assert (status, err) == (0, "")
    assert out == f"no mistake, 0 warnings: 15 rules, 4 profiles, 4 pools, generation {generation[:12]}\n"


def test_check_names_all_mistakes_of_rules_and_accounts_and_fails(
    capsys: pytest.CaptureFixture[str], site: Path
) -> None:
    """All mistakes at once, one a line, exit 1; nothing else is on the output."""
    edit(site, "50-guests.yaml", "memory: 2G", "memory: 2")
    edit(site, "30-groups.yaml", "groups: [virgo]", "gropus: [virgo]")
    (site / "accounts.yaml").write_text("accounts: {ada: {uid: one, group: users}}\ngroups: {users: 5000}\n")
    status, out, err = run(capsys, "check", str(site / "placement_rules"), "--accounts", str(site / "accounts.yaml"))
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "30-groups.yaml:20: rule 'long analyses of virgo': match: unknown key 'gropus', did you mean 'groups'?",
        "50-guests.yaml:5: rule 'guests get little': memory: '2': a size is a decimal number and K, M, G or T,"
        " such as 512M or 1.5G",
        *(line for line in out.splitlines() if line.startswith("accounts.yaml:1: account 'ada': uid: 'one'")),
    ]
    assert "accounts.yaml:1" in out


def test_check_prints_warnings_and_succeeds(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """Warnings are `file:line: warning: …`, exit 0."""
    edit(site, "20-gpu-whitelist.yaml", "users: [gina, georg]", "users: [gina, gorg]")
    status, out, _ = run(capsys, "check", str(site / "placement_rules"), "--accounts", ACCOUNTS)
    assert status == 0
    assert out.splitlines() == [
        "20-gpu-whitelist.yaml:18: warning: rule 'single persons': no account is called 'gorg'",
        "30-groups.yaml:6: warning: rule 'group storage': no account is in the group 'km3net'",
        "30-groups.yaml:6: warning: rule 'group storage': no account is in the group 'lhcb'",
        out.splitlines()[-1],
    ]


def test_explain_as_json_is_the_contract_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, compared as a whole: bytes, seconds or null, reasons with file and line."""
    status, out, _ = explain(capsys, "gina", "--profile", "gpu", "--format", "json")
    defaults = {"by": "defaults", "where": "90-defaults.yaml:2"}
    profile = {"by": "profile gpu", "where": "10-profiles.yaml:5"}
    rule = {"by": "single persons", "where": "20-gpu-whitelist.yaml:18"}
    mount = {"read_only": True, "propagation": "private", "optional": False, **defaults}
    assert status == 0
    assert json.loads(out) == {
        "user": "gina",
        "profile": "gpu",
        "allowed": True,
        "generation": generation_of(read_files(Path(RULES))),
        "message": None,
        "gpus": 1,
        "reason": "allowed by rule 'single persons'",
        "fields": {
            "allow": {"value": True, **rule},
            "pool": {"value": ["gpu"], **profile},
            "image": {"value": "nbplatform/gpu:2026.11", **profile},
            "memory": {"value": 16 * GIB, **profile},
            "cpu": {"value": 4, **profile},
            "quota.servers": {"value": 3, **defaults},
            "quota.gpus": {"value": 1, **defaults},
            "idle.cull_after": {"value": 259200, **defaults},
            "idle.cull_after_gpu": {"value": 43200, **rule},
            "idle.warn_before": {"value": 7200, **defaults},
            "idle.max_age": {"value": None, **defaults},
            "idle.extend": {"value": 21600, **rule},
        },
        "mounts": [
            {
                **mount,
                "source": "/sps/belle2",
                "target": "/sps/belle2",
                "read_only": False,
                "by": "group storage",
                "where": "30-groups.yaml:6",
            },
            {**mount, "source": "/home/gina", "target": "/home/gina", "read_only": False},
            {**mount, "source": "/pbs/software", "target": "/pbs/software"},
            {**mount, "source": "/pbs/throng/users", "target": "/pbs/throng/users", "optional": True},
            {**mount, "source": "/cvmfs", "target": "/cvmfs", "propagation": "rslave"},
        ],
        "env": [
            {"name": "NBPLATFORM_SITE", "value": "Example Computing Centre", **defaults},
            {"name": "THRONG_DIR", "value": "/pbs/throng/users", **defaults},
        ],
    }


STATUS = {
    "allowed": (("alice", "--profile", "gpu"), 0, "allowed by rule 'machine learning groups'"),
    "refused": (("bob", "--profile", "gpu"), 3, "not-allowed: no rule allows you the profile 'gpu'"),
    "refused by quota": (("georg", "--profile", "gpu-pair"), 3, "quota: "),
    "an account that ended": (("old", "--profile", "cpu"), 3, "account: account 'old': it ended"),
    "no wish": (("carol",), 0, "carol, cpu: allowed by profile cpu"),
    "capitals": (("CAROL",), 0, "carol, cpu: allowed by profile cpu"),
    "through a broker": (("alice", "--provider", "edugain"), 0, "idle.max_age"),
}


@pytest.mark.parametrize(("arguments", "status", "sentence"), STATUS.values(), ids=STATUS)
def test_explain_says_the_same_in_text_and_by_its_status(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    """Exit 0 allowed, 3 refused, an expired account too; both formats give the same reason."""
    text = explain(capsys, *arguments)
    as_json = explain(capsys, *arguments, "--format", "json")
    assert (text[0], as_json[0]) == (status, status)
    assert sentence in text[1]
    assert json.loads(as_json[1])["reason"] in text[1]


def test_explain_in_text_shows_each_field_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """What a person reads: value, who decided, file and line."""
    _, out, _ = explain(capsys, "mallory", "--profile", "gpu")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == [
        "mallory, gpu: not-allowed: refused by rule 'suspended from GPUs'",
        "told to the user: Your GPU access is suspended until the hoarded sessions are discussed."
        " Write to the support desk.",
    ]
    assert "memory 16 GiB profile gpu 10-profiles.yaml:5" in lines
    assert "idle.max_age never defaults 90-defaults.yaml:2" in lines
    assert "/cvmfs /cvmfs (read-only, rslave) defaults 90-defaults.yaml:2" in lines
    assert "THRONG_DIR /pbs/throng/users defaults 90-defaults.yaml:2" in lines


def test_a_refused_identity_is_refused_with_its_reason(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """An account with uid 0 exists, and may have nothing."""
    (site / "accounts.yaml").write_text("groups: {users: 5000}\naccounts: {zero: {uid: 0, group: users}}\n")
    status, out, _ = run(
        capsys,
        *("explain", "zero", "--profile", "cpu", "--format", "json"),
        *("--rules", RULES, "--accounts", str(site / "accounts.yaml")),
    )
    found = json.loads(out)
    assert (status, found["allowed"], found["fields"], found["mounts"], found["env"]) == (3, False, {}, [], [])
    assert found["reason"].startswith("account: ")


LOW = """\
groups: {users: 5000, staff: 50}
accounts:
  low: {uid: 500, group: users}
  docked: {uid: 6001, group: users, groups: [staff]}
  fine: {uid: 6002, group: users}
"""
OUTSIDE = {
    "a uid below": (("low",), 3, "account: account 'low': the uid, 500, is outside the allowed range 1000 to"),
    "a gid below": (("docked",), 3, "account: account 'docked': the gid of group staff, 50, is outside"),
    "inside": (("fine",), 0, "allowed by"),
    "a uid that another range takes": (("low", "--min-uid", "500"), 0, "allowed by"),
    "a gid that another range takes": (("docked", "--min-gid", "50"), 0, "allowed by"),
    "a uid above": (("fine", "--max-uid", "6001"), 3, "account: account 'fine': the uid, 6002, is outside"),
    "a gid above": (("fine", "--max-gid", "4999"), 3, "account: account 'fine': the gid, 5000, is outside"),
}


@pytest.mark.parametrize(("arguments", "status", "reason"), OUTSIDE.values(), ids=OUTSIDE)
def test_an_account_outside_the_range_is_refused_as_the_hub_refuses_it(
    capsys: pytest.CaptureFixture[str], site: Path, arguments: tuple[str, ...], status: int, reason: str
) -> None:
    """Label ``account``, exit 3, in the hub's own range when none is named."""
    (site / "accounts.yaml").write_text(LOW)
    asked = (*arguments, "--profile", "cpu", "--rules", RULES, "--accounts", str(site / "accounts.yaml"))
    found, out, _ = run(capsys, "explain", *asked, "--format", "json")
    assert found == status
    assert json.loads(out)["reason"].startswith(reason)


def test_every_command_that_decides_goes_by_the_range(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """``diff`` and ``test`` see such an account refused, too; ``check`` warns of no profile for it."""
    rules, accounts = str(site / "placement_rules"), str(site / "accounts.yaml")
    (site / "accounts.yaml").write_text(LOW.replace("groups: [staff]", "groups: [users]"))
    cases = "tests: [{name: c, user: low, profile: cpu, expect: {allowed: false, reason: account}}]\n"
    (site / "placement_rules/tests/cases.yaml").write_text(cases)
    wider = ("--accounts", accounts, "--min-uid", "500")
    assert run(capsys, "test", rules)[0] == 0
    assert run(capsys, "test", rules, *wider)[0] == 1
    edit(site, "90-defaults.yaml", "memory: 4G", "memory: 9T")
    assert ": docked, fine\n" in run(capsys, "diff", RULES, rules, "--accounts", accounts)[1]
    assert ": docked, fine, low\n" in run(capsys, "diff", RULES, rules, *wider)[1]
    assert "(for docked, fine)\n" in run(capsys, "check", rules, "--accounts", accounts)[1]
    assert "(for low, docked, fine)\n" in run(capsys, "check", rules, *wider)[1]


WRONG_USE = {
    "an empty range": (
        ("explain", "alice", "--min-uid", "9", "--max-uid", "8"),
        "--min-uid 9 is more than --max-uid 8",
    ),
    "an empty range of gids": (("explain", "alice", "--max-gid", "8"), "--min-gid 1000 is more than --max-gid 8"),
    "a range from 0": (("explain", "alice", "--min-uid", "0"), "'0': a number from 1 to 4294967294 is expected"),
    "a range without end": (("explain", "alice", "--max-gid", "9" * 5000), "a number from 1 to 4294967294 is expected"),
    "a range in words": (("explain", "alice", "--min-gid", "\u0661\n"), "'\\u0661\\n': a number from 1 to"),
    "unknown user": (("explain", "alise"), "unknown user 'alise', did you mean 'alice'?"),
    "unknown profile": (("explain", "alice", "--profile", "gpus"), "unknown profile 'gpus', did you mean 'gpu'?"),
    "unknown profile for all": (("explain", "--all", "--profile", "x"), "unknown profile 'x'"),
    "neither a user nor all": (("explain",), "name a USER, or say --all"),
    "a user and all": (("explain", "alice", "--all"), "name a USER, or say --all"),
    "a time without an offset": (("explain", "alice", "--at", "2026-11-23T12:00"), "a time is date, time and offset"),
    "a provider that no broker has": (("explain", "alice", "--provider", "../x"), "identity provider '../x'"),
    "unknown format": (("explain", "alice", "--format", "yaml"), "invalid choice"),
    "no command": ((), "required"),
    "no directory": (("check",), "required"),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG_USE.values(), ids=WRONG_USE)
def test_wrong_use_is_exit_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    """2 usage, also an unknown user or profile; the sentence is on the standard error."""
    if arguments[:1] == ("explain",):
        arguments = (*arguments, "--rules", RULES, "--accounts", ACCOUNTS)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert sentence in err


BAD_FILES = {
    "no such rules": (("--rules", "nowhere", "--accounts", ACCOUNTS), "nowhere: the rule directory cannot be read"),
    "no such accounts": (("--rules", RULES, "--accounts", "nowhere.yaml"), "nowhere.yaml: the accounts file cannot be"),
}


@pytest.mark.parametrize(("arguments", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_rules_or_accounts_are_exit_status_1(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    """1: the rules or the accounts file are bad; scripts find nothing on the output."""
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, "explain", "alice", *arguments)
    assert (status, out) == (1, "")
    assert sentence in err


def test_explain_finds_the_files_where_an_administrator_has_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, site: Path
) -> None:
    """Without options: placement_rules and accounts.yaml of the current directory."""
    monkeypatch.chdir(site)
    assert run(capsys, "explain", "carol")[0] == 0


def test_explain_all_is_a_table_of_every_account_and_profile(capsys: pytest.CaptureFixture[str]) -> None:
    """19 accounts with 4 profiles each, one a line, aligned; exit 0 though many are refused."""
    status, out, _ = explain(capsys, "--all")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 1 + 19 * 4)
    assert lines[0].split() == ["USER", "PROFILE", "DECISION", "POOL", "HOSTS", "MEMORY", "CPU", "GPUS", "WHY"]
    column = lines[0].index("DECISION")
    assert {line[column:].split()[0] for line in lines[1:]} == {"allowed", "not-allowed", "quota", "account"}
    assert any(line.split()[:3] == ["dan", "cpu", "allowed"] and "cpu03, cpu04" in line for line in lines)


def test_explain_all_as_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is what ``explain`` prints for that account and profile."""
    status, out, _ = explain(capsys, "--all", "--profile", "gpu", "--format", "json")
    found = [json.loads(line) for line in out.splitlines()]
    assert (status, len(found), {one["profile"] for one in found}) == (0, 19, {"gpu"})
    assert found[0] == json.loads(explain(capsys, "alice", "--profile", "gpu", "--format", "json")[1])


def diff(capsys: pytest.CaptureFixture[str], site: Path, *options: str) -> tuple[int, list[str]]:
    """Return what would change from the example site to the edited one."""
    new = str(site / "placement_rules")
    status, out, _ = run(capsys, "diff", RULES, new, "--accounts", ACCOUNTS, "--at", NOON, *options)
    return status, out.splitlines()


def test_diff_of_the_same_rules_says_nobody(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """A comment or another order of files is no change for anybody."""
    with (site / "placement_rules/90-defaults.yaml").open("a") as file:
        file.write("# a comment\n")
    assert diff(capsys, site) == (0, ["nobody would get anything else"])


def test_diff_says_who_would_get_something_else(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """Users for whom the same would change stand together; a refusal shows no fields."""
    edit(site, "20-gpu-whitelist.yaml", "users: [gina, georg], profiles: [gpu]", "users: [gina], profiles: [gpu]")
    edit(site, "10-profiles.yaml", "gpus: 1, gpu_model: K80, memory: 16G", "gpus: 1, gpu_model: K80, memory: 8G")
    status, lines = diff(capsys, site)
    assert status == 0
    assert lines == [
        "gpu: alice, gina, vera, victor",
        "  memory: 16 GiB -> 8 GiB",
        "gpu: georg",
        "  decision: allowed -> not-allowed",
    ]


def test_diff_shows_mounts_variables_and_profiles_that_come_and_go(
    capsys: pytest.CaptureFixture[str], site: Path
) -> None:
    """Everything that a user would notice counts."""
    edit(
        site, "50-guests.yaml", "    memory: 2G\n", "    memory: 2G\n    env: {GUEST: me}\n    mounts: [{source: /g}]\n"
    )
    edit(site, "90-defaults.yaml", "max_age: never", "max_age: 5d")
    edit(site, "10-profiles.yaml", "profiles:\n", "profiles:\n  zero: {title: Z, pool: cpu, memory: 1G, allow: true}\n")
    status, lines = diff(capsys, site)
    assert status == 0
    for line in (
        "  mount /g: nothing -> /g",
        "  env GUEST: nothing -> me",
        "  idle.max_age: never -> 5d",
        "  decision: no such profile -> allowed",
        "  profile: cpu -> zero",
    ):
        assert line in lines


def test_diff_as_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """For scripts: user, profile, and each change with both values."""
    edit(site, "20-gpu-whitelist.yaml", "memory: 48G", "memory: 64G")
    status, lines = diff(capsys, site, "--format", "json")
    assert (status, [json.loads(line) for line in lines]) == (
        0,
        [{"user": "vera", "profile": "gpu-pair", "changes": {"memory": {"old": 48 * GIB, "new": 64 * GIB}}}],
    )


def test_test_runs_the_cases_of_the_site(capsys: pytest.CaptureFixture[str]) -> None:
    """The accounts beside the rules are found without an option."""
    assert run(capsys, "test", RULES) == (0, "22 cases: 22 passed, 0 failed\n", "")


def test_a_failed_case_shows_expected_got_and_what_decided(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """What to correct is on the screen; exit 1."""
    edit(site, "90-defaults.yaml", "memory: 4G", "memory: 5G")
    status, out, _ = run(capsys, "test", str(site / "placement_rules"))
    lines = out.splitlines()
    assert status == 1
    assert lines[:5] == [
        "tests/cases.yaml:16: failed: and still computes on CPU (mallory, cpu)",
        "  memory",
        "    expected  4 GiB",
        "    got       5 GiB",
        "    decided by defaults (90-defaults.yaml:2)",
    ]
    assert lines[-1] == "22 cases: 18 passed, 4 failed"


FAILING = """\
tests:
  - name: a mount in detail
    user: bob
    profile: cpu
    expect: {mounts: [{target: /cvmfs, read_only: false, optional: true}, /nowhere], without_mounts: [/cvmfs]}
  - {name: a variable, user: bob, profile: cpu, expect: {env: {NBPLATFORM_SITE: Other}, quota: {servers: 9}}}
"""


def test_a_failed_case_with_mounts_as_objects_is_shown(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """Every kind of expectation can fail on the command line, those that are objects as well."""
    (site / "placement_rules/tests/cases.yaml").write_text(FAILING)
    status, out, err = run(capsys, "test", str(site / "placement_rules"))
    lines = [line.strip() for line in out.splitlines()]
    assert (status, err) == (1, "")
    assert lines[:5] == [
        "tests/cases.yaml:2: failed: a mount in detail (bob, cpu)",
        "mount /cvmfs: read_only",
        "expected  false",
        "got       true",
        "decided by defaults (90-defaults.yaml:2)",
    ]
    assert [line for line in lines if line.startswith(("mount", "env", "quota"))] == [
        "mount /cvmfs: read_only",
        "mount /cvmfs: optional",
        "mount /nowhere",
        "mount /cvmfs",
        "env NBPLATFORM_SITE",
        "quota.servers",
    ]
    assert lines[-1] == "2 cases: 0 passed, 2 failed"


BAD_CASES = {
    "a mistake in a case": ("tests: [{name: c, user: alise, expect: {allowed: true}}]", 1, "tests/cases.yaml:1: case"),
    "not YAML": ("tests: [", 1, ": not valid YAML"),
    "nothing": ("", 1, "0 cases"),
}


@pytest.mark.parametrize(("text", "status", "sentence"), BAD_CASES.values(), ids=BAD_CASES)
def test_cases_that_cannot_be_run_fail(
    capsys: pytest.CaptureFixture[str], site: Path, text: str, status: int, sentence: str
) -> None:
    """A site whose cases test nothing must not pass."""
    (site / "placement_rules/tests/cases.yaml").write_text(text)
    found = run(capsys, "test", str(site / "placement_rules"))
    assert found[0] == status
    assert sentence in found[1] + found[2]


def test_a_site_without_cases_or_accounts_is_told_what_is_missing(
    capsys: pytest.CaptureFixture[str], site: Path
) -> None:
    """No cases is exit 1, no accounts named or found is wrong use."""
    shutil.rmtree(site / "placement_rules/tests")
    assert run(capsys, "test", str(site / "placement_rules"))[0] == 1
    (site / "accounts.yaml").unlink()
    status, _, err = run(capsys, "test", str(site / "placement_rules"))
    assert status == 2
    assert "name the accounts with --accounts FILE" in err


COMMANDS = ((), ("check",), ("explain",), ("diff",), ("test",), ("schema",))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "rules")
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """``--help`` everywhere, with examples."""
    status, out, _ = run(capsys, *command, "--help")
    assert status == 0
    assert f"\n  nbplatform rules {' '.join(command)}".rstrip() in out
    assert "example" in out


def test_nothing_that_a_terminal_would_obey_is_printed(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    """Control characters from files are escaped, whatever the command."""
    edit(site, "90-defaults.yaml", '"Example Computing Centre"', '"\\e[31mred\\nline"')
    new = str(site / "placement_rules")
    for arguments in (
        ("explain", "carol", "--rules", new, "--accounts", ACCOUNTS),
        ("diff", RULES, new, "--accounts", ACCOUNTS),
        ("explain", "carol", "--rules", new, "--accounts", ACCOUNTS, "--format", "json"),
        ("check", "\x1b[31m"),
        ("explain", "\x1b[31m", "--rules", new, "--accounts", ACCOUNTS),
    ):
        _, out, err = run(capsys, *arguments)
        assert (out + err).replace("\n", "").isprintable()


def test_the_installed_command_runs_and_survives_a_closed_pipe() -> None:
    """`nbplatform rules explain --all | head -1` ends without a traceback."""
    command = [sys.executable, "-m", "nbplatform_spawners.cli", "rules", "explain", "--all", "--format", "json"]
    process = subprocess.Popen(
        [*command, "--rules", RULES, "--accounts", ACCOUNTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    assert json.loads(process.stdout.readline())["user"] == "alice"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141
