"""The benchmarks that need two hubs, for real but once: how long anything takes, no test asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.cells import measure_cells
from benchmarks.hub_sides import USER, Side, two_sides
from benchmarks.runner import CannotRun
from tests.components.hub import run_cell, stop_server
from tests.components.servers import Door, ServerTrouble

INSIDE = """
import json, os
from pathlib import Path
server = f"/proc/{os.getppid()}"
line = Path(server, "cmdline").read_text().rstrip(chr(0)).split(chr(0))
print(json.dumps({"arguments": [word for word in line if word.startswith("--")],
  "interpreter": os.path.realpath(Path(server, "exe")),
  "settings": {name: os.environ.get(name) for name in ("JUPYTERHUB_SINGLEUSER_APP", "JUPYTERHUB_DISABLE_USER_CONFIG",
    "JUPYTERHUB_ROOT_DIR", "JUPYTERHUB_DEFAULT_URL")}, "at_home": os.getcwd() == os.environ["HOME"]}))
"""


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side]]:
    """Both hubs, as the benchmarks of the jupyter_server application have them."""
    with ExitStack() as stack:
        try:
            both = stack.enter_context(two_sides(lab=False))
        except CannotRun as lacking:
            pytest.skip(str(lacking))
        yield both


def test_spawns_and_cells_of_both_sides_are_measured(
    sides: tuple[Side, Side], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each side gives its figures; what runs on both is the same server with the same settings; all of it ends."""
    ours, peer = sides
    starts = [side.start() for side in sides]
    cells = measure_cells(ours, peer, rounds=1, cells=2)
    assert (len(cells.ours), len(cells.peer)) == (2, 2)
    assert min(*starts, *cells.ours, *cells.peer) > 0
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["cell", "cell"]
    inside = [json.loads(run_cell(side.hub, USER, INSIDE)) for side in sides]
    assert inside[0] == inside[1]
    assert "--allow-root" in inside[0]["arguments"]
    for side in sides:
        door = Door(side.hub, USER, "", None, None)
        assert door.ask("GET", "api/kernels") == []
        with pytest.raises(ServerTrouble, match="404"):
            door.ask("GET", "lab")
        stop_server(side.hub, USER)
    assert len(ours.start_and_stop()) == 1
    assert ours.hub.api("GET", f"users/{USER}").json["servers"] == {}
