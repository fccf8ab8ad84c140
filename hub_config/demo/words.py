"""What the demo tells its user."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .site import Site

WIDTH = 100
ACCOUNTS = {
    "alice": "storage of atlas under /sps; a rule allows her the profile 'One GPU', and a machine without a K80 refuses"
    " it with that reason",
    "erin": "storage of two experiments, atlas and virgo; her servers may idle for 14 days in place of 3",
    "mallory": "suspended from GPUs by a rule that says why; computes on CPU like everybody",
}


def welcome(site: Site, port: int, notes: Sequence[str]) -> str:
    """Return the text that is printed when the demo answers: address, accounts, rules to edit, what cannot be had."""
    rules = site.rules / "90-defaults.yaml"
    lines = ["", f"The demo runs:  http://127.0.0.1:{port}", "", "Accounts, with passwords made for this run:"]
    for name, text in ACCOUNTS.items():
        lines += _hanging(f"  {name:8} {site.passwords[name]}   ", text)
    lines.append(f"  {len(site.passwords) - len(ACCOUNTS)} more: {site.folder}/passwords.txt")
    lines += ["", f"Rules:  {site.rules}" + (" (kept from an earlier run)" if site.kept else "")]
    lines += _hanging(
        "  Try: ",
        f"change 'memory: 4G' to 'memory: 2G' in {rules}. Two seconds later the spawn page says so, and the next"
        " server gets it. Break the file ('memory: lots'): nothing changes; the hub's log, and the spawn page of carol,"
        " the administrator here, name file and line.",
    )
    lines += ["", "Memory is promised four times over here, so that several accounts fit on one machine."]
    lines += ["", f"Log:    {site.folder}/hub/hub.log"]
    if notes:
        lines += ["", "What this machine cannot do:"]
        for note in notes:
            lines += _hanging("  - ", note)
    return "\n".join([*lines, "", "Ctrl-C ends the demo and every server it started."])


def _hanging(begin: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
