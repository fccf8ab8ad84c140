"""How Sphinx makes the documents: Markdown by MyST, settings by autodoc_traits, nothing from the network.

The pages are written for plain readers as well, so that no page holds a table of contents for Sphinx: the lists of
links in ``index.md`` are it.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from traitlets import HasTraits, TraitType

import nbplatform_spawners

project = "nbplatform"
author = "the nbplatform contributors"
project_copyright = author
release = version = nbplatform_spawners.__version__
language = "en-GB"

extensions = [
    "myst_parser",
    "sphinx.ext.napoleon",
    "autodoc_traits",  # brings sphinx.ext.autodoc
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown"}
# The repository is the source: links between docs/ and the files beside it are the same here and on a forge.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "placement_rules/**.md"]
exclude_patterns = ["docs/_build", ".*"]
html_additional_pages = {"index": "first-page.html"}

# Links of the pages are those of plain Markdown: a file, and the anchor that a heading has on a forge.
myst_heading_anchors = 4

autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints_format = "short"
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Every name of the project must lead to its description.  Names of others are not looked up: that needs the network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!nbplatform_spawners\b).*")]
nitpick_ignore = [("py:class", "nbplatform_spawners.rules.model.RuleBook")]  # the page on the rules language tells it

copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

html_theme = "pydata_sphinx_theme"
html_title = f"nbplatform {release}"
html_short_title = "nbplatform"
html_static_path = ["_static"]
html_css_files = ["nbplatform.css"]
templates_path = ["_templates"]
html_sidebars = {"**": ["whole-contents.html"], "genindex": ["whole-contents.html"], "search": ["whole-contents.html"]}
html_theme_options = {
    "navbar_center": [],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_copy_source = False
html_show_sourcelink = False

_NO_TLS = "Changes nothing on the local backend, which does not support ``internal_ssl``."
WITHOUT_EFFECT = {
    "Spawner.mem_limit": "Limits nothing here: the rules decide ``memory``.",
    "Spawner.mem_guarantee": "Guarantees nothing here: the rules decide ``memory``.",
    "Spawner.cpu_limit": "Limits nothing here: the rules decide ``cpu``.",
    "Spawner.cpu_guarantee": "Guarantees nothing here: the rules decide ``cpu``.",
    "Spawner.group_overrides": "Overrides nothing that the rules decide: rules match groups themselves.",
    "Spawner.port": "Changes nothing on the local backend: each start takes a free port.",
    "Spawner.ssl_alt_names": _NO_TLS,
    "Spawner.ssl_alt_names_include_local": _NO_TLS,
    "Spawner.http_timeout": "On the local backend ``start_timeout`` counts, unless ``ready_interval = 0``.",
    "Spawner.options_form": "Do not set it: the page with the profiles is this form.",
    "Spawner.options_from_form": "Do not set it: it reads the page with the profiles.",
    "Spawner.apply_user_options": "Do not set it: what a user asked for is judged by the rules.",
    "Authenticator.request_otp": "``nbplatform-pam`` hands the code to PAM; ``nbplatform-file`` asks and checks none.",
}
"""JupyterHub's settings that act otherwise here, or not at all, by the class that defines them; on settings.md, too."""

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_ENTRY = re.compile(r"^- \[[^\]]+\]\(([\w./-]+)\.md\)", re.MULTILINE)


def contents(markdown: str) -> str:
    """Return the tables of contents that a page's lists of links stand for: one for each section, named as it is.

    Args:
        markdown: of ``index.md``; a list entry that begins with a link to a page is an entry.
    """
    pieces = _SECTION.split(markdown)[1:]
    tables = []
    for caption, text in zip(pieces[::2], pieces[1::2], strict=True):
        entries = "\n".join(_ENTRY.findall(text))
        tables.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n")
    return "\n".join(tables)


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the tables of contents to the first page.  Called by Sphinx for each page that it has read."""
    if page == root_doc:
        source[0] += "\n" + contents(source[0])


def shorten_foreign_help(app: Sphinx, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Keep the first paragraph of other projects' settings, as plain text.  Called by autodoc for each description.

    Their markup is theirs to mend: a slip in it must not break the build of these pages.  A setting that acts
    otherwise here says so first.
    """
    if isinstance(described, TraitType) and not described.this_class.__module__.startswith("nbplatform_spawners"):
        text = "\n".join(lines).strip().partition("\n\n")[0]
        plain = re.sub(r"([\\*_|]|(?<=\w):(?=\w))", r"\\\1", " ".join(text.replace("`", "").split()))
        ours = WITHOUT_EFFECT.get(f"{described.this_class.__name__}.{described.name}")
        lines[:] = [ours, "", f"JupyterHub: {plain}"] if ours else [plain]


def link_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Let each picture lead to its full size, as it does on a forge.  Called by Sphinx for each page that it has read.

    Sphinx links a picture that is scaled; all are scaled to what they are.
    """
    for picture in doctree.findall(nodes.image):
        picture.setdefault("scale", 100)


def hide_arguments(
    app: Sphinx, what: str, name: str, described: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str, None] | None:
    """Show a class with settings without arguments: nobody makes one but the hub.  Called by autodoc."""
    return ("", None) if isinstance(described, type) and issubclass(described, HasTraits) else None


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("doctree-read", link_pictures)
    app.connect("autodoc-process-docstring", shorten_foreign_help, priority=900)
    app.connect("autodoc-process-signature", hide_arguments)
