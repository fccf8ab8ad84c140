"""Lists of names with wildcards."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.rules.patterns import globs_overlap, make_patterns

CASES = {
    "an exact name": (["atlas"], "atlas", True),
    "another name": (["atlas"], "cms", False),
    "a beginning is not enough": (["atlas"], "atlas-muon", False),
    "an end is not enough": (["atlas"], "my-atlas", False),
    "letters keep their case": (["atlas"], "Atlas", False),
    "any entry suffices": (["cms", "atlas"], "atlas", True),
    "a star is any text": (["ml-*"], "ml-vision", True),
    "a star is also no text": (["ml-*"], "ml-", True),
    "what stands before a star must be there": (["ml-*"], "xml-vision", False),
    "a star in the middle": (["a*s"], "atlas", True),
    "a star at the beginning": (["*-2026"], "school-2026", True),
    "a lone star": (["*"], "anything", True),
    "several stars": (["*a*a*"], "banana", True),
    "stars side by side": (["a**s"], "as", True),
    "a middle part that comes twice": (["*ab*b"], "abab", True),
    "parts in the wrong order": (["*b*a"], "ab", False),
    "parts do not overlap": (["ab*ba"], "aba", False),
    "a question mark is one character": (["cpu0?"], "cpu01", True),
    "a question mark is not none": (["cpu0?"], "cpu0", False),
    "a question mark is not two": (["cpu0?"], "cpu012", False),
    "a question mark behind a star": (["*?"], "", False),
    "a bracket is a letter": (["ml[ab]"], "mla", False),
    "a bracket matches itself": (["ml[ab]*"], "ml[ab]x", True),
    "a dot is a letter": (["a.c*"], "abcd", False),
    "a plus is a letter": (["a+*"], "aaa", False),
    "a dollar is a letter": (["a$*"], "a", False),
    "an exclamation mark is a letter": (["!a*"], "b", False),
    "exact beside wildcards": (["x*", "atlas"], "atlas", True),
    "a wildcard beside exact ones": (["atlas", "x*"], "xenon", True),
    "alternatives do not run together": (["a*", "*b"], "cac", False),
}


@pytest.mark.parametrize(("entries", "name", "expected"), CASES.values(), ids=CASES)
def test_star_and_question_mark_are_wildcards_and_nothing_else(entries: list[str], name: str, expected: bool) -> None:
    """``*`` and ``?`` are wildcards, nothing else is; an entry matches the whole name; any entry suffices."""
    patterns = make_patterns(entries)
    assert patterns.holds(name) is expected
    if name:
        assert patterns.holds_any(frozenset({name}), name) is expected
        assert patterns.holds_any(frozenset({"zzz", name}), f"zzz\n{name}") is expected


def test_somebody_without_a_group_is_in_no_group() -> None:
    """``groups: ["*"]`` needs a group: an identity none of whose groups has a safe name has none."""
    assert make_patterns(["*"]).holds_any(frozenset(), "") is False
    assert make_patterns(["a", "?*", "*"]).holds_any(frozenset(), "") is False


def test_one_group_of_several_suffices_and_names_do_not_run_together() -> None:
    """The search over all names at once sees each name by itself."""
    names = ["beta", "gamma", "delta"]
    joined = "\n".join(names)
    assert make_patterns(["g*"]).holds_any(frozenset(names), joined)
    assert make_patterns(["d*a"]).holds_any(frozenset(names), joined)
    assert not make_patterns(["beta*gamma"]).holds_any(frozenset(names), joined)
    assert not make_patterns(["beta?gamma"]).holds_any(frozenset(names), joined)
    assert not make_patterns(["amma", "elt?"]).holds_any(frozenset(names), joined)


def test_matched_names_come_in_name_order() -> None:
    """``{group}`` yields one entry for each matched group, in name order."""
    patterns = make_patterns(["virgo", "ml-*"])
    assert patterns.matched(["virgo", "ml-vision", "cms", "ml-language"]) == ["ml-language", "ml-vision", "virgo"]


def test_entries_are_kept_as_written_for_display() -> None:
    """Exact entries in name order, then the wildcards as they were written; each once."""
    assert make_patterns(["z*", "b", "a", "b", "z*", "y?"]).entries == ("a", "b", "z*", "y?")


def test_patterns_are_values() -> None:
    """Two lists of the same entries are equal, hash alike and cannot be changed."""
    assert make_patterns(["a", "b*"]) == make_patterns(["a", "b*"])
    assert hash(make_patterns(["a", "b*"])) == hash(make_patterns(["a", "b*"]))
    with pytest.raises(AttributeError):
        make_patterns(["a"]).exact = frozenset()  # type: ignore[misc]


def test_many_stars_against_a_long_name_end() -> None:
    """A typing error with a dozen stars must not stop the hub: a backtracking matcher never comes back from this."""
    patterns = make_patterns(["*a" * 20 + "*b"])
    assert not patterns.holds("a" * 64)
    assert not patterns.holds_any(frozenset({"a" * 64}), "a" * 64)
    assert patterns.holds("a" * 63 + "b")


def reference(glob: str, name: str) -> bool:
    """Match by the definition: a star takes nothing, or one character and stays."""
    if not glob:
        return not name
    if glob[0] == "*":
        return reference(glob[1:], name) or (bool(name) and reference(glob, name[1:]))
    return bool(name) and glob[0] in ("?", name[0]) and reference(glob[1:], name[1:])


@given(
    st.lists(st.text(alphabet="ab*?[.", min_size=1, max_size=6), min_size=1, max_size=3),
    st.lists(st.text(alphabet="ab[.", min_size=1, max_size=7), max_size=3),
)
@settings(max_examples=400, deadline=None)
def test_matching_is_as_the_definition_says(entries: list[str], names: list[str]) -> None:
    """Every way of asking agrees with the definition of the two wildcards."""
    patterns = make_patterns(entries)
    for name in names:
        assert patterns.holds(name) == any(reference(entry, name) for entry in entries)
    expected = sorted(name for name in names if any(reference(entry, name) for entry in entries))
    assert patterns.matched(names) == expected
    assert patterns.holds_any(frozenset(names), "\n".join(names)) == bool(expected)


OVERLAPS = {
    "the same name": ("gpu", "gpu", True),
    "two names": ("gpu", "cpu", False),
    "a name and a star": ("gpu*", "gpu-pair", True),
    "a name and a star that differ": ("gpu*", "cpu", False),
    "two stars that meet": ("a*", "*b", True),
    "two beginnings that differ": ("a*", "b*", False),
    "two ends that differ": ("*a", "*b", False),
    "a star and nothing more": ("a*", "a", True),
    "question marks of another number": ("??", "???", False),
    "a question mark and a star": ("?", "*", True),
    "a bracket is a letter": ("[ab]", "a", False),
}


@pytest.mark.parametrize(("one", "other", "expected"), OVERLAPS.values(), ids=OVERLAPS)
def test_two_entries_overlap_when_one_name_matches_both(one: str, other: str, expected: bool) -> None:
    """The warnings of ``rules check`` must be exact, in both directions."""
    assert globs_overlap(one, other) is expected
    assert globs_overlap(other, one) is expected


ALL_NAMES = ["".join(letters) for length in range(8) for letters in itertools.product("ab", repeat=length)]


@given(st.text(alphabet="ab*?", max_size=4), st.text(alphabet="ab*?", max_size=4))
@settings(max_examples=120, deadline=None)
def test_overlap_agrees_with_trying_every_name(one: str, other: str) -> None:
    """Two entries of up to four characters overlap if and only if a name of up to seven letters matches both."""
    assert globs_overlap(one, other) == any(reference(one, name) and reference(other, name) for name in ALL_NAMES)
