"""The spawn page's form: what a card says, what stands first, and what it says when nothing can be chosen."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.mounts import Mount
from nbplatform_spawners.rules.decision import Decided, DecidedMount, Decision
from nbplatform_spawners.rules.model import Origin, Profile
from nbplatform_spawners.spawners.facts import Fact, all_facts, idle_limits, main_facts, storage
from nbplatform_spawners.spawners.page import Choice, PageSettings, render_choices

G = 1024**3
DAY = 86400
RULE = Origin("machine learning groups", "20-gpu.yaml", 3)
PROFILE = Origin("profile gpu", "10-profiles.yaml", 4)
DEFAULTS = Origin("defaults", "90-defaults.yaml", 1)
GPU = Profile("gpu", PROFILE, "One GPU", "For training", gpus=1, gpu_model="K80")
CPU = Profile("cpu", Origin("profile cpu", "10-profiles.yaml", 2), "CPU")
SETTINGS = PageSettings("Example Centre", servers_url="/hub/home")


def decision(profile: str = "gpu", gpus: int = 1, **fields: Any) -> Decision:
    """An allowed decision; ``idle_max_age`` stands for ``idle.max_age``."""
    decided = {
        re.sub("^(idle|quota)_", r"\1.", key): Decided(value, RULE if key == "allow" else DEFAULTS)
        for key, value in {"allow": True, **fields}.items()
    }
    return Decision("ada", profile, True, "3f9c", "allowed by rule 'x'", gpus=gpus, fields=decided)


FULL = replace(
    decision(
        memory=16 * G,
        cpu=0.5,
        image="registry/gpu:1",
        pool=("gpu", "large"),
        hosts=("gpu01",),
        quota_servers=2,
        quota_gpus=1,
        idle_cull_after=3 * DAY,
        idle_cull_after_gpu=DAY,
        idle_warn_before=7200,
        idle_max_age=14 * DAY,
        idle_busy_max=None,
        idle_extend=21600,
    ),
    mounts=(
        DecidedMount(Mount("/data/atlas", "/sps/atlas"), RULE),
        DecidedMount(Mount("/cvmfs", "/cvmfs", read_only=True), DEFAULTS),
        DecidedMount(Mount("/scratch", "/scratch", optional=True), DEFAULTS),
        DecidedMount(Mount("/home/ada", "/home/ada"), DEFAULTS),
    ),
)


def test_every_fact_of_a_decision_is_in_words_and_has_its_rule() -> None:
    """One click away: what one gets, who decided it, in which file and line."""
    rule = (RULE.by, "20-gpu.yaml:3")
    defaults = ("defaults", "90-defaults.yaml:1")
    assert all_facts(FULL, GPU) == [
        Fact("Allowed", "yes", *rule),
        Fact("GPUs", "1 (K80)", "profile gpu", "10-profiles.yaml:4"),
        Fact("Memory", "16 GiB", *defaults),
        Fact("Cores", "0.5", *defaults),
        Fact("Image", "registry/gpu:1", *defaults),
        Fact("Pool", "gpu, large", *defaults),
        Fact("Hosts", "gpu01", *defaults),
        Fact("Servers you may have at once", "2", *defaults),
        Fact("GPUs you may have at once", "1", *defaults),
        Fact("May be stopped", "after 1 day without activity", *defaults),
        Fact("Ends at the latest", "2 weeks after its start", *defaults),
        Fact("A busy kernel counts as activity", "as long as it is busy", *defaults),
        Fact("Warning before a stop", "2 hours", *defaults),
        Fact("A stop may be put off", "once, by 6 hours", *defaults),
        Fact("/cvmfs", "read only", *defaults, is_path=True),
        Fact("/home/ada", "read and write", *defaults, is_path=True),
        Fact("/scratch", "read and write, where it exists", *defaults, is_path=True),
        Fact("/sps/atlas", "read and write", *rule, is_path=True),
    ]


def test_a_server_without_gpus_hears_nothing_of_gpus() -> None:
    """Neither how many it may have nor when one with a GPU is stopped."""
    labels = [fact.label for fact in all_facts(replace(FULL, gpus=0), CPU)]
    assert not [label for label in labels if "GPU" in label]
    assert [fact.value for fact in all_facts(replace(FULL, gpus=0), CPU) if fact.label == "May be stopped"] == [
        "after 3 days without activity"
    ]


def test_what_people_choose_by_stands_out() -> None:
    """GPUs, memory and cores; what nothing decides is not said."""
    assert main_facts(FULL, GPU) == [("GPUs", "1 (K80)"), ("Memory", "16 GiB"), ("Cores", "0.5")]
    assert main_facts(decision("cpu", gpus=0), CPU) == []
    assert main_facts(decision(cpu=4.0), replace(GPU, gpus=2, gpu_model=None)) == [("GPUs", "2"), ("Cores", "4")]


LIMITS: dict[str, tuple[Decision, str | None]] = {
    "idle": (decision("cpu", 0, idle_cull_after=3 * DAY), "after 3 days without activity"),
    "both": (
        decision("cpu", 0, idle_cull_after=5400, idle_max_age=7 * DAY),
        "after 1 hour and 30 minutes without activity, at the latest 1 week after its start",
    ),
    "age alone": (decision("cpu", 0, idle_max_age=DAY), "1 day after its start"),
    "age, and never for want of activity": (
        decision("cpu", 0, idle_cull_after=None, idle_max_age=DAY),
        "1 day after its start",
    ),
    "never": (decision("cpu", 0, idle_cull_after=None), "never"),
    "never old": (
        decision("cpu", 0, idle_cull_after=DAY, idle_max_age=None),
        "after 1 day without activity",
    ),
    "nothing decides it": (decision("cpu", 0), None),
    "a GPU has its own": (decision(idle_cull_after=3 * DAY, idle_cull_after_gpu=DAY), "after 1 day without activity"),
    "a GPU without its own": (decision(idle_cull_after=3 * DAY), "after 3 days without activity"),
    "a GPU that is never idle": (decision(idle_cull_after=3 * DAY, idle_cull_after_gpu=None), "never"),
    "without a GPU that of GPUs says nothing": (decision("cpu", 0, idle_cull_after_gpu=DAY), None),
}


@pytest.mark.parametrize(("found", "expected"), LIMITS.values(), ids=LIMITS)
def test_idle_limits_are_said_in_words(found: Decision, expected: str | None) -> None:
    """``3 days``, not ``3d``; which limit holds depends on the GPU."""
    assert idle_limits(found) == expected


def test_storage_that_can_be_written_comes_first() -> None:
    """Each mount with its path in the server and its rights."""
    assert storage(FULL) == [
        ("/home/ada", "read and write"),
        ("/sps/atlas", "read and write"),
        ("/scratch", "read and write, where it exists"),
        ("/cvmfs", "read only"),
    ]


# The whole form


def rendered(*choices: Choice, **settings: Any) -> str:
    """The form, with one profile for each choice."""
    profiles = {
        name: Profile(name, PROFILE, f"Title of {name}")
        for name in (choice.decision.profile for choice in choices)
        if name
    }
    return unescape(render_choices(replace(SETTINGS, **settings), choices, profiles))


def allowed(name: str) -> Choice:
    """A profile that may be chosen."""
    return Choice(decision(name, 0, memory=G))


def refused(name: str, label: str = "not-allowed") -> Choice:
    """A profile that may not."""
    return Choice(decision(name, 0, memory=G).refused(Refusal(label, "no rule allows it")))


def order(page: str) -> list[str]:
    """Names of the profiles from top to bottom."""
    return re.findall(r'data-profile="(.*?)"', page)


def chosen(page: str) -> list[str]:
    """Names of the profiles that are chosen."""
    return re.findall(r'value="([^"]*)" checked', page)


ORDERS: dict[str, tuple[list[Choice], str | None, list[str], list[str]]] = {
    "as given": ([allowed("a"), allowed("b")], None, ["a", "b"], ["a"]),
    "what is refused comes last": ([refused("a"), allowed("b"), refused("c"), allowed("d")], None, [*"bdac"], ["b"]),
    "what one had last comes first": ([allowed("a"), allowed("b"), allowed("c")], "c", [*"cab"], ["c"]),
    "what one had last is refused now": ([allowed("a"), refused("b")], "b", [*"ab"], ["a"]),
    "what one had last is no more": ([allowed("a")], "gone", ["a"], ["a"]),
    "all is refused": ([refused("a"), refused("b")], "a", [*"ab"], []),
}


@pytest.mark.parametrize(("choices", "last", "expected", "checked"), ORDERS.values(), ids=ORDERS)
def test_what_is_chosen_stands_first_and_what_is_refused_last(
    choices: list[Choice], last: str | None, expected: list[str], checked: list[str]
) -> None:
    """One can start at once: nobody scrolls past what they cannot have."""
    page = rendered(*choices, last_used=last)
    assert order(page) == expected
    assert chosen(page) == checked


def test_what_is_full_now_stays_where_it_is_and_can_be_chosen() -> None:
    """The order is the site's; there may be room when Start is pressed."""
    full = replace(allowed("a"), obstacle=Refusal("full", "1 of 1 GPU is taken"), free="0 of 1 GPU")
    page = rendered(full, allowed("b"))
    assert order(page) == ["a", "b"]
    assert chosen(page) == ["a"]
    assert re.findall(r'data-profile="(.)".* data-obstacle="(.*?)"', page) == [("a", "full")]
    for words in ("Full now", "1 of 1 GPU is taken.", "You may press Start all the same", "0 of 1 GPU"):
        assert words in page


def test_a_used_up_quota_leads_to_ones_own_servers() -> None:
    """Waiting does not help there, stopping a server does."""
    page = rendered(replace(allowed("a"), obstacle=Refusal("quota", "you hold 2")))
    assert '<a href="/hub/home">See your servers</a>' in page
    assert "all the same" not in page


FOLDS: dict[str, tuple[list[Choice], bool]] = {
    "a few": ([allowed("a"), *map(refused, "bcd")], True),
    "more than a few": ([allowed("a"), *map(refused, "bcde")], False),
    "there is nothing else": ([*map(refused, "abcdef")], True),
}


@pytest.mark.parametrize(("choices", "is_open"), FOLDS.values(), ids=FOLDS)
def test_what_is_refused_is_folded_where_it_is_more_than_a_few(choices: list[Choice], is_open: bool) -> None:
    """Three can be read at once; a long list would only be in the way, unless there is nothing else."""
    assert re.findall('data-nbp="others"(.*?)>', rendered(*choices)) == [" open" if is_open else ""]


def test_the_names_of_what_is_folded_can_be_read() -> None:
    """Three of them, since a site may have many; nothing is said where nothing is refused."""
    names = "5 more that you cannot start, and why: Title of b, Title of c, Title of d, 2 more"
    assert names in re.sub("<.*?>", "", rendered(allowed("a"), *map(refused, "bcdef")))
    assert 'data-nbp="others"' not in rendered(allowed("a"))


def test_each_refusal_says_why_and_whom_to_ask() -> None:
    """The site's own words, the reason, and a link where the site gave an address."""
    told = replace(refused("a"), decision=replace(refused("a").decision, message="See https://ml.example.org."))
    page = rendered(told, refused("b", "unplaceable"), support="help@example.org")
    assert '<a href="https://ml.example.org" rel="noopener noreferrer">https://ml.example.org</a>.' in page
    assert "not-allowed: no rule allows it" in page
    assert page.count('<a href="mailto:help@example.org?subject=') == 2
    assert page.count("Not allowed") == 1
    assert page.count("Not available") == 1


def test_the_form_is_never_empty() -> None:
    """An empty form makes the hub start without asking; so there are words, and what to do."""
    page = rendered(problem=Refusal("account", "the account ended in 2020"), support="the help desk")
    assert "account: the account ended in 2020" in page
    assert re.search(r"Ask the help desk, with this sentence, unless it says what else to do\.", page)
    assert order(page) == []
    assert "Nothing here is allowed" in rendered()
    assert "Nothing here is allowed" in rendered(refused("a"))


def test_many_mounts_are_counted_on_the_card_and_listed_one_click_away() -> None:
    """Who is in twenty groups has twenty mounts on each card."""
    mounts = tuple(DecidedMount(Mount(f"/sps/g{n:02}", f"/sps/g{n:02}"), RULE) for n in range(20))
    page = rendered(Choice(replace(decision("a", 0), mounts=mounts)))
    card, _, table = page.partition("<table>")
    assert card.count("/sps/g") == 6
    assert "and 14 more" in card
    assert table.count("/sps/g") == 20


HOSTILE = '"><script>alert(1)</script>'


def test_nothing_that_people_wrote_is_markup() -> None:
    """Names, words and paths of rules, rule files and settings are text on the page."""
    profile = Profile(HOSTILE, Origin(HOSTILE, HOSTILE, 1), HOSTILE, HOSTILE, 1, HOSTILE)
    mine = replace(decision(HOSTILE, 1, image=HOSTILE), reason=HOSTILE)
    mine = replace(mine, mounts=(DecidedMount(Mount("/a", f"/{HOSTILE}"), Origin(HOSTILE, HOSTILE, 2)),))
    no = replace(mine.refused(Refusal("not-allowed", HOSTILE)), message=HOSTILE)
    settings = PageSettings(HOSTILE, f"{HOSTILE} https://x.org/{HOSTILE}", f"{HOSTILE} a@b.org", "/hub/home")
    choices = [Choice(mine, HOSTILE, Refusal("full", HOSTILE)), Choice(mine), Choice(no)]
    page = render_choices(replace(settings, notice=HOSTILE), choices, {HOSTILE: profile})
    page += render_choices(replace(settings, problem=Refusal("account", HOSTILE)), [], {})
    assert page.count("&lt;script&gt;") > 30
    assert "<script" not in page
    assert '"">' not in page


def test_a_card_shows_what_people_choose_by() -> None:
    """Title, description, GPUs with their model, memory, cores, storage with rights, idle limits: before any click."""
    html = render_choices(SETTINGS, [Choice(FULL, free="1 of 2 GPUs")], {"gpu": GPU})
    card = html[html.index("<fieldset") : html.index("<details")]
    words = " ".join(unescape(re.sub(r"<[^>]*>", " ", card)).split())
    assert "One GPU" in words
    assert "For training" in words
    assert "GPUs 1 (K80) Memory 16 GiB Cores 0.5" in words
    assert "1 of 2 GPUs" in words
    assert "May be stopped after 1 day without activity, at the latest 2 weeks after its start" in words
    assert "/home/ada , /sps/atlas (read and write)" in words.replace("( ", "(")
    assert "/cvmfs (read only)" in words
