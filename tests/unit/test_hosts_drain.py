"""``nbplatform hosts drain``: the line to write, for every way in which a host may be written."""

import pytest

from nbplatform_spawners.hosts.drain import drain_edit, others_serving
from nbplatform_spawners.rules.parse import parse_rules

PROFILES = "profiles: {cpu: {title: CPU, image: i, pool: cpu, allow: true}}\n"
URL = 'url: "tcp://h:2376"'

# id, host's entry as written, line that changes, what it becomes
WRITTEN = [
    (
        "on one line",
        f"      - {{name: cpu01, {URL}, memory: 1G}}",
        f"      - {{name: cpu01, {URL}, memory: 1G}}",
        (f"      - {{name: cpu01, {URL}, memory: 1G, drain: true}}",),
    ),
    (
        "on one line, a comment behind it",
        f"      - {{name: cpu01, {URL}, memory: 1G }}  # {{drain: x}}",
        f"      - {{name: cpu01, {URL}, memory: 1G }}  # {{drain: x}}",
        (f"      - {{name: cpu01, {URL}, memory: 1G, drain: true }}  # {{drain: x}}",),
    ),
    (
        "over two lines, with a comma at the end",
        f"      - {{name: cpu01, {URL},\n         memory: 1G,}}",
        "         memory: 1G,}",
        ("         memory: 1G, drain: true,}",),
    ),
    (
        "drain: false on one line",
        f"      - {{name: cpu01, drain: false, {URL}, memory: 1G}}",
        f"      - {{name: cpu01, drain: false, {URL}, memory: 1G}}",
        (f"      - {{name: cpu01, drain: true, {URL}, memory: 1G}}",),
    ),
    (
        "as a block",
        f"      - name: cpu01  # the old one\n        {URL}\n        memory: 1G",
        "      - name: cpu01  # the old one",
        ("      - name: cpu01  # the old one", "        drain: true"),
    ),
    (
        "as a block, name not first",
        f"      - memory: 1G\n        name: cpu01\n        {URL}",
        "        name: cpu01",
        ("        name: cpu01", "        drain: true"),
    ),
    (
        "drain: false in a block",
        f"      - name: cpu01\n        {URL}\n        drain: false # for now\n        memory: 1G",
        "        drain: false # for now",
        ("        drain: true # for now",),
    ),
    (
        "text beyond ASCII before it",
        f"      # Ümläute und \U0001f5a5\n      - {{name: cpu01, {URL}, memory: 1G}}",
        f"      - {{name: cpu01, {URL}, memory: 1G}}",
        (f"      - {{name: cpu01, {URL}, memory: 1G, drain: true}}",),
    ),
]


def files_with(entry: str) -> dict[str, bytes]:
    """Return rule files with two hosts, one of which is written so."""
    pools = f"# what there is\npools:\n  cpu:\n    hosts:\n{entry}\n      - {{name: cpu011, {URL}, memory: 1G}}\n"
    return {"00-pools.yaml": pools.encode(), "10.yaml": PROFILES.encode()}


@pytest.mark.parametrize(("_", "entry", "before", "after"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_the_line_to_write_is_shown(_: str, entry: str, before: str, after: tuple[str, ...]) -> None:
    """However the entry is written, one line changes, and nothing else of the rules."""
    files = files_with(entry)
    edit = drain_edit(files, "cpu01", drain=True)
    assert (edit.before, edit.after) == ((before,), after)
    assert edit.file == "00-pools.yaml"
    written = files[edit.file].decode().replace(before + "\n", "\n".join(after) + "\n", 1)
    hosts = parse_rules({**files, edit.file: written.encode()}).pools["cpu"].hosts
    assert [(host.name, host.drain) for host in hosts] == [("cpu01", True), ("cpu011", False)]


def test_the_place_is_the_first_line_of_the_entry() -> None:
    """``file:line`` as everywhere: counted from 1."""
    assert drain_edit(files_with(WRITTEN[0][1]), "cpu01", drain=True).where == "00-pools.yaml:5"
    assert drain_edit(files_with(WRITTEN[0][1]), "cpu011", drain=True).where == "00-pools.yaml:6"


def test_a_drained_host_is_taken_back() -> None:
    """The way back is the same line."""
    files = files_with(f"      - {{name: cpu01, {URL}, drain: true, memory: 1G}}")
    edit = drain_edit(files, "cpu01", drain=False)
    assert edit.after == (f"      - {{name: cpu01, {URL}, drain: false, memory: 1G}}",)


def test_windows_line_ends_stay_readable() -> None:
    """Rules edited elsewhere are edited as well."""
    files = files_with(f"      - name: cpu01\n        {URL}\n        memory: 1G")
    files = {name: text.replace(b"\n", b"\r\n") for name, text in files.items()}
    assert drain_edit(files, "cpu01", drain=True).after == ("      - name: cpu01", "        drain: true")


def test_an_unknown_host_is_no_entry() -> None:
    """A host that no file has, though its name stands in a comment."""
    with pytest.raises(KeyError):
        drain_edit(files_with(WRITTEN[0][1] + "  # cpu02"), "cpu02", drain=True)


def test_the_other_hosts_that_still_serve_are_known() -> None:
    """Draining hosts do not count, nor does the host itself."""
    files = files_with(
        f"      - {{name: cpu01, {URL}, memory: 1G}}\n      - {{name: b, {URL}, memory: 1G, drain: true}}"
    )
    book = parse_rules(files)
    assert others_serving(book, book.pools["cpu"], "cpu01") == ["cpu011"]
    assert others_serving(book, book.pools["cpu"], "cpu011") == ["cpu01"]
