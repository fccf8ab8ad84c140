"""Names that come from outside."""

import hashlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbplatform_spawners.names import MAX_NAME, bounded, is_safe, slug

SAFE = {
    "plain": "alice",
    "capitals": "Alice",
    "digits first": "4lice",
    "underscore first": "_apt",
    "with a domain": "alice@example.org",
    "dots and dashes": "a.b-c_d",
    "the longest": "a" * MAX_NAME,
}
HOSTILE = {
    "nothing": "",
    "a dot": ".",
    "two dots": "..",
    "up": "../x",
    "a path": "a/b",
    "a line break": "a\nb",
    "a line break at the end": "alice\n",
    "a NUL": "a\0b",
    "a space": "a b",
    "300 characters": "a" * 300,
    "one too long": "a" * (MAX_NAME + 1),
    "a dash first": "-rf",
    "a Cyrillic look-alike": "\u0430lice",
    "a full-width look-alike": "\uff41lice",
    "the Kelvin sign": "\u212aelvin",
    "Arabic digits": "u\u0661",
    "right to left": "a\u202eb",
    "a lone surrogate": "a\ud800",
    "a shell's dollar": "$HOME",
    "no text": 7,
    "nothing at all": None,
}


@pytest.mark.parametrize("name", SAFE.values(), ids=SAFE)
def test_an_ordinary_name_is_safe(name: str) -> None:
    """ASCII letters, digits and a few signs are safe, up to 64 of them."""
    assert is_safe(name)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_not_safe(name: object) -> None:
    """What leads elsewhere, breaks a line, looks like another name or is too long is not safe."""
    assert not is_safe(name)


SLUGS = {
    "plain": ("alice", "alice"),
    "with a dash": ("alice-2", "alice-2"),
    "nothing": ("", "n--{hash}"),
    "up": ("../x", "n-2e-2e-2fx--{hash}"),
    "a capital": ("Alice", "n-41lice--{hash}"),
    "a doubled dash": ("a--b", "n-a-2d-2db--{hash}"),
    "cut": ("a" * 60, "n-" + "a" * 36 + "--{hash}"),
}
SLUG = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")


@pytest.mark.parametrize(("name", "expected"), SLUGS.values(), ids=SLUGS)
def test_a_slug_is_the_name_where_it_can_be(name: str, expected: str) -> None:
    """A name that is fit already stays readable; any other carries its hash."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    assert slug(name) == expected.replace("{hash}", digest)


@given(st.text())
@example("../x")
@example("a--b")
@example("n--e3b0c442")
@example("a" * 300)
@example("\ud800")
def test_a_slug_is_always_valid(name: str) -> None:
    """Any text becomes a name for a path, a container or a pod: letter first, no dash last, short enough."""
    made = slug(name)
    assert SLUG.fullmatch(made)
    assert len(made) <= 48


ALIKE = st.text(alphabet="aAbB-._/ \u0430\ud800\udc00n0", max_size=70)


@given(st.lists(ALIKE, unique=True, min_size=2, max_size=20))
def test_two_names_never_share_a_slug(names: list[str]) -> None:
    """Neither escaping, nor lower case, nor cutting brings two names together."""
    assert len({slug(name) for name in names}) == len(names)


@given(st.text())
def test_a_made_slug_cannot_be_taken_by_another_name(name: str) -> None:
    """Somebody who calls themselves what another's name became gets a slug of their own."""
    made = slug(name)
    assert made == name or slug(made) != made


@given(st.text(), st.integers(min_value=12, max_value=63))
def test_a_slug_keeps_to_any_length_that_holds_its_hash(name: str, length: int) -> None:
    """``max_length`` holds for every name."""
    assert len(slug(name, length)) <= length


def test_a_slug_without_room_for_its_hash_is_refused() -> None:
    """Below 12 characters two names could meet."""
    with pytest.raises(ValueError, match="at least 12"):
        slug("alice", 11)


@given(st.text(), st.integers(min_value=10, max_value=100))
def test_a_bounded_text_fits_one_log_line(text: str, limit: int) -> None:
    """Whatever comes in, a log line stays one line of printable ASCII, and short."""
    shown = bounded(text, limit)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= limit
