"""Paths and mounts as values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.mounts import Mount, clean_path, is_below, parents_first

CLEAN = {
    "already clean": ("/sps/atlas", "/sps/atlas"),
    "trailing slash": ("/sps/atlas/", "/sps/atlas"),
    "many slashes": ("//sps///atlas//", "/sps/atlas"),
    "the root": ("/", "/"),
    "the root twice": ("//", "/"),
    "dots inside a part": ("/a..b/.hidden/...", "/a..b/.hidden/..."),
    "a space": ("/my data", "/my data"),
}


@pytest.mark.parametrize(("path", "expected"), CLEAN.values(), ids=CLEAN)
def test_a_path_is_taken_in_its_shortest_form(path: str, expected: str) -> None:
    """Targets are compared without repeated or trailing slashes."""
    assert clean_path(path) == expected


BAD = {
    "nothing": ("", "relative"),
    "relative": ("sps/atlas", "relative"),
    "a tilde": ("~/data", "relative"),
    "up": ("/sps/../etc", "'..'"),
    "up at the end": ("/sps/..", "'..'"),
    "up behind slashes": ("/sps//..//etc", "'..'"),
    "here": ("/sps/./atlas", "'.'"),
    "a NUL": ("/sps\0/etc", "control character"),
    "a line break": ("/sps\n/etc", "control character"),
    "a delete character": ("/sps\x7f", "control character"),
}


@pytest.mark.parametrize(("path", "message"), BAD.values(), ids=BAD)
def test_a_path_that_leads_elsewhere_is_refused(path: str, message: str) -> None:
    """A relative path, one with ``.`` or ``..`` as a part and one with control characters are refused."""
    with pytest.raises(ValueError, match=message):
        clean_path(path)


BELOW = {
    "a child": ("/sps/atlas", "/sps", True),
    "a grandchild": ("/sps/atlas/x", "/sps", True),
    "itself": ("/sps", "/sps", False),
    "a neighbour with the same beginning": ("/sps2", "/sps", False),
    "the parent": ("/sps", "/sps/atlas", False),
    "everything below the root": ("/sps", "/", True),
    "the root below itself": ("/", "/", False),
}


@pytest.mark.parametrize(("path", "parent", "expected"), BELOW.values(), ids=BELOW)
def test_below_is_judged_part_by_part(path: str, parent: str, expected: bool) -> None:
    """``/sps2`` is not below ``/sps``."""
    assert is_below(path, parent) is expected


PATHS = st.lists(st.sampled_from(["a", "a-b", "b", "a b", "!", "é"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.lists(PATHS, max_size=8, unique=True))
@settings(max_examples=200, deadline=None)
def test_no_mount_covers_an_earlier_one(targets: list[str]) -> None:
    """Mounts are applied parents first, also where a name sorts before the slash; none is lost."""
    mounts = [Mount("/source", target) for target in targets]
    ordered = parents_first(mounts)
    assert sorted(mount.target for mount in ordered) == sorted(targets)
    for position, mount in enumerate(ordered):
        assert not any(is_below(earlier.target, mount.target) for earlier in ordered[:position])


@given(st.permutations(["/", "/a", "/a/b", "/a-b", "/a b/c", "/b"]))
@settings(max_examples=30, deadline=None)
def test_the_order_does_not_depend_on_the_order_given(targets: list[str]) -> None:
    """The same mounts give the same server."""
    ordered = [mount.target for mount in parents_first(Mount("/source", target) for target in targets)]
    assert ordered == ["/", "/a", "/a/b", "/a b/c", "/a-b", "/b"]


def test_a_mount_is_a_value() -> None:
    """A mount is frozen and hashable; by default it may be written, is private and must exist."""
    mount = Mount("/s", "/t")
    assert mount == Mount("/s", "/t", read_only=False, propagation="private", optional=False)
    assert len({mount, Mount("/s", "/t"), Mount("/s", "/t", read_only=True)}) == 2
    with pytest.raises(AttributeError):
        mount.source = "/etc"  # type: ignore[misc]
