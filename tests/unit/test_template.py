"""Placeholders in sources, targets and environment values."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.rules.template import PLACEHOLDERS, parse_template

VALUES = {
    "username": "alice",
    "uid": "62001",
    "gid": "61000",
    "home": "/home/alice",
    "group": "atlas",
    "primary_group": "users",
}

FILLED = {
    "no placeholder": ("/cvmfs", "/cvmfs"),
    "nothing": ("", ""),
    "one": ("/sps/{group}", "/sps/atlas"),
    "every one": ("{username} {uid} {gid} {home} {group} {primary_group}", "alice 62001 61000 /home/alice atlas users"),
    "one twice": ("{group}/{group}", "atlas/atlas"),
    "side by side": ("{uid}{gid}", "6200161000"),
    "doubled braces are braces": ("{{x}}", "{x}"),
    "doubled braces around a name are no placeholder": ("{{group}}", "{group}"),
    "braces around a placeholder": ("{{{group}}}", "{atlas}"),
    "an end brace before a placeholder": ("}}{group}{{", "}atlas{"),
    "other signs have no meaning": ("$HOME %s ~ \\{{", "$HOME %s ~ \\{"),
}


@pytest.mark.parametrize(("text", "expected"), FILLED.values(), ids=FILLED)
def test_placeholders_are_filled_and_doubled_braces_are_braces(text: str, expected: str) -> None:
    """The six placeholders are filled in; ``{{`` and ``}}`` are braces."""
    assert parse_template(text).fill(VALUES) == expected


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    """Placeholders are filled in one pass: a HOME with braces in its name brings no placeholder of its own."""
    assert parse_template("{home}/{uid}").fill({**VALUES, "home": "/home/{uid}/{{x}}"}) == "/home/{uid}/{{x}}/62001"


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_a_placeholder_without_a_value_fills_nothing(name: str) -> None:
    """An identity whose primary group has an unsafe name has no ``{primary_group}``: the entry is left out."""
    without = {key: value for key, value in VALUES.items() if key != name}
    assert parse_template(f"/x/{{{name}}}/{{uid}}").fill(without) is None


BAD = {
    "unknown": ("/sps/{grup}", r"^unknown placeholder '\{grup\}'; known are \{username\}, \{uid\}"),
    "empty": ("{}", r"^unknown placeholder '\{\}'"),
    "space inside": ("{ group }", "^unknown placeholder"),
    "attribute": ("{username.__class__}", "^unknown placeholder"),
    "conversion": ("{username!r}", "^unknown placeholder"),
    "format": ("{uid:>10}", "^unknown placeholder"),
    "index": ("{0}", "^unknown placeholder"),
    "capital letters": ("{GROUP}", "^unknown placeholder"),
    "a lone open brace": ("/x{", r"^a lone '\{'; write '\{\{' for a brace$"),
    "a lone closing brace": ("/x}", r"^a lone '\}'; write '\}\}' for a brace$"),
    "a brace too many at the end": ("{group}}", "^a lone '}'"),
    "a brace too many at the beginning": ("{{group}", "^a lone '}'"),
    "a brace inside a placeholder": ("{gro{uid}", r"^a lone '\{'"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_anything_else_in_braces_is_a_mistake(text: str, message: str) -> None:
    """An unknown placeholder and a brace that stands alone are mistakes; nothing of ``str.format`` is meant."""
    with pytest.raises(ValueError, match=message):
        parse_template(text)


def test_the_message_of_a_mistake_is_bounded_and_printable() -> None:
    """What came from a file reaches a log line escaped and cut."""
    with pytest.raises(ValueError, match="unknown placeholder") as caught:
        parse_template("{\x1b[31m\n" + "x" * 10_000 + "}")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 250


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_with_doubled_braces_comes_back_as_it_was(text: str) -> None:
    """Doubling every brace writes any text; filling it gives that text back and needs no value."""
    template = parse_template(text.replace("{", "{{").replace("}", "}}"))
    assert template.names == ()
    assert template.fill({}) == text


@given(st.lists(st.sampled_from(["{{", "}}", "/", "a", *("{" + name + "}" for name in PLACEHOLDERS)]), max_size=8))
@settings(max_examples=200, deadline=None)
def test_filling_is_joining_piece_by_piece(pieces: list[str]) -> None:
    """A template is the row of its pieces: braces, literals and placeholders, each read by itself."""
    meaning = {"{{": "{", "}}": "}", "/": "/", "a": "a", **{"{" + name + "}": VALUES[name] for name in PLACEHOLDERS}}
    assert parse_template("".join(pieces)).fill(VALUES) == "".join(meaning[piece] for piece in pieces)


@given(st.text(alphabet="{}agruopid" + string.whitespace, max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_template_or_a_mistake(text: str) -> None:
    """Reading a template gives a template of alternating literals and names, or a ValueError; nothing else."""
    try:
        template = parse_template(text)
    except ValueError:
        assert "{" in text or "}" in text
    else:
        assert len(template.literals) == len(template.names) + 1
        assert hash(template) == hash(parse_template(text))
