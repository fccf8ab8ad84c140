"""Which jobs the reaper ends: only those whose server is positively gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbplatform_spawners.slurm_dask.models import ENDED_STATES, JobState
from nbplatform_spawners.slurm_dask.orphans import Server, ServerState, orphans
from nbplatform_spawners.slurm_dask.tag import Tag, read_tag

RUNS = ServerState(run="r1", pending=False, ready=True)


def job(user: str = "ada", state: str = "RUNNING", tag: Tag | str | None = None, **tagged: str) -> JobState:
    """A job of ada's default server, or one that differs in some things."""
    if tag is None:
        tag = Tag(**{"hub": "hub", "user": "ada", "server": "", "run": "r1", "cluster": "0123456789ab", **tagged})
    return JobState("7", "dask-worker", user, state, tag=tag if isinstance(tag, str) else tag.text())


@pytest.mark.parametrize(
    ("a_job", "servers", "why"),
    [
        pytest.param(job(), {}, "its server is gone", id="no such server"),
        pytest.param(job(state="PENDING"), {}, "its server is gone", id="a waiting job"),
        pytest.param(job(), {("ada", ""): RUNS}, None, id="its server runs"),
        pytest.param(job(), {("ada", "gpu"): RUNS}, "its server is gone", id="only another server of the user"),
        pytest.param(job(), {("bob", ""): RUNS}, "its server is gone", id="only another user's server"),
        pytest.param(job(server="gpu"), {("ada", "gpu"): RUNS}, None, id="a named server"),
        pytest.param(
            job(),
            {("ada", ""): ServerState("r2", False, True)},
            "its server has been started anew since",
            id="a new start",
        ),
        pytest.param(job(), {("ada", ""): ServerState("r2", True, False)}, None, id="a new start that is pending"),
        pytest.param(job(), {("ada", ""): ServerState("r2", True, True)}, None, id="a stop that is pending"),
        pytest.param(job(), {("ada", ""): ServerState("r2", False, False)}, None, id="neither ready nor pending"),
        pytest.param(
            job(), {("ada", ""): ServerState(None, False, True)}, None, id="a start that the hub does not know"
        ),
        pytest.param(job(), {("ada", ""): ServerState("", False, True)}, None, id="a start without a name"),
        pytest.param(job(run=""), {("ada", ""): RUNS}, None, id="a job that does not know its start"),
        pytest.param(job(run=""), {}, "its server is gone", id="such a job without its server"),
        pytest.param(job(user="bob"), {}, None, id="another user's job with this tag"),
        pytest.param(job(user=""), {}, None, id="a job of a user whose name is not known"),
        pytest.param(job(user="", tag=Tag("hub", "", "", "r1", "c")), {}, None, id="a tag without user"),
        pytest.param(job(hub="other"), {}, None, id="another hub's job"),
        pytest.param(job(hub=""), {}, None, id="a job from outside a hub"),
        pytest.param(job(tag=""), {}, None, id="a job without a tag"),
        pytest.param(job(tag="(null)"), {}, None, id="a job without a comment"),
        pytest.param(job(tag="nbplatform/1 hub=hub user=ada"), {}, None, id="half a tag"),
        pytest.param(job(state="COMPLETED"), {}, None, id="a job that has ended"),
        pytest.param(job(state="COMPLETING"), {}, "its server is gone", id="a job that ends now"),
    ],
)
def test_only_a_job_whose_server_is_gone_is_an_orphan(
    a_job: JobState, servers: dict[Server, ServerState], why: str | None
) -> None:
    """In doubt a job lives on: its scheduler's own limits end it."""
    found = orphans([a_job], servers, "hub")
    assert [(orphan.job, orphan.why) for orphan in found] == ([] if why is None else [(a_job, why)])


def test_a_hub_without_a_name_has_no_orphans() -> None:
    """Jobs from outside of any hub have no hub in their tag: nobody's reaper ends them."""
    assert orphans([job(hub=""), job()], {}, "") == []


NAMES = st.sampled_from(["", "ada", "bob", "hub", "r1", "r2"])
STATES = st.sampled_from(["PENDING", "RUNNING", "COMPLETED", "CANCELLED", "NEW_WORD"])
TAGS = st.one_of(st.builds(Tag, NAMES, NAMES, NAMES, NAMES, NAMES).map(Tag.text), st.text(max_size=30))
JOBS = st.lists(st.builds(lambda user, state, tag: JobState("1", "n", user, state, tag=tag), NAMES, STATES, TAGS))
SERVERS = st.dictionaries(
    st.tuples(NAMES, NAMES), st.builds(ServerState, st.one_of(st.none(), NAMES), st.booleans(), st.booleans())
)


@given(JOBS, SERVERS, NAMES)
def test_no_orphan_has_a_server_that_may_be_its_own(
    jobs: list[JobState], servers: dict[Server, ServerState], hub: str
) -> None:
    """Whatever hub and Slurm say: the job is this hub's, its owner's own, alive, and its start is not there."""
    for orphan in orphans(jobs, servers, hub):
        tag = read_tag(orphan.job.tag)
        assert tag == orphan.tag
        assert tag is not None
        assert tag.hub == hub != ""
        assert tag.user == orphan.job.user != ""
        assert orphan.job.state not in ENDED_STATES
        server = servers.get((tag.user, tag.server))
        assert server is None or (server.ready and not server.pending and server.run not in (None, "", tag.run))


@given(JOBS, SERVERS, st.tuples(NAMES, NAMES))
def test_a_server_more_never_makes_an_orphan_more(
    jobs: list[JobState], servers: dict[Server, ServerState], server: Server
) -> None:
    """A pending server of a name protects what a missing one does not."""
    more = {**servers, server: ServerState(None, True, False)}
    before = [orphan.job for orphan in orphans(jobs, servers, "hub")]
    assert all(orphan.job in before for orphan in orphans(jobs, more, "hub"))
