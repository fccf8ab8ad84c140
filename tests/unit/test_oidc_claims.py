"""Claims: typed, with nothing ignored that has a wrong type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.identity import MAX_ID
from nbplatform_spawners.oidc.claims import ClaimNames, Claims, claims_from_dict, read_claims, template_problem
from nbplatform_spawners.oidc.refusals import LoginProblem

NAMES = ClaimNames(home="posix.home", shell="shell", home_organisation="org")
WHOLE: dict[str, Any] = {
    "sub": "f:1",
    "sid": "s1",
    "preferred_username": "alice",
    "uid_number": 62101,
    "gid_number": "61000",
    "gids": [61100, "61101"],
    "groups": ["/atlas", "cms", "/a/b"],
    "posix": {"home": "/home/alice"},
    "shell": "/bin/zsh",
    "valid_until": "2027-01-01T00:00:00+01:00",
    "realm_access": {"roles": ["staff"]},
    "resource_access": {"jupyterhub": {"roles": ["user"]}, "account": {}},
}


def test_every_claim_is_read_and_survives_being_stored() -> None:
    """A dotted name leads into nested claims; numbers may be canonical text; roles carry their client."""
    claims = read_claims(WHOLE, NAMES)
    assert claims == Claims(
        sub="f:1",
        sid="s1",
        username="alice",
        uid=62101,
        gid=61000,
        gids=(61100, 61101),
        groups=("atlas", "cms", "/a/b"),
        home="/home/alice",
        shell="/bin/zsh",
        valid_until=datetime.fromisoformat("2027-01-01T00:00:00+01:00"),
        roles=("staff", "jupyterhub:user"),
    )
    assert claims_from_dict(claims.to_dict()) == claims


def test_what_is_missing_is_missing() -> None:
    """Only ``sub`` must be there; Keycloak leaves out empty lists."""
    assert read_claims({"sub": "1"}, NAMES) == Claims(sub="1")


def test_a_claim_whose_own_name_has_dots_comes_first() -> None:
    """Names such as ``https://site.example/uid`` are common."""
    names = ClaimNames(uid="https://site.example/uid")
    assert read_claims({"sub": "1", "https://site.example/uid": 7}, names).uid == 7


def test_seconds_since_1970_are_a_time() -> None:
    """As Keycloak's own times are."""
    assert read_claims({"sub": "1", "valid_until": 0}, NAMES).valid_until == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        *(("sub", value) for value in (None, "", 7, "a\nb", "x" * 1025)),
        *(("sid", value) for value in ("", 7, ["s"])),
        *(("preferred_username", value) for value in ("", 7, "a\0b", ["alice"], {"a": 1})),
        *(
            ("uid_number", value)
            for value in (0, -1, True, 1.5, "", "0", "01", "1e3", " 1", "10001x", [1], {}, MAX_ID + 1)
        ),
        *(("gid_number", value) for value in (0, "x", [61000])),
        *(("gids", value) for value in ("61100", 61100, {}, [0], [True], ["x"], [[1]], [61100.0])),
        *(("groups", value) for value in ("atlas", {"a": 1}, [""], [7], ["a\n"], ["a"] * 5000)),
        *(("posix", value) for value in ({"home": 7}, {"home": ""}, {"home": ["/home"]})),
        *(("valid_until", value) for value in ("tomorrow", "2027-01-01", "2027-01-01T00:00:00", True, 1.5, [], 10**30)),
        *(("realm_access", value) for value in ({"roles": "staff"}, {"roles": [7]})),
        *(("resource_access", value) for value in ([], "x", {"c": []}, {"c": {"roles": "x"}}, {"c": {"roles": [1]}})),
    ],
)
def test_a_wrong_type_is_refused_and_names_the_claim(claim: str, value: object) -> None:
    """Never ignored: a uid that is no number must not fall back to another source."""
    with pytest.raises(LoginProblem) as refused:
        read_claims({**WHOLE, claim: value}, NAMES)
    assert refused.value.reason == "claims"
    assert claim in refused.value.message


def test_a_brokered_login_has_a_composed_subject() -> None:
    """The parts come from claims of their own."""
    names = ClaimNames(home_organisation="org", subject_template="{home_organisation}!{subject}")
    brokered = {**WHOLE, "identity_provider": "proxy", "identity_provider_subject": "abc", "org": "https://idp.example"}
    claims = read_claims(brokered, names)
    assert (claims.provider, claims.subject) == ("proxy", "https://idp.example!abc")


@pytest.mark.parametrize("missing", ["identity_provider_subject", "org"])
def test_a_brokered_login_without_a_part_of_its_subject_is_refused(missing: str) -> None:
    """Half a subject could be somebody else's."""
    names = ClaimNames(home_organisation="org", subject_template="{home_organisation}!{subject}")
    brokered = {**WHOLE, "identity_provider": "proxy", "identity_provider_subject": "abc", "org": "https://idp.example"}
    del brokered[missing]
    with pytest.raises(LoginProblem, match=f"{missing} is missing"):
        read_claims(brokered, names)


PARTS = st.text(alphabet="ab!{}:", min_size=1, max_size=6)


@given(one=st.tuples(PARTS, PARTS), other=st.tuples(PARTS, PARTS))
def test_two_people_never_have_one_subject(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Whatever home organisations and subjects look like; what could be confused is refused."""
    names = ClaimNames(home_organisation="org", subject_template="{home_organisation}!!{subject}")

    def composed(pair: tuple[str, str]) -> str | None:
        payload = {"sub": "1", "identity_provider": "p", "org": pair[0], "identity_provider_subject": pair[1]}
        try:
            return read_claims(payload, names).subject
        except LoginProblem:
            return None

    found = composed(one)
    assert found is None or one == other or found != composed(other)


@pytest.mark.parametrize(
    ("template", "good"),
    [
        ("{subject}", True),
        ("{home_organisation}!{subject}", True),
        ("{provider}:{subject}", True),
        ("", False),
        ("subject", False),
        ("{home_organisation}", False),
        ("{home_organisation}{subject}", False),
        ("{subject}{email}", False),
        ("{email}!{subject}", False),
    ],
)
def test_a_template_names_the_subject_and_separates_its_parts(template: str, good: bool) -> None:
    """Otherwise the hub does not start."""
    assert (template_problem(template) is None) == good


@pytest.mark.parametrize("plain", [None, [], {}, {"sub": "1", "new": 2}, {"sub": "1", "valid_until": "x"}])
def test_what_is_stored_and_unreadable_asks_for_a_new_login(plain: object) -> None:
    """An older or a newer version may have stored it."""
    with pytest.raises(LoginProblem, match="log in again"):
        claims_from_dict(plain)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WHOLE, "roles", "home"]), inner, max_size=4)
        ),
    )
)
def test_no_payload_makes_anything_but_claims_or_a_refusal(payload: object) -> None:
    """Whatever a realm's mappers do."""
    try:
        claims = read_claims(payload if isinstance(payload, dict) else {"sub": "1", "gids": payload}, NAMES)
    except LoginProblem:
        return
    assert claims_from_dict(claims.to_dict()) == claims
