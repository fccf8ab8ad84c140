"""Where the site file of Dask on Slurm is found, what its users are told of it, and ``nbplatform slurm check``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbplatform_spawners.slurm_dask import here
from nbplatform_spawners.slurm_dask.errors import ClusterRefused
from nbplatform_spawners.slurm_dask.models import SITE_ENV, SITE_FILE, Site
from nbplatform_spawners.slurm_dask.request import make_request

LIMITS = "limits: {workers: 100, memory: 32G, walltime: 2d}\n"


def load(path: Path) -> Site:
    """Return the site that a server with this file has."""
    return here.load_site({SITE_ENV: str(path)})


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("idle: x\n", "or never: tell your administrators"),
        ("idle: x\nfoo: 1\n", ", and 1 more mistake: tell your administrators"),
        ("idle: x\nfoo: 1\nbar: 1\n", ", and 2 more mistakes: tell your administrators"),
    ],
    ids=["one", "two", "three"],
)
def test_a_user_reads_the_first_mistake_and_how_many_more_there_are(tmp_path: Path, text: str, end: str) -> None:
    """One sentence, with what administrators need to find the file and to know that it is not done with one line."""
    path = tmp_path / "slurm.yaml"
    path.write_text(text)
    with pytest.raises(ClusterRefused) as caught:
        load(path)
    assert f"({path}) cannot be used: slurm.yaml:1: the site file: idle: " in caught.value.message
    assert caught.value.message.endswith(end)


def test_a_refusal_that_the_site_file_could_spare_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file the defaults hold; where they do not do, administrators read which file they have to write."""
    monkeypatch.setattr(here, "SITE_FILE", str(tmp_path / "none.yaml"))
    site = here.load_site({})
    assert site == Site(absent=str(tmp_path / "none.yaml"))
    with pytest.raises(ClusterRefused, match=r"; there is no site file .*none\.yaml that names one: tell your admin"):
        make_request({}, {}, site, [], "/usr/bin/python")
    with pytest.raises(ClusterRefused) as caught:
        make_request({}, {}, Site(), [], "/usr/bin/python")
    assert "site file" not in caught.value.message


def check(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``nbplatform slurm check`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "nbplatform_spawners.cli", "slurm", "check", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != SITE_ENV} | variables,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LIMITS, "way commands, limits: workers 100, memory 32 GiB, walltime 2d"),
        ("slurm: {way: rest, rest_url: 'https://s:6820'}", "way rest at https://s:6820, no limits"),
    ],
    ids=["commands", "rest"],
)
def test_check_says_of_a_good_file_what_holds(tmp_path: Path, text: str, said: str) -> None:
    """One line, and exit status 0; the variable of the servers names the file as well as the argument does."""
    (tmp_path / "slurm.yaml").write_text(text)
    for done in (check("slurm.yaml", cwd=tmp_path), check(cwd=tmp_path, **{SITE_ENV: "slurm.yaml"})):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"slurm.yaml: no mistake: {said}\n"


def test_check_names_every_mistake(tmp_path: Path) -> None:
    """Each on a line of the standard error, and exit status 1."""
    (tmp_path / "slurm.yaml").write_text("idle: x\nlimits: {worker: 5}\n")
    done = check("slurm.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line[:13] for line in done.stderr.splitlines()] == ["slurm.yaml:1:", "slurm.yaml:2:"]


def test_check_of_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """Exit status 1: whoever asks wants to know that nothing was checked."""
    done = check("none.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "none.yaml: No such file or directory\n")
    if not Path(SITE_FILE).exists():
        assert check(cwd=tmp_path).stderr == f"{SITE_FILE}: No such file or directory\n"


def test_the_command_line_loads_no_dask() -> None:
    """It works where the extra ``dask`` is not installed."""
    code = (
        "import sys; from nbplatform_spawners.cli import make_parser; make_parser();"
        "assert 'nbplatform_spawners.slurm_dask.site_command' in sys.modules;"
        "assert not {'dask', 'distributed', 'jupyterhub'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
