"""What a probe on a host is, asks and sees: its script is run by real shells on real folders."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.containers import HUB_LABEL
from nbplatform_spawners.hosts.probe import SCRIPT, Sight, merged, probe_config, probe_question, read_answer

SHELLS = [["/bin/sh"], ["bash"], ["busybox", "sh"]]
INFORMATION = """\
Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 41
GPU UUID: \t {uuid}
Video BIOS: \t 96.00.da.00.0c
Bus Type: \t PCIe
GPU Excluded:\t No
"""


@pytest.fixture(params=SHELLS, ids=lambda shell: "-".join(shell).strip("/"))
def shell(request: pytest.FixtureRequest) -> list[str]:
    """The shells that images have."""
    if shutil.which(request.param[0]) is None:
        pytest.skip(f"{request.param[0]} is not installed")
    return list(request.param)


def ask(shell: list[str], question: bytes, driver: str = "/nowhere") -> Sight:
    """Run the probe's script on this machine and return what it saw."""
    script = SCRIPT.replace("/proc/driver/nvidia", driver)
    ran = subprocess.run([*shell, "-c", script], input=question, capture_output=True, timeout=60, check=True)
    assert ran.stderr == b""
    return read_answer(ran.stdout.decode())


def test_a_probe_sees_the_roots_read_only_and_can_do_nothing_else() -> None:
    """The whole body of the request: no network, no capability but one, gone by itself, and of no hub."""
    config = probe_config("scipy:1", ["/home", "/cvmfs"])
    bind = {"Type": "bind", "ReadOnly": True, "BindOptions": {"Propagation": "rprivate"}}
    assert config == {
        "Image": "scipy:1",
        "Entrypoint": ["/bin/sh", "-c", "exec sleep 120"],
        "Cmd": [],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NVIDIA_VISIBLE_DEVICES=void"],
        "User": "0:0",
        "WorkingDir": "/",
        "Labels": {"nbplatform.probe": "1"},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "AutoRemove": True,
            "CapAdd": ["DAC_READ_SEARCH"],
            "CapDrop": ["ALL"],
            "Init": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "Memory": 256 * 1024**2,
            "Mounts": [
                {**bind, "Source": "/home", "Target": "/home"},
                {**bind, "Source": "/cvmfs", "Target": "/cvmfs"},
            ],
            "NetworkMode": "none",
            "PidsLimit": 64,
            "ReadonlyRootfs": True,
            "SecurityOpt": ["no-new-privileges:true"],
        },
    }
    assert HUB_LABEL not in config["Labels"]


def test_sources_are_looked_up_and_links_followed(shell: list[str], tmp_path: Path) -> None:
    """Missing ones, links and where they lead, circles; what is simply there is not worth a word."""
    for folder in ("home/ada", "data/bob", "home/with two spaces  "):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "home/bob").symlink_to("../data/bob")
    (tmp_path / "home/far").symlink_to("/nowhere/at/all")
    (tmp_path / "home/chain").symlink_to("bob/")
    (tmp_path / "home/round").symlink_to("round2")
    (tmp_path / "home/round2").symlink_to("round")
    (tmp_path / "up").symlink_to("home/../home")
    names = ("home/ada", "home/bob", "home/far/x", "home/chain", "home/round/x", "home/none", "up/ada")
    paths = [f"{tmp_path}/{name}" for name in (*names, "home/with two spaces  ")]
    assert ask(shell, probe_question(paths, ())) == Sight(
        missing=(f"{tmp_path}/home/far/x", f"{tmp_path}/home/none"),
        links=(
            (f"{tmp_path}/home/bob", f"{tmp_path}/data/bob"),
            (f"{tmp_path}/home/far/x", "/nowhere/at/all/x"),
            (f"{tmp_path}/home/chain", f"{tmp_path}/data/bob"),
            (f"{tmp_path}/up/ada", f"{tmp_path}/home/ada"),
        ),
        loops=(f"{tmp_path}/home/round/x",),
        whole=True,
    )


def test_hostile_names_are_paths_and_nothing_else(shell: list[str], tmp_path: Path) -> None:
    """No name is a command, a pattern or an option."""
    names = ["$(touch pwned)", "`touch pwned`", "-n", "*", "a;touch pwned", "%s%n", "\\c", "'\"", "ü"]
    for name in names:
        (tmp_path / "to" / name).mkdir(parents=True)
    (tmp_path / "l").symlink_to("to")
    paths = [f"{tmp_path}/l/{name}" for name in names]
    seen = ask(shell, probe_question(paths, ()))
    assert seen.links == tuple((path, path.replace("/l/", "/to/")) for path in paths)
    assert (seen.missing, seen.whole) == ((), True)
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


def test_of_a_folder_the_links_are_told(shell: list[str], tmp_path: Path) -> None:
    """One level, hidden ones not; a folder that is not there has none; a line end in a name tells no lies."""
    (tmp_path / "ada").mkdir()
    (tmp_path / "bob").symlink_to("/etc")
    (tmp_path / "c\ngpu GPU-0").symlink_to("/etc")
    (tmp_path / "d").symlink_to("/etc\ngpu GPU-0")
    (tmp_path / "ada/below").symlink_to("/etc")
    (tmp_path / "driver").mkdir()
    assert ask(shell, probe_question((), (str(tmp_path), "/no/such")), f"{tmp_path}/driver") == Sight(
        links=((f"{tmp_path}/bob", "/etc"), (f"{tmp_path}/d", "/etc")), gpus=(), whole=True
    )


def test_a_folder_with_too_many_entries_is_left(shell: list[str], tmp_path: Path) -> None:
    """Looking is bounded, and says so."""
    for number in range(20_001):
        (tmp_path / str(number)).touch()
    assert ask(shell, probe_question((), (str(tmp_path),))).crowded == (str(tmp_path),)


# id, ids that the driver's files tell, what is known
CARDS = [
    ("two cards", ["GPU-dc3fb277-da3c-6468-45ea-5bbe1c3ce298", "GPU-2"], None),
    ("a driver without a card", [], None),
    ("a card that the driver has not opened yet", ["GPU-1", "GPU-????????-????-????-????-????????????"], "unknown"),
]


@pytest.mark.parametrize(("_", "uuids", "known"), CARDS, ids=[row[0] for row in CARDS])
def test_gpus_are_read_from_the_driver(shell: list[str], tmp_path: Path, _: str, uuids: list[str], known: str) -> None:
    """The driver's own list, in the form that driver 580 writes; ids that it does not know yet are no ids."""
    for number, uuid in enumerate(uuids):
        folder = tmp_path / f"gpus/0000:00:0{number}.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(INFORMATION.format(uuid=uuid))
    assert ask(shell, b"", str(tmp_path)).gpus == (None if known else tuple(uuids))


def test_without_a_driver_nothing_is_known_of_gpus(shell: list[str]) -> None:
    """No driver is not the same as no GPU."""
    assert ask(shell, b"").gpus is None


# id, answer, what it says
ANSWERS = [
    ("nothing", "", Sight()),
    ("cut off", "missing /a\nmissi", Sight(missing=("/a",))),
    ("to its end", "missing /a b\nlink /c\t/d e\nend\n", Sight(missing=("/a b",), links=(("/c", "/d e"),), whole=True)),
    ("noise of the image", "motd: welcome\nend\n", Sight(whole=True)),
]


@pytest.mark.parametrize(("_", "answer", "sight"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_an_answer_counts_as_whole_only_with_its_end(_: str, answer: str, sight: Sight) -> None:
    """What was cut off on the way is noticed."""
    assert read_answer(answer) == sight


def test_answers_add_up() -> None:
    """Several questions make one sight; one that was cut off spoils the whole."""
    one = Sight(missing=("/a",), links=(("/b", "/c"),), whole=True)
    two = Sight(loops=("/d",), links=(("/b", "/c"),), crowded=("/e",), gpus=("GPU-1",), whole=True)
    assert merged([one, two]) == Sight(("/a",), (("/b", "/c"),), ("/d",), ("/e",), ("GPU-1",), whole=True)
    assert not merged([one, Sight()]).whole
    assert merged([]) == Sight()
