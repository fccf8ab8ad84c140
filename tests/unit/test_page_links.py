"""Addresses in plain text, as the spawn page shows them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.spawners.links import Part, linked, paragraphs

LINKS: dict[str, tuple[str, list[str]]] = {
    "words": ("the support desk", []),
    "a web address": ("https://example.org/help", ["https://example.org/help"]),
    "in the clear": ("http://example.org", ["http://example.org"]),
    "capital letters": ("HTTPS://Example.org/A", ["HTTPS://Example.org/A"]),
    "within a sentence": ("See https://a.org/x, then https://b.org/y.", ["https://a.org/x", "https://b.org/y"]),
    "in brackets": ("(see https://a.org/x)", ["https://a.org/x"]),
    "brackets of its own": ("https://a.org/x_(y)", ["https://a.org/x_(y)"]),
    "quoted": ('"https://a.org/x"', ["https://a.org/x"]),
    "with a query": ("https://a.org/?a=1&b=2#c", ["https://a.org/?a=1&b=2#c"]),
    "a port": ("https://a.org:8443/x", ["https://a.org:8443/x"]),
    "before markup": ("https://a.org/<b>x</b>", ["https://a.org/"]),
    "an e-mail address": ("help@example.org", ["mailto:help@example.org"]),
    "an e-mail address within words": (
        "write to help@cc.example.org.",
        ["mailto:help@cc.example.org"],
    ),
    "an e-mail address cannot bring a query": ("a@b.org?cc=c@d.org", ["mailto:a@b.org"]),
    "another scheme": ("javascript:alert(1) ftp://a.org data:text/html,x", []),
    "a scheme alone": ("https:// and http://", []),
    "a scheme that looks like the web's": ("javascript://a.org/%0aalert(1)", []),
    "a mail address that is not wholly understood is no other one": ("o'brien@a.org r&d@a.org", []),
    "a name without a dot": ("root@localhost", []),
    "an address that turns the writing round": ("https://a.org/\u202egro.live", ["https://a.org/"]),
}


@pytest.mark.parametrize(("text", "hrefs"), LINKS.values(), ids=LINKS)
def test_web_and_mail_addresses_become_links_and_nothing_else(text: str, hrefs: list[str]) -> None:
    """Only ``http``, ``https`` and ``mailto``; punctuation belongs to the sentence."""
    assert [part.href for part in linked(text) if part.href] == hrefs


def test_a_mail_may_get_a_subject() -> None:
    """Who asks need not copy the sentence; nothing in it ends the subject."""
    found = linked("Ask a@b.org or https://b.org", "quota: 2 & more?")
    assert found == (
        Part("Ask "),
        Part("a@b.org", "mailto:a@b.org?subject=quota%3A%202%20%26%20more%3F"),
        Part(" or "),
        Part("https://b.org", "https://b.org"),
    )


@given(st.text(st.sampled_from("ab.@:/()<>\"' \n") | st.characters(), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_letter_is_lost_or_changed(text: str) -> None:
    """The pieces, one after the other, are the text."""
    assert "".join(part.text for part in linked(text)) == text


PARAGRAPHS: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", []),
    "blank": (" \n\n \n", []),
    "one": ("one\nline more", ["one\nline more"]),
    "two": ("one\n\ntwo", ["one", "two"]),
    "many blank lines": ("one\n\n\n\ntwo\n\n", ["one", "two"]),
    "blanks on the blank line": ("one\n \t\ntwo", ["one", "two"]),
    "written on Windows": ("one\r\n\r\ntwo", ["one", "two"]),
}


@pytest.mark.parametrize(("text", "expected"), PARAGRAPHS.values(), ids=PARAGRAPHS)
def test_a_blank_line_begins_a_paragraph(text: str, expected: list[str]) -> None:
    """As in a mail."""
    assert ["".join(part.text for part in one) for one in paragraphs(text)] == expected
