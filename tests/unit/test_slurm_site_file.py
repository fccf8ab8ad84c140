"""The site file of Dask on Slurm: what it says, all of its mistakes at once, and the page about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.errors import BadFile
from nbplatform_spawners.slurm_dask.models import FOLDER, Defaults, GroupDefaults, Limits, Site
from nbplatform_spawners.slurm_dask.site_file import read_site
from nbplatform_spawners.slurm_dask.site_keys import KEYS, markdown_table

GIB = 1024**3
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "slurm-site-file.md").read_text(encoding="utf-8")
WHOLE = """\
slurm:
  way: rest
  rest_url: https://slurm.example.org:6820/
  token_url: https://hub.example.org/services/nbplatform-slurm/token
  timeout: 20s
  network: 10.1.0.0/16
scheduler: {cores: 2, memory: 4G}
workers:
  python: /opt/dask/bin/python
  prologue: [module load gcc, "export OMP_NUM_THREADS=1"]
  shared: [/home, /sps]
defaults: {queue: "htc,long", account: guests, cores: 2, memory: 4G, walltime: 2h, n_workers: 1, gpus: 0}
groups:
  - {group: atlas, account: atlas}
  - {group: gpu-users, queue: gpu}
limits: {workers: 50, cores: 8, memory: 32G, gpus: 2, walltime: 1d, clusters: 3}
idle: 1h
owner_grace: 1m
folder: "/scratch/{username}/dask"
support: help@example.org
"""
SITE = Site(
    way="rest",
    rest_url="https://slurm.example.org:6820",
    token_url="https://hub.example.org/services/nbplatform-slurm/token",
    timeout=20,
    network="10.1.0.0/16",
    scheduler_cores=2,
    scheduler_memory=4 * GIB,
    worker_python="/opt/dask/bin/python",
    prologue=("module load gcc", "export OMP_NUM_THREADS=1"),
    shared=("/home", "/sps"),
    folder="/scratch/{username}/dask",
    idle=3600,
    owner_grace=60,
    defaults=Defaults("htc,long", "guests", 2, 4 * GIB, 7200, 1, 0),
    groups=(GroupDefaults("atlas", account="atlas"), GroupDefaults("gpu-users", queue="gpu")),
    limits=Limits(50, 8, 32 * GIB, 2, 86400, 3),
    support="help@example.org",
)


def mistakes(text: str | bytes) -> list[str]:
    """Every mistake of a site file."""
    with pytest.raises(BadFile) as caught:
        read_site(text, "slurm.yaml")
    return str(caught.value).split("\n")


def test_a_whole_file_is_read() -> None:
    """Every key once; a slash at the end of an address makes no difference."""
    assert read_site(WHOLE, "slurm.yaml") == SITE
    assert read_site(WHOLE.encode(), "slurm.yaml") == SITE


def test_what_is_not_written_is_the_default() -> None:
    """One line is a whole site: commands, Slurm's own queue and account, no limits."""
    assert read_site("slurm: {way: commands}\n", "slurm.yaml") == Site()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slurm: {way: rset}", "1: slurm: way: 'rset': commands or rest is expected, did you mean 'rest'?"),
        ("slurm: {way: rest}", "1: slurm: way: with 'way: rest' the key 'rest_url' is needed"),
        ("slurm: {rest_url: https://s}", "1: slurm: rest_url: it belongs to 'way: rest'"),
        ("slurm: {way: rest, rest_url: 'http://s:6820'}", "1: slurm: rest_url: https:// is expected"),
        ("slurm: {way: rest, rest_url: 'https://u:p@s'}", "https://HOST:PORT/PATH is expected"),
        ("slurm: {way: rest, rest_url: 'https://s?token=x'}", "https://HOST:PORT/PATH is expected"),
        ("slurm: {network: 10.1.2.3/16}", "1: slurm: network: '10.1.2.3/16': a network is an address"),
        ("slurm: {network: 10.1.2.3}", "1: slurm: network: '10.1.2.3': a network is an address and the length"),
        ("slurm: {network: '::1'}", "a network is an address and the length"),
        ("slurm: {network: eth0}", "a network is an address"),
        ("slurm: {timeout: 0s}", "a duration from 1s to 60s is expected"),
        ("slurm: {jwt_key: x}", "1: slurm: unknown key 'jwt_key'"),
        ("slurm: {token: x}", "did you mean 'token_url'?"),
        ("limits: {worker: 5}", "1: limits: unknown key 'worker', did you mean 'workers'?"),
        ("limit: {workers: 5}", "1: the site file: unknown key 'limit', did you mean 'limits'?"),
        ("limits: {workers: 0}", "1: limits: workers: '0': a whole number from 1 is expected"),
        ("limits: {workers: 999999}", "a whole number of at most 100000 is expected"),
        ("limits: {walltime: never}", "leave the key out for no limit"),
        ("limits: {memory: 4 GiB}", "a size is a decimal number and K, M, G or T"),
        ("limits: {memory: 1K}", "at least 1M is expected"),
        ("limits: {cores: 2, cores: 3}", "the key 'cores' stands here twice"),
        ("limits:", "1: limits: a value is missing, keys and values is expected"),
        ("limits: 5", "1: limits: keys and values is expected, not text"),
        ("limits: {cores: 2}\ndefaults: {cores: 4}", "2: defaults: cores: the default 4 is more than the limit 2"),
        (
            "limits: {workers: 2}\ndefaults: {n_workers: 4}",
            "2: defaults: n_workers: the default 4 is more than the limit 2",
        ),
        ("limits: {memory: 1G}", "1: defaults: memory: the default 2 GiB is more than the limit 1 GiB"),
        ("limits: {walltime: 30m}", "1: defaults: walltime: the default 1h is more than the limit 30m"),
        ('defaults: {queue: "htc\\n#SBATCH --uid=0"}', "is no name that Slurm could know"),
        ("defaults: {account: 'a b'}", "1: defaults: account: 'a b'"),
        ("defaults: {walltime: '02:00:00'}", "a duration is whole numbers with s, m, h, d or w"),
        ("workers: {python: bin/python}", "the path is relative"),
        ("workers: {python: '/opt/$(id)/python'}", "letters, digits and _./+@=,- only"),
        ('workers: {prologue: ["module load x\\nrm -r"]}', "one line of at most 500 characters is expected"),
        ("workers: {prologue: ['#SBATCH --mem=1T']}", "options of Slurm do not belong here"),
        ("workers: {prologue: []}", "1: workers: prologue: the list is empty"),
        ("workers: {shared: [home]}", "the path is relative"),
        ("workers: {shared: [/home/../etc]}", "holds '.' or '..'"),
        ("groups: {atlas: x}", "1: groups: a list is expected, not keys and values"),
        ("groups: [{account: x}]", "an entry of groups: the key 'group' is missing"),
        ("groups: [{group: atlas}]", "1: an entry of groups: it sets neither account nor queue"),
        ("groups: [{group: a b, queue: x}]", "a group's name has letters"),
        (
            "groups:\n- {group: a, queue: x}\n- {group: a, queue: y}",
            "3: an entry of groups: group: the group 'a' stands here twice, first in line 2",
        ),
        ("idle: never", "1: the site file: idle: 'never': a duration from 1 minute to 1 week is expected"),
        ("idle: 5s", "a duration from 1 minute to 1 week is expected"),
        ("owner_grace: 2h", "a duration from 1 second to 1 hour is expected"),
        ("folder: dask", "the path is relative"),
        ("folder: '{home}/../x'", "holds '.' or '..'"),
        ("folder: '{uid}/x'", "of placeholders only {home} and {username} are known"),
        ("folder: '/x/{home}'", "{home} stands at the beginning only"),
        ("support: ''", "one line"),
        ("", "1: the file is empty"),
        ("slurm: &a {}\ngroups: *a", "aliases"),
        ("- a", "1: the site file: keys and values is expected, not a list"),
        (b"support: \xff", "the file is not UTF-8 text"),
        ("support: \udcff", "the file is not UTF-8 text"),
        pytest.param("[" * 100, "nested more than", id="brackets"),
        pytest.param("x" * 2**21, "larger than", id="two megabytes"),
    ],
)
def test_a_mistake_says_where_and_what(text: str | bytes, expected: str) -> None:
    """As ``file:line: message``, with what was probably meant."""
    said = mistakes(text)
    assert any(expected in line and line.startswith("slurm.yaml:") for line in said), said


def test_all_mistakes_are_said_at_once() -> None:
    """In the order of their lines: one look, one correction."""
    said = mistakes("slurm: {way: x}\nidle: 1\nlimits: {cores: a}\nfoo: 1\n")
    assert [line.split(":")[1] for line in said] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:6820", "http://localhost:6820", "http://[::1]:6820"])
def test_a_token_may_stay_on_its_machine_in_the_clear(url: str) -> None:
    """Anywhere else ``encryption: none`` says that the site means it."""
    assert read_site(f"slurm: {{way: rest, rest_url: '{url}'}}", "slurm.yaml").rest_url == url
    far = "slurm: {way: rest, rest_url: 'http://127.0.0.1.example.org', encryption: none}"
    assert read_site(far, "slurm.yaml").rest_url == "http://127.0.0.1.example.org"
    assert "tokens cross the network" in mistakes(far.replace("none", "tls"))[0]


@given(st.text(max_size=200))
def test_any_text_is_a_site_or_its_mistakes(text: str) -> None:
    """There is no third way."""
    try:
        assert isinstance(read_site(text, "slurm.yaml"), Site)
    except BadFile as bad:
        found = bad.mistakes
    else:
        found = ()
    assert all(mistake.file == "slurm.yaml" for mistake in found)


def test_the_page_has_every_key_as_the_code_has_it() -> None:
    """``markdown_table`` writes the page's table."""
    assert markdown_table() in PAGE


def test_the_example_of_the_page_has_every_key() -> None:
    """It is read without a mistake."""
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    site = read_site(example, "slurm.yaml")
    assert site.way == "rest"
    assert site.groups
    missing = [key for key in KEYS if not re.search(rf"\b{key.name}:\s", example)]
    assert [key.name for key in missing] == ["encryption"]


def test_the_defaults_of_the_page_are_the_codes() -> None:
    """A file that writes every default out is the same site as one that writes none."""
    sections: dict[str, list[str]] = {}
    for key in KEYS:
        if key.default and key.name not in ("encryption", "folder"):
            value = f"[{key.default}]" if key.form.startswith("list") else key.default
            sections.setdefault(key.section, []).append(f"{key.name}: {value}")
    lines = [*sections.pop(""), *(f"{name}: {{{', '.join(keys)}}}" for name, keys in sections.items())]
    assert read_site("\n".join(lines), "slurm.yaml") == Site()
    assert next(key.default for key in KEYS if key.name == "folder") == FOLDER
