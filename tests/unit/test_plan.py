"""The plan: a decision made concrete."""

import dataclasses
import json
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from nbplatform_spawners.hosts.admit import Holding, Placement
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.mounts import Mount
from nbplatform_spawners.plan import PLANNED_KEYS, STATE_VERSION, SpawnPlan, holding_from_state, make_plan
from nbplatform_spawners.rules.decision import Decided, DecidedEnv, DecidedMount, Decision
from nbplatform_spawners.rules.model import Origin

NOW = datetime(2026, 11, 23, 11, 0, 0, 123456, tzinfo=UTC)
TOKEN = "f00dfacef00dface"
ALICE = Identity(
    name="alice",
    uid=62001,
    gid=61000,
    groups={"users": 61000, "atlas": 61100},
    primary_group="users",
    home="/home/alice",
    provider="edugain",
    unnamed_gids=(61999,),
)
RULE = Origin("deep learning may use GPUs", "20-gpu.yaml", 2)
PROFILE = Origin("profile gpu", "10-profiles.yaml", 4)
DEFAULTS = Origin("defaults", "90-defaults.yaml", 1)
DECISION = Decision(
    user="alice",
    profile="gpu",
    allowed=True,
    generation="3f9c",
    reason="allowed by rule 'deep learning may use GPUs'",
    gpus=1,
    gpu_model="K80",
    fields={
        "allow": Decided(True, RULE),
        "pool": Decided(("gpu",), PROFILE),
        "image": Decided("nbplatform/gpu:2026.11", PROFILE),
        "memory": Decided(16 * 1024**3, PROFILE),
        "cpu": Decided(4.0, PROFILE),
        "idle.cull_after_gpu": Decided(86400, DEFAULTS),
    },
    mounts=(
        DecidedMount(Mount("/sps/atlas", "/home/alice/atlas"), RULE),
        DecidedMount(Mount("/home/alice", "/home/alice"), DEFAULTS),
        DecidedMount(Mount("/cvmfs", "/cvmfs", read_only=True, propagation="rslave"), DEFAULTS),
    ),
    env=(DecidedEnv("GROUP", "atlas", RULE), DecidedEnv("JUPYTERHUB_API_TOKEN", "mine", DEFAULTS)),
    hidden=("/sps/euclid",),
)
PLACEMENT = Placement("gpu01", "gpu", ("GPU-0101",))


def plan(decision: Decision = DECISION, **what: object) -> SpawnPlan:
    """Return the plan of alice's server ``two``."""
    given = {"server": "two", "command": ("jupyterhub-singleuser",), "env": {"JUPYTERHUB_API_TOKEN": TOKEN}, **what}
    return make_plan(decision, ALICE, PLACEMENT, **given)  # type: ignore[arg-type]


def test_a_plan_holds_everything_a_backend_needs() -> None:
    """The whole plan, field by field: mounts parents first, the platform's variables win, each field has its reason."""
    expected = SpawnPlan(
        identity=ALICE,
        server="two",
        profile="gpu",
        command=("jupyterhub-singleuser",),
        image="nbplatform/gpu:2026.11",
        memory=16 * 1024**3,
        cpu=4.0,
        mounts=(
            Mount("/cvmfs", "/cvmfs", read_only=True, propagation="rslave"),
            Mount("/home/alice", "/home/alice"),
            Mount("/sps/atlas", "/home/alice/atlas"),
        ),
        hidden=("/sps/euclid",),
        env={"GROUP": "atlas", "JUPYTERHUB_API_TOKEN": TOKEN},
        placement=PLACEMENT,
        reasons={
            "allow": "allowed by rule 'deep learning may use GPUs'",
            "pool": "profile gpu (10-profiles.yaml:4)",
            "image": "profile gpu (10-profiles.yaml:4)",
            "memory": "profile gpu (10-profiles.yaml:4)",
            "cpu": "profile gpu (10-profiles.yaml:4)",
            "idle.cull_after_gpu": "defaults (90-defaults.yaml:1)",
        },
        generation="3f9c",
        gpus=1,
        idle={"cull_after_gpu": 86400},
        allowed_by=RULE,
    )
    assert plan() == expected


def test_what_nothing_decides_is_no_limit() -> None:
    """A decision without image, memory and CPU plans none."""
    bare = dataclasses.replace(DECISION, fields={"allow": Decided(True, RULE)}, mounts=(), env=(), hidden=(), gpus=0)
    made = plan(bare, env={})
    assert (made.image, made.memory, made.cpu, made.mounts, made.hidden, made.env, made.gpus, made.idle) == (
        *(None, None, None),
        *((), (), {}, 0, {}),
    )


REFUSED = {
    "refused": dataclasses.replace(DECISION, allowed=False, label="not-allowed", reason="not-allowed: refused by x"),
    "refused without a label": dataclasses.replace(DECISION, allowed=False),
    "no profile": dataclasses.replace(DECISION, profile=None),
}


@pytest.mark.parametrize("decision", REFUSED.values(), ids=REFUSED)
def test_a_refused_decision_has_no_plan(decision: Decision) -> None:
    """Deny by default, here as well: nothing is planned that was not allowed."""
    with pytest.raises(ValueError, match=r"^a refused decision has no plan: "):
        plan(decision)


def test_the_state_is_versioned_and_holds_no_secret() -> None:
    """What the hub keeps: who, what, where and why, as plain JSON, and nothing of the environment."""
    state = plan(env={"JUPYTERHUB_API_TOKEN": TOKEN, "NBPLATFORM_SERVER_RUN": "0123456789abcdef"}).to_state(NOW)
    assert state == {
        "version": STATE_VERSION,
        "identity": ALICE.to_dict(),
        "profile": "gpu",
        "generation": "3f9c",
        "host": "gpu01",
        "pool": "gpu",
        "gpus": ["GPU-0101"],
        "gpu_count": 1,
        "memory": 16 * 1024**3,
        "cpu": 4.0,
        "idle": {"cull_after_gpu": 86400},
        "started": "2026-11-23T11:00:00+00:00",
        "reason": "allowed by rule 'deep learning may use GPUs'",
        "run": "0123456789abcdef",
    }
    assert tuple(state) == PLANNED_KEYS
    assert TOKEN not in json.dumps(state)


def test_a_plan_shown_holds_no_secret() -> None:
    """A plan in a log line or a traceback does not show the server's token."""
    assert repr(plan()) == "<SpawnPlan alice/two gpu on gpu01>"
    assert TOKEN not in f"{plan()} {plan()!r}"


def test_a_state_reads_back_as_what_the_server_holds() -> None:
    """After a restart the hub knows from the states what is taken, also through its JSON column."""
    state = json.loads(json.dumps(plan().to_state(NOW)))
    assert holding_from_state("alice", "two", state) == Holding(
        "alice", "two", "gpu01", ("GPU-0101",), 16 * 1024**3, None, 1
    )


@pytest.mark.parametrize(
    "state", [{}, {"pid": 42}, {"version": 0, "host": "a"}, {"version": STATE_VERSION + 1}], ids=str
)
def test_a_state_of_another_kind_holds_nothing(state: dict) -> None:
    """A state of another spawner or another version is not ours to read."""
    assert holding_from_state("alice", "", state) is None


def test_nothing_passed_in_is_changed() -> None:
    """Set, never append: the same input gives the same plan again, and the plan keeps no hold of the caller's dict."""
    env = {"A": "1"}
    first = plan(env=MappingProxyType(env))
    second = plan(env=MappingProxyType(env))
    assert first == second
    assert env == {"A": "1"}
    env["A"] = "2"
    assert first.env["A"] == "1"


def test_a_plan_is_frozen() -> None:
    """A backend renders the plan and changes nothing in it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().image = "another"  # type: ignore[misc]
