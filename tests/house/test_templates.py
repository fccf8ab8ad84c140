"""The pages' templates: what is taken as HTML is counted, everything else is escaped."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "nbplatform_spawners"
TEMPLATES = PACKAGE / "templates"
RAW = re.compile(r"\|\s*safe\b|(?:inner|outer)HTML|insertAdjacentHTML|document\.write|autoescape|Markup")
AS_HTML = [
    ("error.html", "{{ message_html | safe }}"),  # made by spawners/errors.py, which escapes
    ("error.html", "{{ message_html | safe }}"),  # made by auth/errors.py, which escapes
    ("not_running.html", "{{ failed_html_message | safe }}"),  # made by spawners/errors.py
    ("spawn_pending.html", "if (event.html_message !== undefined) place.innerHTML = event.html_message;"),
]


def test_only_what_the_package_has_escaped_itself_is_html() -> None:
    """A new place that takes text as HTML is looked at by somebody, and entered here with its reason."""
    found = []
    for path in sorted(TEMPLATES.rglob("*.html")):
        found += [(path.name, line.strip()) for line in path.read_text().splitlines() if RAW.search(line)]
    assert [
        (name, next((raw for file, raw in AS_HTML if file == name and raw in line), line)) for name, line in found
    ] == (AS_HTML)


def test_javascript_sets_words_as_text() -> None:
    """What JupyterLab is given by us takes nothing as HTML."""
    paths = sorted(PACKAGE.rglob("*.js"))
    assert paths
    assert [(path.name, line) for path in paths for line in path.read_text().splitlines() if RAW.search(line)] == []
