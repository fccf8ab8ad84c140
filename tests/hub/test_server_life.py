"""A server from start to stop: who it is inside, what it sees, what the hub keeps of it, what is left behind."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from nbplatform_spawners.hosts.local_machine import probe_machine
from nbplatform_spawners.hosts.local_process import find_running
from tests.components.hub import Hub, HubDied, run_cell, run_terminal, running_hub, start_server, stop_server
from tests.components.ports import listens
from tests.components.servers import ServerTrouble
from tests.hub.site import DOUBLES, PASSWORD, RULES, Site

MODE = probe_machine().mode
needs_view = pytest.mark.skipif(MODE == "plain", reason="this machine gives servers no view of their own (see probe)")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a server supplementary groups")

WHO = """
import os, pwd, grp, json
print(json.dumps({"uid": os.getuid(), "gid": os.getgid(), "groups": sorted(os.getgroups()),
  "name": pwd.getpwuid(os.getuid()).pw_name, "home": os.environ["HOME"], "cwd": os.getcwd(),
  "names": [grp.getgrgid(gid).gr_name for gid in sorted(os.getgroups())], "site": os.environ["SITE"]}))
"""


def state_of(hub: Hub, user: str, name: str = "") -> dict:  # type: ignore[type-arg]
    """What the hub keeps of a server."""
    return hub.api("GET", f"users/{user}").json["servers"][name]["state"]


def processes_with(text: str) -> list[int]:
    """Process ids whose environment or command line holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                seen = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in seen:
                found.append(int(entry.name))
    return found


def ends(pid: int) -> bool:
    """Whether a process is gone within seconds; one that ended waits a moment for its parent to notice."""
    limit = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


@needs_view
def test_a_kernel_runs_as_the_account(hub: Hub) -> None:
    """uid, gid, names, HOME and working directory are the account's; the rules' variables are there."""
    assert start_server(hub, "ada")[-1].get("ready")
    who = json.loads(run_cell(hub, "ada", WHO))
    assert (who["uid"], who["gid"], who["name"]) == (62101, 61000, "ada")
    assert (who["home"], who["cwd"], who["site"]) == ("/home/ada", "/home/ada", "a small site")


@needs_root
def test_supplementary_groups_are_granted_and_resolve(hub: Hub) -> None:
    """Groups come numeric from the identity and have names inside, in kernel and terminal alike."""
    assert start_server(hub, "ada")[-1].get("ready")
    who = json.loads(run_cell(hub, "ada", WHO))
    assert who["groups"] == [61000, 61100]
    assert who["names"] == ["users", "atlas"]
    assert "uid=62101(ada) gid=61000(users) groups=61000(users),61100(atlas)" in run_terminal(hub, "ada", "id")


@needs_view
def test_only_planned_storage_is_visible(hub: Hub, site: Site) -> None:
    """Own HOME and group storage can be written, CVMFS only read, nobody else's storage is there."""
    assert start_server(hub, "ada")[-1].get("ready")
    seen = run_terminal(
        hub,
        "ada",
        "ls /home /sps; touch /home/ada/mine /sps/atlas/ours && echo written; touch /cvmfs/x; cat /cvmfs/software;"
        f" ls {site.top} /root /scratch",
    )
    assert "/home:\nada\n" in seen
    assert "/sps:\natlas\n" in seen
    assert "written" in seen
    assert "Read-only file system" in seen
    assert "read me" in seen
    assert f"cannot access '{site.top}'" in seen
    assert "cannot access '/scratch'" in seen
    if MODE == "root":
        assert (site.top / "home/ada/mine").stat().st_uid == 62101
        assert (site.top / "sps/atlas/ours").stat().st_gid == 61100


@needs_root
def test_memory_beyond_the_limit_ends_the_kernel_not_the_machine(hub: Hub, site: Site) -> None:
    """The decided limit is the kernel's own: 2 GiB under a limit of 1 GiB are not to be had."""
    if not probe_machine().can_limit:
        pytest.skip("limits cannot be written on this machine")
    assert start_server(hub, "ada")[-1].get("ready")
    code = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'x = b\"1\" * 2**31']).returncode)"
    assert run_cell(hub, "ada", code).strip() in ("-9", "1")


def test_the_state_is_small_versioned_and_without_secrets(hub: Hub) -> None:
    """At most 4 kB: identity, profile, placement, generation and process; no token, no hash."""
    assert start_server(hub, "ada")[-1].get("ready")
    state = state_of(hub, "ada")
    assert len(json.dumps(state)) <= 4096
    assert {"version", "identity", "profile", "generation", "host", "gpus", "memory", "process", "port"} <= set(state)
    assert state["identity"]["uid"] == 62101
    text = json.dumps(state).lower()
    assert "token" not in text
    assert "argon2" not in text


def test_no_secret_in_log_or_command_line(hub: Hub) -> None:
    """The server's token is in its environment alone; the password is nowhere."""
    hub.login("ada", PASSWORD)
    assert start_server(hub, "ada")[-1].get("ready")
    token = run_cell(hub, "ada", "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
    assert len(token) > 20
    assert token not in hub.log_text()
    assert PASSWORD not in hub.log_text()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert token not in (entry / "cmdline").read_text()
            except OSError:
                continue


@needs_view
def test_the_hubs_environment_does_not_reach_the_server(hub: Hub) -> None:
    """Keys of the hub stay with the hub."""
    assert start_server(hub, "ada")[-1].get("ready")
    environment = run_cell(hub, "ada", "import os; print(sorted(os.environ))")
    assert "CRYPT_KEY" not in environment
    assert "CONFIGPROXY" not in environment


def test_start_stop_start_gives_the_same_server(hub: Hub) -> None:
    """Nothing leaks from one start to the next: the state differs in process, port, time and run alone."""
    states = []
    for _ in range(2):
        assert start_server(hub, "ada")[-1].get("ready")
        state = state_of(hub, "ada")
        states.append({key: value for key, value in state.items() if key not in ("process", "port", "started", "run")})
        stop_server(hub, "ada")
    assert states[0] == states[1]


def test_a_stop_leaves_no_process(hub: Hub) -> None:
    """Also not a child that ignores TERM and left its session."""
    assert start_server(hub, "ada")[-1].get("ready")
    mark = f"nbp-mark-{os.getpid()}-{time.monotonic_ns()}"
    stubborn = ["setsid", "sh", "-c", "trap '' TERM; sleep 600", mark]
    run_cell(hub, "ada", f"import subprocess; subprocess.Popen({stubborn!r})")
    run_cell(hub, "ada", f"import subprocess; subprocess.Popen(['setsid', 'sleep', '599'], env={{'MARK': '{mark}'}})")
    assert processes_with(mark)
    stop_server(hub, "ada")
    assert not processes_with(mark)


def test_an_administrator_starts_a_server_with_the_owners_identity(hub: Hub) -> None:
    """Who asks does not matter: the server is its owner's."""
    assert start_server(hub, "eve")[-1].get("ready")  # the component's service asks, not eve
    assert state_of(hub, "eve")["identity"]["name"] == "eve"


def test_a_user_made_over_the_api_is_looked_up(hub: Hub) -> None:
    """No auth_state is stored for them; the directory decides, and an unknown one is refused with the reason."""
    assert start_server(hub, "ben")[-1].get("ready")
    hub.api("POST", "users/nobody-knows")
    answer = hub.api("POST", "users/nobody-knows/server")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")


def test_an_expired_account_is_refused_at_the_next_spawn(hub: Hub, site: Site) -> None:
    """Validity is asked afresh before each spawn, in one sentence with the date."""
    hub.login("ada", PASSWORD)
    site.write_accounts(ada='valid_until: "2020-01-01T00:00+00:00"')
    answer = hub.api("POST", "users/ada/server")
    assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "account")
    assert "2020-01-01" in answer.json["message"]


def test_kill_9_of_a_server_is_noticed_and_the_next_start_works(hub: Hub) -> None:
    """The hub finds the server gone, frees what it held, and starts another."""
    assert start_server(hub, "ada", {"profile": "gpu"})[-1].get("ready")
    run_cell(hub, "ada", "1")
    os.kill(state_of(hub, "ada")["process"]["pid"], 9)
    limit = time.monotonic() + 60
    while "" in hub.api("GET", "users/ada").json["servers"] and time.monotonic() < limit:
        time.sleep(0.5)
    assert start_server(hub, "eve", {"profile": "gpu"})[-1].get("ready")


def test_a_server_that_never_answers_gives_everything_back(own_site: Site) -> None:
    """At the time limit its process ends and what it held is free; the next start works."""
    config = own_site.config.replace('"nbplatform-local"', '"tests.hub.doubles.NeverAnswers"')
    with running_hub(config + "c.Spawner.start_timeout = 4\n", extra_env=DOUBLES) as hub:
        hub.api("POST", "users/ada")
        events = start_server(hub, "ada", {"profile": "gpu"})
        assert events[-1]["failed"]
        hub.restart(own_site.config)
        assert start_server(hub, "ada", {"profile": "gpu"})[-1].get("ready")


def test_a_stop_during_the_start_gives_everything_back(own_site: Site) -> None:
    """A user who changes their mind while the wheel turns holds nothing afterwards, and no process is left."""
    config = own_site.config.replace('"nbplatform-local"', '"tests.hub.doubles.NeverAnswers"')
    config += "c.JupyterHub.tornado_settings = {'slow_spawn_timeout': 0}\n"
    with running_hub(config, extra_env=DOUBLES) as hub:
        hub.api("POST", "users/ada")
        assert hub.api("POST", "users/ada/server", json={"user_options": {"profile": "gpu"}}).status == 202
        limit = time.monotonic() + 20
        while not hub.api("GET", "users/ada").json["servers"][""]["state"].get("process"):
            assert time.monotonic() < limit
            time.sleep(0.1)
        pid = state_of(hub, "ada")["process"]["pid"]
        assert hub.api("DELETE", "users/ada/server").status in (202, 204)
        while hub.api("GET", "users/ada").json["servers"] and time.monotonic() < limit:
            time.sleep(0.1)
        assert ends(pid)
        hub.api("POST", "users/eve")
        assert hub.api("POST", "users/eve/server", json={"user_options": {"profile": "gpu"}}).status == 202


@needs_root
def test_nobody_is_sent_to_a_port_that_another_took(own_site: Site) -> None:
    """The listener must be the server's own user, else the start fails with a sentence."""
    config = own_site.config.replace('"nbplatform-local"', '"tests.hub.doubles.TakesAnothersPort"')
    with running_hub(config, extra_env=DOUBLES) as hub:
        hub.api("POST", "users/ada")
        assert "was taken by a process of uid 0" in start_server(hub, "ada")[-1]["message"]


def test_a_server_that_dies_at_start_shows_the_end_of_its_log(own_site: Site) -> None:
    """The user reads why, in the server's own words, and nothing stays held."""
    config = own_site.config.replace('"nbplatform-local"', '"tests.hub.doubles.DiesAtStart"')
    with running_hub(config, extra_env=DOUBLES) as hub:
        hub.api("POST", "users/ada")
        message = start_server(hub, "ada", {"profile": "gpu"})[-1]["message"]
        assert "the disk is full" in message
        second = start_server(hub, "ada", {"profile": "gpu"})[-1]["message"]
        assert "taken" not in second


def test_the_hub_finds_its_servers_again_and_revokes_their_tokens(own_site: Site) -> None:
    """kill -9 of the hub: servers live on, are found by pid and start time, can be stopped, and their tokens end."""
    with running_hub(own_site.config, external_proxy=True) as hub:
        hub.api("POST", "users/ada")
        assert start_server(hub, "ada", {"profile": "gpu"})[-1].get("ready")
        before = state_of(hub, "ada")
        token = run_cell(hub, "ada", "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
        hub.kill9()
        hub.restart()
        assert state_of(hub, "ada") == before
        assert run_cell(hub, "ada", "print(6 * 7)").strip() == "42"
        answer = hub.api("POST", "users/eve")
        answer = hub.api("POST", "users/eve/server", json={"user_options": {"profile": "gpu"}})
        assert answer.headers["X-Nbplatform-Reason"] == "full", "what is held is read back after a restart"
        assert hub.api("GET", "user", token=token).status == 200
        stop_server(hub, "ada")
        assert hub.api("GET", "user", token=token).status == 403
        assert ends(before["process"]["pid"])


def test_each_start_of_a_server_is_known_by_a_name_of_its_own(own_site: Site) -> None:
    """The server and the hub's state of it have the same name of this start; the next start has another."""
    told = "import os; print(os.environ['NBPLATFORM_SERVER_RUN'], os.environ.get('NBPLATFORM_HUB_ID'))"
    with running_hub(own_site.config + 'c.NbplatformSpawner.hub_id = "one-of-two"\n') as hub:
        hub.api("POST", "users/ada")
        seen = set()
        for _ in range(2):
            assert start_server(hub, "ada")[-1].get("ready")
            run = state_of(hub, "ada")["run"]
            assert run_cell(hub, "ada", told).split() == [run, "one-of-two"]
            seen.add(run)
            stop_server(hub, "ada")
        assert len(seen) == 2
        assert all(len(run) == 16 for run in seen)


@pytest.mark.parametrize("wrong", ["two words", "a@b", "../x", "x" * 300])
def test_a_hubs_name_is_a_plain_word(own_site: Site, wrong: str) -> None:
    """It labels containers and jobs; anything else stops the hub's start in words."""
    config = own_site.config + f"c.NbplatformSpawner.hub_id = {wrong!r}\n"
    with pytest.raises(HubDied, match="hub_id must be a short name"), running_hub(config):
        pass


def test_a_server_that_ended_while_the_hub_was_down_is_not_taken_for_another_process(own_site: Site) -> None:
    """A pid alone proves nothing: start time and boot must fit, too."""
    with running_hub(own_site.config, external_proxy=True) as hub:
        hub.api("POST", "users/ada")
        assert start_server(hub, "ada")[-1].get("ready")
        pid = state_of(hub, "ada")["process"]["pid"]
        hub.kill9()
        os.kill(pid, 9)
        hub.restart()
        assert hub.api("GET", "users/ada").json["servers"] == {}
        assert start_server(hub, "ada")[-1].get("ready")


def test_kill_9_of_the_proxy_loses_no_server(own_site: Site) -> None:
    """The hub starts its proxy again and gives it the routes back."""
    with running_hub(own_site.config) as hub:
        hub.api("POST", "users/ada")
        assert start_server(hub, "ada")[-1].get("ready")
        hub.proxy.kill9()
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            try:
                assert run_cell(hub, "ada", "print(6 * 7)").strip() == "42"
                break
            except (OSError, ServerTrouble):  # the proxy is not back yet
                time.sleep(1)
        else:
            raise AssertionError("the proxy did not come back")


def test_the_crypt_key_may_change(own_site: Site) -> None:
    """Stored identities become unreadable; the directory is asked instead, nobody is locked out."""
    with running_hub(own_site.config) as hub:
        hub.login("ada", PASSWORD)
        hub._env["JUPYTERHUB_CRYPT_KEY"] = "00" * 32
        hub.restart()
        assert start_server(hub, "ada")[-1].get("ready")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("allow: true", "alow: true"), "site.yaml:2: profile 'cpu': unknown key 'alow', did you mean 'allow'?"),
        (("profiles:", "profiles: ["), "not valid YAML"),
    ],
    ids=["a typo", "no YAML"],
)
def test_bad_rules_at_start_stop_the_start(own_site: Site, wrong: tuple[str, str], said: str) -> None:
    """The hub does not come up with rules that are not what somebody meant; every mistake is printed, no trace."""
    own_site.write_rules(RULES.replace(*wrong, 1))
    with pytest.raises(HubDied) as died, running_hub(own_site.config):
        pass
    assert said in str(died.value)
    assert "Traceback" not in str(died.value)


def test_missing_rules_at_start_stop_the_start(own_site: Site) -> None:
    """No directory is no rules: deny the start rather than everything, and say so."""
    config = own_site.config.replace("placement_rules", "nowhere")
    with pytest.raises(HubDied, match="nowhere"), running_hub(config):
        pass


def test_a_setting_that_cannot_hold_here_stops_the_start(own_site: Site) -> None:
    """internal_ssl is said to be unsupported at the hub's start, not to each user at theirs."""
    config = own_site.config + "c.JupyterHub.internal_ssl = True\n"
    with pytest.raises(HubDied, match="does not support"), running_hub(config):
        pass


def test_kill_9_of_the_hub_in_the_middle_of_a_start_leaves_nobody_a_gpu(own_site: Site) -> None:
    """A server that runs unrecorded is ended before anything is granted again, its GPU goes to the next."""
    double = own_site.config.replace('"nbplatform-local"', '"tests.hub.doubles.KillsTheHub"')
    with running_hub(double, extra_env=DOUBLES, external_proxy=True) as hub:
        hub.api("POST", "users/ada")
        hub.api("POST", "users/eve")
        hub.api("POST", "users/ada/server", json={"user_options": {"profile": "gpu"}})  # the hub dies of it
        stray = find_running(own_site.top / "run/ada")
        assert stray is not None
        hub.restart(own_site.config)
        assert start_server(hub, "eve", {"profile": "gpu"})[-1].get("ready")
        assert ends(stray.pid)
        assert "ending a server that no record names" in hub.log_text()


def test_a_route_goes_the_moment_its_server_ends(own_site: Site) -> None:
    """Long before the next poll: the port of an ended server is free for anybody on the machine."""
    with running_hub(own_site.config + "c.Spawner.poll_interval = 3600\n", external_proxy=True) as hub:
        hub.api("POST", "users/ada")
        for restarted in (False, True):
            assert start_server(hub, "ada")[-1].get("ready")
            if restarted:
                hub.kill9()
                hub.restart()
            os.kill(state_of(hub, "ada")["process"]["server_pid"], 9)
            limit = time.monotonic() + 10
            while hub.api("GET", "users/ada").json["servers"]:
                assert time.monotonic() < limit
                time.sleep(0.05)


@needs_root
def test_a_server_whose_port_another_user_has_is_ended(own_site: Site) -> None:
    """A server that closed its port still runs, yet nobody may be sent to whoever listens there now."""
    config = own_site.config.replace('"nbplatform-local"', '"tests.hub.doubles.ServesBriefly"')
    with running_hub(config + "c.Spawner.poll_interval = 1\n", extra_env=DOUBLES) as hub:
        hub.api("POST", "users/ada")
        assert start_server(hub, "ada")[-1].get("ready")
        state = state_of(hub, "ada")
        limit = time.monotonic() + 30
        while listens(state["port"]):
            assert time.monotonic() < limit
            time.sleep(0.1)
        with socket.create_server(("127.0.0.1", state["port"])):
            hub.wait_for_log("uid 0 has its port")
        assert ends(state["process"]["pid"])
