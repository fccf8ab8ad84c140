"""The command ``nbplatform-singleuser``: choose the speed-ups, then run ``jupyterhub-singleuser`` unchanged."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..names import bounded
from ..speedups import SPEEDUPS, SPEEDUPS_ENV, chosen_speedups
from . import late_gc, lean_import, offer, start


def begin(value: str | None) -> None:
    """Apply what has to be there before anything is imported; the extension, always offered, does the rest.

    Args:
        value: of ``NBPLATFORM_SPEEDUPS``; None when it is unset.
    """
    chosen, unknown = chosen_speedups(value)
    for name in unknown:
        start.log.warning("there is no speed-up %s, only: %s", bounded(name), ", ".join(SPEEDUPS))
    start.chosen.update(chosen)
    if "late-gc" in chosen:
        late_gc.apply()
    if "lean-import" in chosen:
        lean_import.apply()
    offer.apply(os.environ)


def main() -> Any:
    """Run the server with the arguments of this process; returns what ``jupyterhub-singleuser`` returns."""
    begin(os.environ.get(SPEEDUPS_ENV))
    # Only now: what it imports is what the speed-ups are about.
    from jupyterhub.singleuser import main as upstream

    return upstream()


if __name__ == "__main__":
    sys.exit(main())
