"""The pictures of the documents: each is there, says in words what it shows, and can be made again."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.components import MissingComponent
from tests.house.pages import ROOT, page_paths, pictures

sys.path.insert(0, str(ROOT / "scripts"))

import pictures as script

FOLDER = ROOT / "docs" / "pictures"
SHOWN = [(page, text, path) for page in page_paths() for text, path in pictures(page)]
MOST_BYTES = 150_000
LEAST_LINES = 40
"""Lines of pixels that differ in a picture on which there is something to see."""


def size_of(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG file."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def different_lines(png: bytes) -> int:
    """Return how many lines of a PNG file, as they are stored, are not the same as another one."""
    at, data = 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    pixels = zlib.decompress(data)
    stride = len(pixels) // size_of(png)[1]
    return len({pixels[start : start + stride] for start in range(0, len(pixels), stride)})


def lacks(name: str, png: bytes) -> list[str]:
    """Return what is wrong with a picture."""
    found = []
    if size_of(png) != script.PICTURES[name].size:
        found.append(f"it is {size_of(png)} pixels large and not {script.PICTURES[name].size}")
    if len(png) > MOST_BYTES:
        found.append(f"it has {len(png)} bytes, more than {MOST_BYTES}")
    if different_lines(png) < LEAST_LINES:
        found.append("it is blank")
    return found


@pytest.mark.parametrize(("page", "text", "path"), SHOWN, ids=[f"{page} {path.name}" for page, _, path in SHOWN])
def test_a_picture_on_a_page_is_there_and_in_words(page: str, text: str, path: Path) -> None:
    """Whoever cannot see a picture reads in a sentence what is to be seen."""
    assert path.is_file(), f"{page}: make it: ./scripts/pictures {path.stem}"
    assert len(text.split()) >= 5, f"{page}: say in words what {path.name} shows"


def test_the_script_makes_what_the_pages_show() -> None:
    """No picture is shown that cannot be made again, none is made that no page shows, and no other file lies there."""
    assert {path.resolve() for _, _, path in SHOWN} == {FOLDER / f"{name}.png" for name in script.PICTURES}
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.png" for name in script.PICTURES}


@pytest.mark.parametrize("name", script.PICTURES)
def test_a_picture_is_small_and_shows_something(name: str) -> None:
    """Pictures have the size of their window, are not blank, and do not make the repository heavy."""
    assert not lacks(name, (FOLDER / f"{name}.png").read_bytes())


def test_the_script_makes_every_picture(tmp_path: Path) -> None:
    """A real hub, real servers and a real Chromium: each page still shows what its picture is to show."""
    try:
        made = list(script.make(tmp_path / "pictures", list(script.PICTURES)))
    except MissingComponent as lacking:
        pytest.skip(str(lacking))
    assert [path.stem for path in made] == list(script.PICTURES)
    assert {path.name: found for path in made if (found := lacks(path.stem, path.read_bytes()))} == {}


def blank_png(width: int, height: int) -> bytes:
    """Return a white picture."""
    lines = (b"\x00" + b"\xff" * 3 * width) * height
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_a_blank_picture_or_one_of_another_size_is_noticed() -> None:
    """The look at the pictures can fail."""
    assert lacks("phone", blank_png(*script.PHONE)) == ["it is blank"]
    assert lacks("phone", blank_png(30, 30)) == [f"it is (30, 30) pixels large and not {script.PHONE}", "it is blank"]


def test_an_unknown_picture_is_refused_with_the_names_that_there_are() -> None:
    """A typo starts no hub."""
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts" / "pictures.py", "spawn-pgae"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "no picture has the name spawn-pgae; there are spawn-page" in ran.stderr


def test_a_page_that_does_not_show_what_it_should_ends_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture is made of a page that lacks what is to be seen; the message names it."""

    class Driver:
        current_url = "http://127.0.0.1/hub/home"

    monkeypatch.setattr(script, "LIMIT", 0.2)
    visitor = script.Visitor(Driver(), "http://127.0.0.1", None)  # type: ignore[arg-type]
    with pytest.raises(script.NotSeenError, match=r"waited in vain for a server at http://127\.0\.0\.1/hub/home"):
        visitor.wait(lambda: False, "a server")
