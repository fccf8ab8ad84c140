"""A refusal is one label and one sentence, the same on every page and in every answer, and it does not stick."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator

import pytest

from nbplatform_spawners.errors import REFUSALS
from tests.components.hub import Hub, run_cell, running_hub, start_server
from tests.components.need import need
from tests.components.session import Answer
from tests.hub.conftest import temporary_site
from tests.hub.site import DOUBLES, PASSWORD, RULES, Site

# id, options, status, label, part of the sentence
FORBIDDEN = [
    ("a profile nobody allowed", {"profile": "closed"}, 403, "not-allowed", "Write to the support desk."),
    ("a profile for others", {"profile": "gpu"}, 403, "not-allowed", "no rule allows you the profile 'gpu'"),
    ("a profile that does not exist", {"profile": "old"}, 403, "not-allowed", "there is no profile 'old'"),
    ("an image of one's own", {"image": "evil:latest"}, 400, "options", "unknown option 'image'"),
    ("an image beside a profile", {"profile": "cpu", "image": "x"}, 400, "options", "unknown option 'image'"),
    ("a hostile option name", {"a\nb\x1b[31m": 1}, 400, "options", "unknown option 'a\\nb\\x1b[31m'"),
    ("a profile of another type", {"profile": {"$gt": ""}}, 400, "options", "must be one name"),
    ("two profiles", {"profile": ["cpu", "gpu"]}, 400, "options", "must be one name"),
    ("more than any host has", {"profile": "huge"}, 403, "unplaceable", "of memory is asked for"),
    ("storage that is not there", {"profile": "lost"}, 503, "storage", "not-there"),
]
IDS = [row[0] for row in FORBIDDEN]


@pytest.mark.parametrize(("_", "options", "status", "label", "sentence"), FORBIDDEN, ids=IDS)
def test_the_rest_api_refuses_with_label_and_sentence(
    hub: Hub, _: str, options: object, status: int, label: str, sentence: str
) -> None:
    """A request made past the form gets status, label (header and text) and sentence; nothing is started."""
    answer = hub.api("POST", "users/ben/server", json={"user_options": options})
    assert answer.status == status
    assert answer.headers["X-Nbplatform-Reason"] == label
    assert answer.json["message"].startswith(f"{label}: ")
    assert sentence in answer.json["message"]
    advice = REFUSALS[label].advice.format(support="the support desk")
    assert answer.json["message"].endswith(f" What you can do: {advice}.")
    assert hub.api("GET", "users/ben").json["servers"] == {}


@pytest.mark.parametrize("options", [["cpu"], "cpu", 3, True])
def test_options_that_are_no_object_are_refused(hub: Hub, options: object) -> None:
    """Whatever JSON stands for the options: a clear refusal, never a trace, never a server."""
    answer = hub.api("POST", "users/ben/server", json={"user_options": options})
    assert answer.status == 400
    assert hub.api("GET", "users/ben").json["servers"] == {}


@pytest.mark.parametrize(("_", "options", "status", "label", "sentence"), FORBIDDEN, ids=IDS)
def test_a_refusal_does_not_stick_to_the_next_plain_spawn(
    hub: Hub, _: str, options: object, status: int, label: str, sentence: str
) -> None:
    """The hub repeats stored options at a plain start; refused ones are not among them."""
    hub.api("POST", "users/ben/server", json={"user_options": options})
    stored = hub.api("GET", "users/ben?include_stopped_servers=true").json["servers"][""]["user_options"]
    assert stored == {}


def test_after_a_refusal_a_plain_spawn_gives_the_first_allowed_profile(hub: Hub) -> None:
    """A refused request costs nothing: the next plain one starts what is allowed."""
    hub.api("POST", "users/ben/server", json={"user_options": {"profile": "gpu"}})
    assert start_server(hub, "ben")[-1].get("ready")
    state = hub.api("GET", "users/ben").json["servers"][""]["state"]
    assert state["profile"] == "cpu"


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/hub/spawn?opt-profile=gpu", None),
        ("/hub/spawn?profile=gpu", None),
        ("/hub/spawn", {"profile": "gpu"}),
        ("/hub/spawn/ben/second?opt-profile=gpu", None),
        ("/hub/spawn/ben/second", {"profile": "gpu"}),
    ],
    ids=["a URL with opt-", "a URL without", "the form", "a named server's URL", "a named server's form"],
)
def test_pages_say_why_and_offer_the_form_again(hub: Hub, path: str, form: dict[str, str] | None) -> None:
    """GET and POST of the spawn page show the sentence, what to do, the status and the form, and start nothing."""
    session = hub.login("ben", PASSWORD)
    answer = session.get(path) if form is None else _post_spawn(session, path, form)
    assert_a_page_in_words(answer)
    assert answer.headers["X-Nbplatform-Reason"] == "not-allowed"
    assert 'name="profile" value="cpu"' in answer.text
    assert hub.api("GET", "users/ben").json["servers"] == {}


def assert_a_page_in_words(answer: Answer) -> None:
    """The refused profile's page: a title, the sentence, what to do; no number, no name of an exception, no trace."""
    page = html.unescape(answer.text)
    assert answer.status == 403
    assert "<title>Not started</title>" in page
    assert "<h1>Not started</h1>" in page
    assert "not-allowed: no rule allows you the profile 'gpu'" in page
    assert "What you can do: choose something else, or ask the support desk, with this sentence." in page
    for noise in ("403", "Forbidden", "Error:", "SpawnRefused", "Traceback", "HTTP 4"):
        assert noise not in page.partition("<body>")[2], noise


def _post_spawn(session, path, form):  # type: ignore[no-untyped-def]
    session.get(path)
    return session.post(path, form)


def test_a_stray_query_parameter_starts_nothing(hub: Hub) -> None:
    """The hub takes any query parameter for a spawn with options; ours refuses the unknown one."""
    answer = hub.login("ben", PASSWORD).get("/hub/spawn?utm_source=mail")
    assert answer.status == 400
    assert "unknown option" in answer.text
    assert hub.api("GET", "users/ben").json["servers"] == {}


def test_the_spawn_page_shows_every_profile_with_its_reason(hub: Hub) -> None:
    """What a user may have and why, and what not and why not, without JavaScript."""
    page = html.unescape(hub.login("ben", PASSWORD).page("/hub/spawn"))
    assert 'data-profile="cpu" data-allowed="true"' in page
    assert "allowed by profile cpu (site.yaml:2)" in page
    assert 'data-profile="gpu" data-allowed="false"' in page
    assert "not-allowed: no rule allows you the profile 'gpu'" in page
    assert "Write to the support desk." in page
    assert 'data-profile="huge" data-allowed="false"' in page
    assert "1 GiB" in page
    assert "/home/ben" in page


@pytest.mark.parametrize("server", ["", "second"], ids=["the default server", "a named server"])
def test_a_slow_refusal_reaches_progress_and_pending_page(slow_hub: Hub, server: str) -> None:
    """When deciding takes longer than the hub waits, the progress events and the pending page tell the reason."""
    session = slow_hub.login("ben", PASSWORD)
    events = start_server(slow_hub, "ben", {"profile": "gpu"}, server)
    assert events[-1]["failed"]
    assert "not-allowed: no rule allows you" in events[-1]["message"]
    assert "What you can do: choose something else" in events[-1]["message"]
    for path in (f"/hub/spawn-pending/ben/{server}".rstrip("/"), f"/hub/user/ben/{server}"):
        pending = session.get(path)
        assert_a_page_in_words(pending)
        assert re.search(rf'id="start"[^>]*href="/hub/spawn/ben/?{server}"', pending.text)
    assert session.get(f"/hub/spawn/ben/{server}".rstrip("/")).status == 200


@pytest.fixture(scope="module")
def slow_hub() -> Iterator[Hub]:
    """A hub that answers before it has decided."""
    with temporary_site() as site:
        config = site.config + (
            "c.JupyterHub.spawner_class = 'tests.hub.doubles.SlowToDecide'\n"
            "c.JupyterHub.tornado_settings = {'slow_spawn_timeout': 0}\n"
        )
        with need(running_hub(config, extra_env=DOUBLES)) as hub:
            yield hub


def test_without_a_form_the_error_page_says_why(own_site: Site) -> None:
    """A site that gives no choice has no form to come back to: the hub's error page is in words, too.

    Errors of the hub itself look as before.
    """
    own_site.write_rules(RULES.replace('"Everyday work", allow: true', '"Everyday work"'))
    config = own_site.config + "c.NbplatformSpawner.options_form = ''\n"
    with running_hub(config) as hub:
        session = hub.login("ben", PASSWORD)
        answer = session.get("/hub/spawn")
        assert answer.headers["X-Nbplatform-Reason"] == "unplaceable"
        page = html.unescape(answer.text)
        assert "<h1>Not started</h1>" in page
        assert "unplaceable: " in page
        assert "What you can do: choose something else, and tell the support desk this sentence." in page
        assert "SpawnRefused" not in page
        assert "<h1>503 : Service Unavailable</h1>" in session.page("/hub/error/503")


def test_a_failed_start_shows_the_end_of_the_servers_log(own_site: Site) -> None:
    """A page with a sentence, what to do and the log as its own lines; what the log holds is text.

    A server that never answers has no such end: the page says that it took too long.
    """
    profiles = 'profiles:\n  dies: {title: "Dies", allow: true}\n  silent: {title: "Silent", allow: true}\n'
    own_site.write_rules(RULES.replace("profiles:\n", profiles))
    config = own_site.config + (
        "c.JupyterHub.spawner_class = 'tests.hub.doubles.AsItsProfile'\n"
        "c.JupyterHub.tornado_settings = {'slow_spawn_timeout': 0}\n"
        "c.NbplatformSpawner.support = 'help@example.org'\n"
        "c.NbplatformSpawner.start_timeout = 5\n"
    )
    with running_hub(config, extra_env=DOUBLES) as hub:
        session = hub.login("ben", PASSWORD)
        event = start_server(hub, "ben", {"profile": "dies"})[-1]
        assert "The server ended with 1. What you can do: start it again" in event["message"]
        answer = session.get("/hub/spawn-pending/ben")
        assert answer.status == 500
        assert "<h1>Not started</h1>" in answer.text
        assert "The server ended with 1" in answer.text
        assert "if it fails again, send this page to" in answer.text
        assert 'href="mailto:help@example.org"' in answer.text
        assert re.search(r'<pre class="nbplatform-log"[^>]*>&lt;b&gt;the disk is full&lt;/b&gt;</pre>', answer.text)
        assert start_server(hub, "ben", {"profile": "silent"})[-1]["failed"]
        page = " ".join(session.page("/hub/spawn-pending/ben").split())
        assert "Your server did not answer in time and was ended." in page
        assert "What you can do: start it again; if it fails again, tell help@example.org when it happened." in page


def test_the_hubs_own_pages_say_why_as_well(own_site: Site) -> None:
    """A site that does not use our pages shows the same sentence and advice on JupyterHub's."""
    config = own_site.config + "c.JupyterHub.template_paths = []\n"
    with running_hub(config) as hub:
        answer = hub.login("ben", PASSWORD).get("/hub/spawn?opt-profile=gpu")
        assert answer.status == 403
        assert "not-allowed: no rule allows you the profile 'gpu'. What you can do:" in html.unescape(answer.text)


def test_the_hubs_metrics_count_refusals_by_label(hub: Hub) -> None:
    """A refusal is a failure with its reason, not an error of the platform."""
    hub.api("POST", "users/ben/server", json={"user_options": {"profile": "closed"}})
    metrics = hub.visit().page("/hub/metrics")
    assert 'reason="not-allowed",status="failure"' in metrics


def test_quota_counts_all_servers_of_a_user(hub: Hub) -> None:
    """The third named server of a user with two is refused with numbers; another user is not concerned."""
    for name in ("one", "two"):
        assert start_server(hub, "ada", server_name=name)[-1].get("ready")
    answer = hub.api("POST", "users/ada/servers/three")
    assert answer.status == 403
    assert answer.headers["X-Nbplatform-Reason"] == "quota"
    assert "you hold 2 and ask for 1 more, your quota is 2 servers" in answer.json["message"]
    assert start_server(hub, "ben")[-1].get("ready")


def test_two_requests_at_once_do_not_pass_the_quota_together(hub: Hub) -> None:
    """Pending servers count: of three starts sent together two are granted."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda name: start_server(hub, "ada", server_name=name)[-1], ("a", "b", "c")))
    assert sorted(bool(event.get("ready")) for event in ended) == [False, True, True]


def test_one_gpu_is_granted_once(hub: Hub) -> None:
    """The second holder is refused with numbers; after a stop the GPU is free again."""
    assert start_server(hub, "ada", {"profile": "gpu"})[-1].get("ready")
    assert run_cell(hub, "ada", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])").strip() == "GPU-0001"
    answer = hub.api("POST", "users/eve/server", json={"user_options": {"profile": "gpu"}})
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (503, "full")
    assert "1 of 1 GPU of this machine is taken" in answer.json["message"]
    hub.api("DELETE", "users/ada/server")
    assert start_server(hub, "eve", {"profile": "gpu"})[-1].get("ready")


def test_an_edit_acts_on_the_next_spawn_and_a_broken_file_changes_nothing(hub: Hub, site: Site) -> None:
    """Within 2 s of the edit; a typo is logged once and the last good rules stay."""
    site.write_rules(RULES.replace("users: [ada, eve]", "users: [ada, eve, ben]"))
    time.sleep(2)
    assert start_server(hub, "ben", {"profile": "gpu"})[-1].get("ready")
    hub.api("DELETE", "users/ben/server")
    site.write_rules(RULES.replace("match: {users: [ada, eve]", "macht: {users: [ben]"))
    time.sleep(2)
    assert start_server(hub, "ben", {"profile": "gpu"})[-1].get("ready")
    assert hub.log_text().count("unknown key 'macht', did you mean 'match'?") == 1
    assert "last good rules stay in use: site.yaml:" in html.unescape(hub.login("eve", PASSWORD).page("/hub/spawn"))
    assert "last good rules" not in hub.login("ada", PASSWORD).page("/hub/spawn")
    bad = f'nbplatform_rules_bad{{directory="{site.rules}"}}'
    assert f"{bad} 1.0" in hub.visit().page("/hub/metrics")
    site.write_rules()
    time.sleep(2)
    assert f"{bad} 0.0" in hub.visit().page("/hub/metrics")
