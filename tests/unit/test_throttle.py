"""How long a login waits."""

import pytest

from nbplatform_spawners.auth.throttle import Limits, Throttle, TooManyError

LIMITS = Limits(free_per_name=2, free_per_address=5, first=1.0, longest=8.0, forget=100.0, pending=2)


def fail(throttle: Throttle, name: str, address: str, now: float, times: int = 1) -> list[float]:
    """Fail to log in, one after the other, and return the waits."""
    waits = []
    for _ in range(times):
        waits.append(throttle.begin(name, address, now))
        throttle.end(name, address, succeeded=False)
    return waits


def test_the_wait_for_a_name_doubles_up_to_its_bound() -> None:
    """Mistyping costs nothing, guessing costs more and more, and never beyond the bound."""
    assert fail(Throttle(LIMITS), "alice", "192.0.2.1", 0, 8) == [0, 0, 1, 2, 4, 8, 8, 8]


def test_a_name_waits_wherever_its_failures_came_from() -> None:
    """Guessing one name from many addresses is slowed down as well."""
    throttle = Throttle(LIMITS)
    waits = [fail(throttle, "alice", f"192.0.2.{number}", 0)[0] for number in range(5)]
    assert waits == [0, 0, 1, 2, 4]


def test_an_address_waits_whatever_names_it_tries() -> None:
    """One password tried on many names is slowed down as well, later: a school sits behind one address."""
    throttle = Throttle(LIMITS)
    waits = [fail(throttle, f"user{number}", "192.0.2.1", 0)[0] for number in range(8)]
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4]


def test_others_do_not_wait() -> None:
    """Neither another name at another address, nor the name of nobody."""
    throttle = Throttle(LIMITS)
    fail(throttle, "alice", "192.0.2.1", 0, 20)
    assert throttle.begin("bob", "192.0.2.2", 0) == 0


def test_nobody_is_locked_out_by_another_persons_guesses() -> None:
    """However often an attacker fails, the person themselves waits at most the bound, from their own address."""
    throttle = Throttle(LIMITS)
    fail(throttle, "alice", "192.0.2.1", 0, 1000)
    throttle.begin("alice", "192.0.2.1", 0)
    throttle.begin("alice", "192.0.2.1", 0)
    assert throttle.begin("alice", "198.51.100.7", 0) == LIMITS.longest


def test_a_success_forgets_the_name_but_not_the_address() -> None:
    """A good account of one's own must not buy guesses at others."""
    throttle = Throttle(LIMITS)
    fail(throttle, "victim", "192.0.2.1", 0, 8)
    throttle.begin("mine", "192.0.2.1", 0)
    throttle.end("mine", "192.0.2.1", succeeded=True)
    assert throttle.begin("other", "192.0.2.1", 0) == LIMITS.longest
    fail(throttle, "alice", "192.0.2.2", 0, 4)
    throttle.begin("alice", "192.0.2.2", 0)
    throttle.end("alice", "192.0.2.2", succeeded=True)
    assert throttle.begin("alice", "192.0.2.3", 0) == 0


def test_failures_are_forgotten_after_a_quiet_time() -> None:
    """Counted from the last one."""
    throttle = Throttle(LIMITS)
    fail(throttle, "alice", "192.0.2.1", 0, 4)
    assert throttle.begin("alice", "192.0.2.1", 100) == 4
    throttle.end("alice", "192.0.2.1", succeeded=False)
    assert throttle.begin("alice", "192.0.2.1", 201) == 0


def test_many_at_once_wait_as_much_as_one_after_the_other() -> None:
    """An attempt counts when it begins: opening connections in parallel is no way around."""
    throttle = Throttle(Limits(free_per_name=2, first=1.0, longest=8.0, pending=10))
    assert [throttle.begin("alice", "192.0.2.1", 0) for _ in range(6)] == [0, 0, 1, 2, 4, 8]


def test_too_many_at_once_are_not_looked_at() -> None:
    """Of one name from one address only so many may wait; each that ends makes room."""
    throttle = Throttle(LIMITS)
    throttle.begin("alice", "192.0.2.1", 0)
    throttle.begin("alice", "192.0.2.1", 0)
    with pytest.raises(TooManyError):
        throttle.begin("alice", "192.0.2.1", 0)
    throttle.end("alice", "192.0.2.1", succeeded=False)
    assert throttle.begin("alice", "192.0.2.1", 0) == 1


PER_NAME = Limits(pending=2, pending_per_name=3)


def succeed(throttle: Throttle, name: str, address: str) -> None:
    """Log in."""
    throttle.begin(name, address, 0)
    throttle.end(name, address, succeeded=True)


def let_in(throttle: Throttle, name: str, addresses: list[str]) -> list[bool]:
    """Begin an attempt from each address and end none; return which of them may wait."""
    allowed = []
    for address in addresses:
        try:
            throttle.begin(name, address, 0)
        except TooManyError:
            allowed.append(False)
        else:
            allowed.append(True)
    return allowed


HOME, OFFICE = "198.51.100.7", "198.51.100.8"
INVENTED = [f"10.9.{number}.1" for number in range(300)]
AT_ONCE = {
    "an address for each guess": ([], INVENTED[:5], [True, True, True, False, False]),
    "no address": ([], ["-", "-", "-"], [True, True, False]),
    "the person at home, from where they came before": ([HOME], [*INVENTED[:4], HOME], [True, True, True, False, True]),
    "the person from a new place": ([HOME], [*INVENTED[:3], OFFICE], [True, True, True, False]),
    "two places that are known": ([HOME, OFFICE], [*INVENTED[:3], HOME, OFFICE], [True] * 5),
    "an invented address that is the person's": ([HOME], [HOME] * 3, [True, True, False]),
    "what waits at a known address leaves the others their room": ([HOME], [HOME, *INVENTED[:4]], [True] * 4 + [False]),
    "the last four places are known": ([HOME, *INVENTED[9:13]], [*INVENTED[:3], HOME], [True, True, True, False]),
    "the same place often is one of four": ([HOME, *[OFFICE] * 9], [*INVENTED[:3], HOME], [True] * 4),
}


@pytest.mark.parametrize(("before", "addresses", "expected"), AT_ONCE.values(), ids=AT_ONCE)
def test_of_one_name_only_so_many_wait_wherever_they_come_from(
    before: list[str], addresses: list[str], expected: list[bool]
) -> None:
    """An address can be invented; one from which the name has logged in does not count."""
    throttle = Throttle(PER_NAME)
    for address in before:
        succeed(throttle, "alice", address)
    assert let_in(throttle, "alice", addresses) == expected


def test_a_name_that_is_full_leaves_others_alone_and_has_room_again() -> None:
    """Another name begins as ever; each attempt that ends makes room for one."""
    throttle = Throttle(PER_NAME)
    assert let_in(throttle, "alice", INVENTED[:4]) == [True, True, True, False]
    assert let_in(throttle, "bob", [INVENTED[0]]) == [True]
    throttle.end("alice", INVENTED[0], succeeded=False)
    assert let_in(throttle, "alice", INVENTED[4:6]) == [True, False]


def test_an_address_is_known_for_the_name_that_logged_in_alone() -> None:
    """With an account of one's own one buys no guesses at another, and makes nobody's address forgotten."""
    throttle = Throttle(PER_NAME)
    succeed(throttle, "alice", HOME)
    for address in INVENTED:
        succeed(throttle, "mallory", address)
    assert let_in(throttle, "alice", [*INVENTED[:4], HOME]) == [True, True, True, False, True]


def test_guesses_from_invented_addresses_are_as_slow_as_from_one() -> None:
    """With the default limits eight of eleven hundred parallel guesses wait, the rest are not looked at."""
    throttle = Throttle()
    assert sum(let_in(throttle, "alice", [f"10.9.{number // 3}.1" for number in range(1100)])) == 8


ONE_SUBSCRIBER = {
    "an IPv6 subscriber has all of a /64": ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
    "another /64 is somebody else": ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    "an IPv4 address in IPv6 clothes": ("::ffff:192.0.2.1", "192.0.2.1", True),
    "two IPv4 neighbours": ("192.0.2.1", "192.0.2.2", False),
    "what is no address": ("-", "-", True),
}


@pytest.mark.parametrize(("first", "second", "same"), ONE_SUBSCRIBER.values(), ids=ONE_SUBSCRIBER)
def test_addresses_of_one_subscriber_count_together(first: str, second: str, same: bool) -> None:
    """An address that costs nothing to change is no address."""
    throttle = Throttle(LIMITS)
    for number in range(6):
        fail(throttle, f"user{number}", first, 0)
    assert (throttle.begin("other", second, 0) > 0) is same


def test_memory_is_bounded_whatever_is_sent() -> None:
    """Ten thousand names and addresses are remembered, the latest ones, and none in full length."""
    throttle = Throttle()
    for number in range(6000):
        fail(throttle, f"{number}" * 100, f"10.0.{number // 256}.{number % 256}", 0)
    assert len(throttle) == 10_000


def test_the_names_that_logged_in_are_bounded_too() -> None:
    """Ten thousand of them are remembered, whatever an accounts file holds."""
    throttle = Throttle()
    for number in range(11_000):
        succeed(throttle, f"user{number}", HOME)
    failures_of_the_address = 1
    assert len(throttle) == 10_000 + failures_of_the_address
