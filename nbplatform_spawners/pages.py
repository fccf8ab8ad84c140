"""The hub pages that this package brings, for ``c.JupyterHub.template_paths``."""

from __future__ import annotations

from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"

template_paths = [str(_TEMPLATES / "nbplatform"), str(_TEMPLATES)]
"""Folders of page templates; a site puts its own before them.

The second makes each page known as ``nbplatform/NAME.html`` as well, so that a site's page of the same name can extend
it.
"""
