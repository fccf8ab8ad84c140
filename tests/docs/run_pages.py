"""Pages whose every block is run by a test of their own, which stands here beside them."""

from __future__ import annotations

RUN_WHOLE = {
    "docs/tutorials/first-site.md": "tests/docs/test_first_site.py",
    "docs/tutorials/a-new-backend.md": "tests/docs/test_new_backend.py",
}
"""Page to the test that takes its files and its ``sh`` blocks and runs them as they stand."""
