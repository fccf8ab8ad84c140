"""Job scripts: their options as sbatch reads them, and as slurmrestd wants them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.slurm_dask.errors import CannotCarry
from nbplatform_spawners.slurm_dask.options import ALIASES, FLAGS, OPTIONAL, SHORT, VALUED
from nbplatform_spawners.slurm_dask.script import directives, properties

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
SCRIPT = """#!/usr/bin/env bash
#SBATCH -J dask-worker-0123456789ab-0
#SBATCH -o /home/ada/log/%j.out
#SBATCH -p htc
#SBATCH -A atlas
#SBATCH -n 1
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH -t 02:00:00
#SBATCH --comment="nbplatform/1 hub=h user=ada server= run=r cluster=0123456789ab"
#SBATCH --gres=gpu:1
#SBATCH --no-requeue
#SBATCH --chdir=/home/ada

echo work
#SBATCH --mem=900G
"""


def script(*lines: str) -> str:
    """A script with these lines."""
    return "\n".join(["#!/bin/sh", *lines, "sleep 1", ""])


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ('#SBATCH --comment="a b" # not this', [("comment", "a b")]),
        ("#SBATCH --comment='a \"b' -J x", [("comment", 'a "b'), ("job-name", "x")]),
        ("#SBATCH --comment=a\\#b", [("comment", "a#b")]),
        ('#SBATCH -Jjoined --comment "two words"', [("job-name", "joined"), ("comment", "two words")]),
        ("#SBATCH --comm=abbreviated", [("comment", "abbreviated")]),
        ("  #SBATCH --comment=indented", []),
        ("#SBATCH--comment=glued", [("comment", "glued")]),
        ("# SBATCH --comment=space", []),
        ("##SBATCH --comment=two", []),
        ("\n\n#SBATCH --comment=blank", [("comment", "blank")]),
        ("echo hi\n#SBATCH --comment=late", []),
        ("#SBATCH --comment='' -J y", [("comment", ""), ("job-name", "y")]),
        ('#SBATCH --comment="in\\\\side \\"q\\""', [("comment", 'in\\side "q"')]),
        ("#SBATCH\t--comment=tab", [("comment", "tab")]),
        ("#SBATCH -HJ held", [("hold", None), ("job-name", "held")]),
        ("#SBATCH -J=eq", [("job-name", "=eq")]),
        ("#SBATCH --nice --comment=n", [("nice", None), ("comment", "n")]),
        ("#SBATCH -J q'u'o\"t\"e", [("job-name", "quote")]),
        ("#SBATCH --tasks=2", [("ntasks", "2")]),
        ("#SBATCH -n 2 #SBATCH -n 3", [("ntasks", "2")]),
        ("#SBATCH --comment a#b", [("comment", "a")]),
    ],
)
def test_options_are_read_as_sbatch_reads_them(line: str, options: list[tuple[str, str | None]]) -> None:
    """Each line was given to a real sbatch, and this is what the job had."""
    assert directives(script(line)) == options


@pytest.mark.parametrize(
    "line",
    [
        "#SBATCHx --comment=other",
        "#SBATCH -J a stray",
        "#SBATCH --comment=a\\ b",
        '#SBATCH -J "unterminated',
        "#SBATCH --job-name",
        "#SBATCH -J",
        "#SBATCH --nope=1",
        "#SBATCH --hold=yes",
        "#SBATCH --mem-=1",
        "#SBATCH -Z",
        "#SBATCH --=1",
        "#SBATCH --comment=cr\r\n",
    ],
)
def test_what_sbatch_refuses_is_refused(line: str) -> None:
    """Each line was given to a real sbatch, which submitted nothing."""
    with pytest.raises(CannotCarry):
        directives(script(line))


@pytest.mark.parametrize("text", ["", "echo hi\n", " #!/bin/sh\n", "#!/bin/sh\necho \0\n"])
def test_a_text_that_is_no_script_is_refused(text: str) -> None:
    """sbatch takes only a text with an interpreter in its first line."""
    with pytest.raises(CannotCarry, match="must begin with #!"):
        directives(text)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_script_is_read_or_refused(lines: list[str]) -> None:
    """There is no third way: no text ends in another error, and every option has a full name."""
    said, options = "", list[tuple[str, str | None]]()
    try:
        options = directives(script(*(f"#SBATCH {line}" for line in lines)))
    except CannotCarry as refused:
        said = refused.message
    assert "\n" not in said
    assert len(said) < 400
    assert {name for name, _ in options} <= VALUED | FLAGS | OPTIONAL


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=60))
def test_a_quoted_value_comes_back_as_it_was(value: str) -> None:
    """A backslash before quotes and backslashes is all that a value in double quotes needs."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert directives(script(f'#SBATCH --comment="{quoted}" -H')) == [("comment", value), ("hold", None)]


def test_the_options_of_sbatch_are_in_one_list_each() -> None:
    """A name that were in two would be read in two ways."""
    assert len(VALUED | FLAGS | OPTIONAL) == len(VALUED) + len(FLAGS) + len(OPTIONAL)
    assert {*SHORT.values(), *ALIASES.values()} <= VALUED | FLAGS | OPTIONAL


def test_a_script_becomes_the_job_that_sbatch_would_make_of_it() -> None:
    """The whole description for slurmrestd v0.0.38; both ways gave the same job on a real Slurm."""
    assert properties(SCRIPT, ENVIRONMENT) == {
        "environment": ENVIRONMENT,
        "name": "dask-worker-0123456789ab-0",
        "standard_output": "/home/ada/log/%j.out",
        "partition": "htc",
        "account": "atlas",
        "tasks": 1,
        "cpus_per_task": 2,
        "memory_per_node": 4096,
        "time_limit": 120,
        "comment": "nbplatform/1 hub=h user=ada server= run=r cluster=0123456789ab",
        "gres": "gpu:1",
        "no_requeue": True,
        "current_working_directory": "/home/ada",
    }


def test_newer_interfaces_have_other_fields() -> None:
    """From v0.0.39 on, numbers say that they are set, and GPUs are a trackable resource."""
    job = properties(SCRIPT, ENVIRONMENT, "v0.0.40")
    assert job["environment"] == ["PATH=/usr/bin:/bin"]
    assert job["memory_per_node"] == {"set": True, "infinite": False, "number": 4096}
    assert job["time_limit"] == {"set": True, "infinite": False, "number": 120}
    assert job["tres_per_node"] == "gres/gpu:1"
    assert job["requeue"] is False
    assert properties(SCRIPT, ENVIRONMENT, "v0.0.39")["tres_per_node"] == "gres:gpu:1"
    assert not {"gres", "no_requeue"} & job.keys()


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("-t 01:30", {"time_limit": 2}),
        ("-t 1-2", {"time_limit": 26 * 60}),
        ("--mem 1500K", {"memory_per_node": 2}),
        ("--mem 100", {"memory_per_node": 100}),
        ("--mem-per-cpu=1gb", {"memory_per_cpu": 1024}),
        ("-N 1", {"nodes": "1-1"}),
        ("-N 1-2", {"nodes": "1-2"}),
        ("--nice", {"nice": 100}),
        ("--nice=-5", {"nice": -5}),
        ("--requeue", {"requeue": True}),
        ("-H", {"hold": True}),
        ("--exclusive", {"exclusive": "exclusive"}),
        ("--exclusive=user", {"exclusive": "user"}),
        ("--export=NONE", {}),
        ("--quiet --parsable", {}),
        ("--gpus=1", {"gpus": "1"}),
        ("-d afterany:1", {"dependency": "afterany:1"}),
    ],
)
def test_an_option_becomes_its_field(line: str, fields: dict[str, Any]) -> None:
    """Each was compared on a real Slurm with the job that sbatch made of the same script."""
    job = properties(script(f"#SBATCH {line}"), ENVIRONMENT)
    assert {key: value for key, value in job.items() if key not in ("environment", "name")} == fields


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--array=0-2", "--array=0-2"),
        ("-w n1", "--nodelist=n1"),
        ("--export=ALL,SECRET=x", "--export=ALL"),
        ("--uid=0", "--uid=0"),
        ("--ntasks-per-node=2", "--ntasks-per-node=2"),
        ("--contiguous", "--contiguous"),
        ("--mem=lots", "'lots'"),
        ("--mem=" + "9" * 400, "whole number"),
        ("--time=UNLIMITED", "'UNLIMITED'"),
        ("--ntasks=²", "whole number"),
        ("--exclusive=mcs", "'mcs'"),
        ("--nodes=1-x", "'1-x'"),
    ],
)
def test_what_rest_cannot_carry_is_one_sentence(line: str, words: str) -> None:
    """Nothing is left out in silence: a job without it would be another job."""
    with pytest.raises(CannotCarry) as caught:
        properties(script(f"#SBATCH {line}"), ENVIRONMENT)
    assert words in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("version", ["v0.0.37", "v0.0.3", "0.0.38", "", "v1.0.0", "v0.0.38/../x"])
def test_an_interface_that_is_not_known_is_refused(version: str) -> None:
    """Older ones lack fields; anything else is none."""
    with pytest.raises(CannotCarry, match=r"older than v0\.0\.38"):
        properties(script(), ENVIRONMENT, version)


def test_a_job_without_environment_is_refused() -> None:
    """slurmrestd takes no such job; a sentence of ours says so first."""
    with pytest.raises(CannotCarry, match="environment"):
        properties(script(), {})
