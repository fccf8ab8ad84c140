"""The components themselves: they work, they clean up, and they do so when their owner is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import MissingComponent
from .browser import browser, screenshot
from .hub import Hub, HubDied, LoginRefused, run_cell, run_terminal, running_hub, start_server, stop_server
from .keeper import KeeperError, Kept, keeper, kept
from .need import need
from .proxy import proxy_command
from .servers import ServerTrouble

ROOT = Path(__file__).parents[2]
PASSWORD = "planted-password-7f3a"

STOCK = f"""
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{PASSWORD}"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = os.path.abspath("../home/{{username}}")
c.Spawner.args = ["--allow-root"]
c.Spawner.environment = {{"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}}
"""

FAMILY = """
(trap '' TERM; exec setsid sleep 7001) &
sleep 7002 &
trap '' TERM
echo started
while :; do sleep 0.1; done
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def session_of(pid: int) -> list[int]:
    """All processes whose parent is ``pid``, and those of their children."""
    found = [pid]
    for parent in found:
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(entry.read_text(errors="replace").rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.parent.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def eventually(holds: object, seconds: float = 30.0) -> bool:
    """Whether ``holds()`` becomes true in time."""
    assert callable(holds)
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def started(program: Kept) -> Kept:
    """The program once it has said so."""
    assert eventually(lambda: "started" in program.log_text())
    return program


@contextmanager
def owner(script: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A script that owns components and prints one line of words; the process and the words."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()
        finally:
            process.kill()


def nothing_left(words: list[str]) -> bool:
    """Whether each pid is gone and each folder removed."""
    return not any(alive(int(word)) if word.isdigit() else Path(word).exists() for word in words)


# ---- the keeper ----


def test_a_program_ends_with_its_block_and_so_do_its_daemons_and_its_folder() -> None:
    """Programs that ignore SIGTERM and those in a session of their own are no exception."""
    with keeper("test", grace=0.2) as one:
        program = started(one.start(["bash", "-c", FAMILY]))
        family = session_of(program.pid)
        assert len(family) >= 3
        assert one.folder.is_dir()
    assert not any(alive(pid) for pid in family)
    assert not one.folder.exists()


OWNER_OF_FAMILY = f"""
import os, time
from tests.components.keeper import keeper
with keeper("test", grace=0.2) as one:
    program = one.start(["bash", "-c", {FAMILY!r}])
    while "started" not in program.log_text():
        time.sleep(0.05)
    FORK
    print(program.pid, one.folder, flush=True)
    time.sleep(600)
"""
HOLDS_THE_PIPE = "if os.fork() == 0: os.close(1); time.sleep(10); os._exit(0)"


@pytest.mark.parametrize("fork", ["pass", HOLDS_THE_PIPE], ids=["alone", "with a forked process that holds the pipe"])
def test_nothing_is_left_when_the_owner_is_killed(fork: str) -> None:
    """kill -9 of the owner ends its programs, their descendants and their folder."""
    with owner(OWNER_OF_FAMILY.replace("FORK", fork)) as (process, (pid, folder)):
        family = session_of(int(pid))
        process.kill()
        assert eventually(lambda: nothing_left([*map(str, family), folder]))


def test_everything_ends_when_the_keeper_is_asked_to() -> None:
    """SIGTERM to the keeper itself cleans up as the owner's end does, and the owner is told."""
    with pytest.raises(KeeperError, match="gone"), keeper("test", grace=0.2) as one:  # noqa: PT012
        program = started(one.start(["bash", "-c", FAMILY]))
        family = session_of(program.pid)
        os.kill(int(Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGTERM)
        assert eventually(lambda: nothing_left([*map(str, family), str(one.folder)]))
        program.alive()


def test_what_a_killed_program_started_lives_on_until_the_block_ends() -> None:
    """kill9 ends one program alone: the servers of a killed hub are still there when it comes back."""
    with keeper("test", grace=0.2) as one:
        program = started(one.start(["bash", "-c", FAMILY]))
        family = session_of(program.pid)
        program.kill9()
        assert program.returncode == -signal.SIGKILL
        survivors = [pid for pid in family if alive(pid)]
        assert survivors
        assert program.pid not in survivors
    assert not any(alive(pid) for pid in survivors)


def test_a_program_tells_its_output_and_its_exit_code() -> None:
    """The log holds both streams; wait returns the code; a later signal is sent to nobody."""
    with kept(["bash", "-c", "echo out; echo err >&2; exit 7"]) as program:
        assert program.wait() == 7
        assert program.log_text() == "out\nerr\n"
        assert not program.alive()
        program.signal(signal.SIGTERM)
        assert program.stop() == 7


def test_the_environment_is_the_one_given_and_no_argument_of_the_keeper() -> None:
    """A program gets exactly the environment asked for; what is in it is not in any command line."""
    with kept(["/usr/bin/env"], env={"PLANTED": "secret-5b1d"}) as program:
        program.wait()
        assert program.log_text() == "PLANTED=secret-5b1d\n"
        assert not any(b"secret-5b1d" in path.read_bytes() for path in Path("/proc/self/task").glob("*/cmdline"))
        assert b"secret-5b1d" not in Path(f"/proc/{program._keeper._process.pid}/cmdline").read_bytes()


def test_folders_are_removed_though_they_are_read_only(tmp_path: Path) -> None:
    """A folder that was handed over goes, also when what it holds may not be written to."""
    folder = tmp_path / "given" / "sealed"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    folder.chmod(0o500)
    with kept(["true"], remove=[tmp_path / "given"]):
        pass
    assert not (tmp_path / "given").exists()


def test_what_is_mounted_below_a_removed_folder_keeps_its_files(tmp_path: Path) -> None:
    """Mounts are detached before a folder is removed."""
    source, folder = tmp_path / "precious", tmp_path / "given with blank"
    (folder / "mount").mkdir(parents=True)
    source.mkdir()
    (source / "file").write_text("x")
    mount = subprocess.run(["mount", "--bind", source, folder / "mount"], capture_output=True, text=True, check=False)
    if mount.returncode:
        pytest.skip(f"bind mounts are not allowed here: {mount.stderr.strip()}")
    with kept(["true"], remove=[folder]):
        pass
    assert not folder.exists()
    assert (source / "file").read_text() == "x"


@pytest.mark.parametrize("path", ["/", "/tmp", "relative/folder", "/usr/.."])
def test_only_what_can_be_a_temporary_folder_is_removed(path: str) -> None:
    """A slip in a test must not remove the machine."""
    with keeper("test") as one, pytest.raises(KeeperError, match="refused to remove"):
        one.remove(Path(path))


def test_a_program_that_is_not_there_is_named() -> None:
    """The error says which program, and why."""
    with keeper("test") as one, pytest.raises(KeeperError, match=r"cannot start /no/such/program: .*No such file"):
        one.start(["/no/such/program"])


# ---- the proxy ----


def test_the_proxy_is_installed_once_by_two_at_a_time(tmp_path: Path) -> None:
    """Two runs that begin together on a fresh machine do not disturb each other."""
    try:
        proxy_command()
    except MissingComponent as lacking:
        pytest.skip(str(lacking))
    commands: list[list[str]] = []
    threads = [threading.Thread(target=lambda: commands.append(proxy_command(tmp_path / "cache"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = commands
    assert first == second
    version = subprocess.run([*first, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("5.")
    assert not list((tmp_path / "cache").glob(".*"))


def test_without_a_network_the_proxy_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be installed is said in a sentence, and nothing half installed is left."""
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/")
    with pytest.raises(MissingComponent, match="could not be installed"):
        proxy_command(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


# ---- the hub ----


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub with JupyterHub's own authenticator and spawner, and its proxy beside it."""
    with need(running_hub(STOCK, external_proxy=True)) as one:
        yield one


def new_server(hub: Hub, user: str) -> int:
    """Make a user and start their server; its process id."""
    hub.api("POST", f"users/{user}")
    assert start_server(hub, user)[-1].get("ready") is True
    return server_pid(hub, user)


def server_pid(hub: Hub, user: str) -> int:
    """Process id of a user's server, asked from inside."""
    return int(run_cell(hub, user, "import os; print(os.getppid())"))


def test_a_user_logs_in_by_the_form(hub: Hub) -> None:
    """The right password leads to the home page, a wrong one to the form again; nobody sees the home page before."""
    with pytest.raises(LoginRefused) as refused:
        hub.login("anna", "wrong")
    assert refused.value.answer.status == 403
    assert "Invalid username or password" in refused.value.answer.text
    assert "/hub/login" in hub.visit().get("/hub/home").url
    assert "anna" in hub.login("anna", PASSWORD).page("/hub/home")


def test_a_server_runs_cells_and_commands_for_token_and_visitor(hub: Hub) -> None:
    """Start, cell, terminal and stop work over REST and WebSocket, shown a token or the visitor's cookies."""
    session = hub.login("bob", PASSWORD)
    assert start_server(hub, "bob")[-1].get("ready") is True
    for visitor in (None, session):
        assert run_cell(hub, "bob", "print('out'); 6 * 7", session=visitor) == "out\n42\n"
        assert "ZeroDivisionError" in run_cell(hub, "bob", "1 / 0", session=visitor)
        assert run_terminal(hub, "bob", "echo one\necho $((1 + 1))", session=visitor) == "one\n2\n"
    assert "syntax error" in run_terminal(hub, "bob", "echo (")
    stop_server(hub, "bob")
    with pytest.raises(ServerTrouble):
        run_cell(hub, "bob", "1")


def test_a_visitor_starts_and_stops_a_named_server_by_the_pages_own_requests(hub: Hub) -> None:
    """A page's script sends the token against forgery; a request without it is refused."""
    session = hub.login("carol", PASSWORD)
    assert session.script("POST", "/hub/api/users/carol/servers/second", json={}).status in (201, 202)
    assert start_server(hub, "carol", {}, "second")[-1].keys() >= {"failed", "status"}  # it is pending or runs
    session.get("/hub/logout")
    assert session.script("DELETE", "/hub/api/users/carol/servers/second").status == 403
    assert eventually(lambda: hub.api("GET", "users/carol").json["servers"]["second"]["ready"])
    stop_server(hub, "carol", "second")
    assert hub.api("GET", "users/carol").json["servers"] == {}


def test_a_server_survives_the_death_of_the_hub_and_of_the_proxy(hub: Hub) -> None:
    """After kill -9 of either the same server process is reached again."""
    before = new_server(hub, "dora")
    hub.kill9()
    assert not hub.process.alive()
    assert hub.proxy.alive()
    hub.restart()
    assert server_pid(hub, "dora") == before
    hub.proxy.kill9()
    assert not hub.proxy.alive()
    hub.restart_proxy()
    assert hub.api("POST", "proxy").status == 200
    assert server_pid(hub, "dora") == before


def test_the_component_speaks_as_an_administrator_and_strangers_do_not(hub: Hub) -> None:
    """The component's token may do what tests need; a wrong token may not."""
    assert hub.api("POST", "users/erik").status == 201
    assert "auth_state" in hub.api("GET", "users/erik").json
    assert hub.api("GET", "users", token="0" * 64).status == 403


def test_keys_are_in_no_command_line_and_no_server(hub: Hub) -> None:
    """The crypt key, the proxy's token and the component's token stay in the hub's environment."""
    server = new_server(hub, "fred")
    keys = [hub.token, hub._env["JUPYTERHUB_CRYPT_KEY"], hub._env["CONFIGPROXY_AUTH_TOKEN"]]
    seen = Path(f"/proc/{server}/environ").read_text()
    for pid in (hub.pid, hub.proxy.pid, server):
        seen += Path(f"/proc/{pid}/cmdline").read_text()
    assert not [key for key in keys if key in seen + hub.log_text()]


def test_a_hub_keeps_its_own_proxy_running() -> None:
    """Without external_proxy the hub starts the proxy, and another when that one is killed."""
    config = STOCK + "c.ConfigurableHTTPProxy.check_running_interval = 1\n"
    with need(running_hub(config)) as one:
        first = one.proxy.pid
        assert one.proxy.alive()
        one.proxy.kill9()
        assert eventually(lambda: one.proxy.alive() and has_another_pid(one, first))
        assert eventually(lambda: hub_answers(one))


def has_another_pid(hub: Hub, first: int) -> bool:
    """Whether the proxy has another pid; between two proxies there is no pid at all."""
    try:
        return hub.proxy.pid != first
    except OSError:
        return False


def hub_answers(hub: Hub) -> bool:
    """Whether the hub is reached through its proxy."""
    try:
        return hub.api("GET", "info").status == 200
    except OSError:
        return False


def test_a_hub_that_cannot_start_says_why() -> None:
    """A mistake in the configuration ends the wait at once, with the end of the log."""
    with pytest.raises(HubDied, match="no such spawner"), need(running_hub("raise SystemExit('no such spawner')")):
        pass


OWNER_OF_HUB = """
import os, time
from tests.components.hub import running_hub
from tests.components.test_components import STOCK, new_server
with running_hub(STOCK, external_proxy=EXTERNAL) as hub:
    print(hub.pid, hub.proxy.pid, new_server(hub, "anna"), hub.folder.parent, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("external", [True, False], ids=["proxy beside the hub", "proxy below the hub"])
def test_nothing_of_a_hub_is_left_when_its_owner_is_killed(external: bool) -> None:
    """kill -9 of the owner ends hub, proxy and notebook servers and removes their folder."""
    with owner(OWNER_OF_HUB.replace("EXTERNAL", str(external))) as (process, words):
        assert len(words) == 4
        assert all(alive(int(pid)) for pid in words[:3])
        process.kill()
        assert eventually(lambda: nothing_left(words))


# ---- the browser ----


def test_a_browser_logs_in_and_takes_a_picture(hub: Hub, tmp_path: Path) -> None:
    """A real Chromium fills in the login form and sees the home page."""
    from selenium.webdriver.common.by import By

    with need(browser()) as driver:
        driver.get(f"{hub.url}/hub/login?next=/hub/home")
        driver.find_element(By.NAME, "username").send_keys("greta")
        driver.find_element(By.NAME, "password").send_keys(PASSWORD)
        driver.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        assert eventually(lambda: driver.current_url.endswith("/hub/home"))
        assert "greta" in driver.find_element(By.TAG_NAME, "body").text
        assert screenshot(driver, tmp_path / "new" / "home.png").read_bytes().startswith(b"\x89PNG")


OWNER_OF_BROWSER = """
import os, time
from tests.components.browser import browser
with browser() as driver:
    print(driver.capabilities["chrome"]["userDataDir"], flush=True)
    time.sleep(600)
"""


def test_nothing_of_a_browser_is_left_when_its_owner_is_killed() -> None:
    """kill -9 of the owner ends Chromium and its driver and removes the profile."""
    with need(browser()):
        pass
    with owner(OWNER_OF_BROWSER) as (process, (profile,)):
        family = session_of(process.pid)[1:]
        assert len(family) >= 3
        process.kill()
        assert eventually(lambda: nothing_left([*map(str, family), str(Path(profile).parent)]))


@pytest.mark.parametrize(
    ("there", "package"), [([], "apt install chromium$"), (["chromium"], "apt install chromium-driver$")]
)
def test_a_missing_browser_is_named_with_its_package(
    there: list[str], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says what to install."""
    for name in there:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingComponent, match=package), browser():
        pass


def test_a_test_that_needs_what_is_missing_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """``need`` turns what a component says at its start, and only that, into a skip."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(pytest.skip.Exception, match="there is no chromium"), need(browser()):
        pass
    with pytest.raises(MissingComponent), need(kept(["/bin/true"])):
        raise MissingComponent("later")
