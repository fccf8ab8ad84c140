"""The documents build without a warning and without a network, and what is built loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.cli import make_parser
from nbplatform_spawners.rules.fields import LANGUAGE
from tests.house.pages import ROOT, page_paths
from tests.house.test_traits import GENERATOR

SCRIPT = ROOT / "scripts" / "docs.py"
NO_NETWORK = """
import socket
def refused(*_, **__):
    raise SystemExit("the build of the documents asks the network")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = socket.socket.connect_ex = refused
"""
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
ELSEWHERE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?\s*(?:https?:)?//[^)"']*""", re.IGNORECASE)


def run_build(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with a Python that cannot reach any network; ``folder`` is for what arranges that."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    env = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    top = tmp_path_factory.mktemp("docs")
    ran = run_build("--to", str(top / "out"), folder=top / "no-network")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{top}/out/html/index.html\n"
    return top / "out" / "html"


def test_the_build_has_no_network(tmp_path: Path) -> None:
    """What cuts the network off does so."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "asks the network" in ran.stderr


class Loads(HTMLParser):
    """Collects what a page makes a browser fetch by itself from another site; links to click are none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        given = {name: value or "" for name, value in attrs}
        wanted = [given.get(LOADED.get(tag, ""), ""), *given.get("srcset", "").split(",")]
        if tag == "link" and LOADED_LINKS & set(given.get("rel", "").split()):
            wanted.append(given.get("href", ""))
        wanted += IN_STYLES.findall(given.get("style", ""))
        self.elsewhere += [one for one in wanted if ELSEWHERE.match(one) or IN_STYLES.match(one)]


def loaded_from_elsewhere(html: str) -> list[str]:
    """Return the addresses of other sites that a page loads something from."""
    parser = Loads()
    parser.feed(html)
    styles = re.findall(r"<style[^>]*>(.*?)</style>", html, re.DOTALL)
    return parser.elsewhere + [found for style in styles for found in IN_STYLES.findall(style)]


def test_every_page_is_built(built: Path) -> None:
    """Each Markdown page of the documents has its HTML page, and the first page leads to their map."""
    missing = [page for page in page_paths() if not (built / page).with_suffix(".html").is_file()]
    assert not missing
    assert "url=docs/index.html" in (built / "index.html").read_text()


def test_built_pages_load_nothing_from_elsewhere(built: Path) -> None:
    """No script, style, font or picture comes from another site: the pages can be read without a network."""
    pages = sorted(built.rglob("*.html"))
    assert pages
    found = {str(page.relative_to(built)): loaded_from_elsewhere(page.read_text()) for page in pages}
    found |= {str(css.relative_to(built)): IN_STYLES.findall(css.read_text()) for css in built.rglob("*.css")}
    assert not {page: addresses for page, addresses in found.items() if addresses}


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<script src="https://cdn.example/x.js"></script>', 1),
        ('<SCRIPT SRC="//cdn.example/x.js"></SCRIPT>', 1),
        ('<link rel="stylesheet" href="http://cdn.example/x.css">', 1),
        ('<link rel="shortcut icon" href="https://cdn.example/x.ico">', 1),
        ('<img src="a.png" srcset="https://cdn.example/x.png 2x">', 1),
        ("<style>@import 'https://cdn.example/x.css'; b {background: url(//cdn.example/x)}</style>", 2),
        ('<p style="background: url(https://cdn.example/x.png)">', 1),
        (
            '<a href="https://example.org">x</a><img src="../_static/x.png"><link rel="next" href="https://x.example">',
            0,
        ),
    ],
)
def test_what_a_page_loads_is_seen(html: str, expected: int) -> None:
    """The look at the pages can fail."""
    assert len(loaded_from_elsewhere(html)) == expected


def test_every_setting_key_and_flag_is_in_the_built_reference(built: Path) -> None:
    """What the code has is what the reader finds: settings by both their names, keys of rules, flags of commands."""
    text = {page.stem: page.read_text() for page in (built / "docs" / "reference").glob("*.html")}
    plain = {name: re.sub(r"<[^>]*>", "", html) for name, html in text.items()}
    for owner, traits in GENERATOR.project_settings().items():
        for name in traits:
            assert f"c.{owner}.{name}" in plain["settings"]
    for registered in GENERATOR.registered_classes():
        for name, trait in registered.class_traits(config=True).items():
            if trait.this_class.__module__.startswith("nbplatform_spawners"):
                assert f"c.{registered.__name__}.{name} = " in plain["classes"]
    for place, title in LANGUAGE.places.items():
        section = plain["rules"].partition(f"Keys of {title}")[2]
        assert all(re.search(rf"\b{name}\b", section) for name in LANGUAGE.at[place])
    for command, parser in GENERATOR.commands(make_parser()):
        assert command in plain["cli"]
        assert all(flag in plain["cli"] for action in parser._actions for flag in action.option_strings[-1:])


class Clicked(HTMLParser):
    """Collects where the links of a page lead, and which pictures of the documents lead nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.schemes: set[str] = set()
        self.unlinked: list[str] = []
        self.link = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.link = given.get("href", "")
            self.schemes |= {found[1].lower() for found in [re.match(r"([A-Za-z][\w+.-]*):", self.link)] if found}
        elif tag == "img" and "_images/" in given.get("src", "") and self.link != given["src"]:
            self.unlinked.append(given["src"])

    def handle_endtag(self, tag: str) -> None:
        """Leave a link."""
        self.link = "" if tag == "a" else self.link


def clicked(html: str) -> Clicked:
    """Return what is to be clicked on a page."""
    parser = Clicked()
    parser.feed(html)
    return parser


def test_links_are_of_the_web_or_mail_and_pictures_lead_to_their_full_size(built: Path) -> None:
    """A word with a colon (``DNS:localhost``) is no address, and a picture can be seen as large as it is."""
    found = {str(page.relative_to(built)): clicked(page.read_text()) for page in sorted(built.rglob("*.html"))}
    assert {scheme for one in found.values() for scheme in one.schemes} <= {"http", "https", "mailto"}
    assert {page: one.unlinked for page, one in found.items() if one.unlinked} == {}
    assert "_images/" in (built / "docs" / "tutorials" / "your-server.html").read_text()


def test_odd_links_and_pictures_without_one_are_seen() -> None:
    """The look at what is to be clicked can fail."""
    html = (
        '<a href="DNS:localhost">x</a><a href="#here:there">y</a><a href="_images/a.png"><img src="_images/a.png"></a>'
    )
    assert clicked(html).schemes == {"dns"}
    assert clicked(html).unlinked == []
    assert clicked('<a href="_images/a.png">x</a><img src="_images/a.png">').unlinked == ["_images/a.png"]


def test_settings_of_jupyterhub_that_do_not_act_say_so(built: Path) -> None:
    """Both references tell it, so that nobody limits memory by a setting that limits nothing."""
    conf: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    settings, classes = (
        " ".join(re.sub(r"<[^>]*>", "", (built / "docs" / "reference" / f"{name}.html").read_text()).split())
        for name in ("settings", "classes")
    )
    told = {name: text.replace("``", "") for name, text in conf["WITHOUT_EFFECT"].items()}
    assert "Spawner.mem_limit" in told
    assert [name for name in told if f"c.{name}" not in settings] == []
    assert [name for name, text in told.items() if f"{text} JupyterHub: " not in classes] == []


# What must stop a build

INDEX = "# Map\n\n## To learn\n\n- [A page](a-page.md): and more\n"
MISTAKES = {
    "a link to a page that is not there": ("a-page.md", "# A page\n\n[lost](nowhere.md)\n"),
    "a link to a heading that is not there": ("a-page.md", "# A page\n\n[lost](#nowhere)\n"),
    "a picture that is not there": ("a-page.md", "# A page\n\n![A picture](nowhere.png)\n"),
    "a page that the map does not name": ("orphan.md", "# An orphan\n"),
    "a map that names a page that is not there": ("index.md", INDEX + "- [Lost](lost.md)\n"),
    "a heading two levels down": ("a-page.md", "# A page\n\n### Too deep\n"),
    "a directive that nobody knows": ("a-page.md", "# A page\n\n```{nonsense}\n```\n"),
    "a class that is gone": (
        "a-page.md",
        "# A page\n\n```{eval-rst}\n.. autoclass:: nbplatform_spawners.plan.Gone\n```\n",
    ),
}


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Path]:
    """A little tree of documents with the project's own ``conf.py``."""
    docs = tmp_path / "little" / "docs"
    docs.mkdir(parents=True)
    for name in ("conf.py", "_templates", "_static"):
        (docs / name).symlink_to(ROOT / "docs" / name)
    (docs / "index.md").write_text(INDEX)
    (docs / "a-page.md").write_text("# A page\n\n[Back](index.md#to-learn)\n")
    return tmp_path / "little"


def build_of(tree: Path) -> subprocess.CompletedProcess[str]:
    """Build a tree as the script does."""
    code = "import sys; from pathlib import Path; import docs; sys.exit(docs.build(*map(Path, sys.argv[1:])))"
    command = [sys.executable, "-c", code, str(tree), str(tree.parent / "out")]
    return subprocess.run(command, cwd=SCRIPT.parent, capture_output=True, text=True, timeout=120, check=False)


def test_a_tree_without_mistakes_builds(little: Path) -> None:
    """What the next tests break is whole before."""
    ran = build_of(little)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_stops_the_build(mistake: str, little: Path) -> None:
    """A stranger's slip is told at once, with the page."""
    name, text = MISTAKES[mistake]
    (little / "docs" / name).write_text(text)
    ran = build_of(little)
    assert ran.returncode != 0
    assert "WARNING" in ran.stderr
    assert ("nbplatform_spawners.plan" if "Gone" in text else f"docs/{name}") in ran.stderr


def test_the_script_tells_how_to_use_it() -> None:
    """``--help`` needs nothing to be installed, and says where the pages go."""
    ran = subprocess.run(
        [ROOT / "scripts" / "docs", "--help"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0
    assert "./scripts/docs [--to DIR]" in ran.stdout
    assert "docs/_build" in ran.stdout


def test_a_script_that_finds_mistakes_says_so(tmp_path: Path) -> None:
    """Where the pages cannot be written the status is not 0, and no path is printed."""
    (tmp_path / "a-file").touch()
    ran = run_build("--to", str(tmp_path / "a-file" / "out"), folder=tmp_path / "no-network")
    assert ran.returncode == 1
    assert ran.stdout == ""
