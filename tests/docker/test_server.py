"""What a server on a real Docker host is: seen from inside, from the host and by ``docker inspect``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.docker_host import DockerHost
from tests.components.hub import Hub, start_server, stop_server
from tests.components.images import load
from tests.components.need import need
from tests.docker.fleet_site import RULES, FleetSite, fleet_hub, make_fleet_site

HOSTS = {"debian": Settings(), "modern": Settings("modern"), "strict": Settings("modern", min_api="1.44")}
ON_A_HOST = "".join(
    f'  {name}: {{title: "{name}", pool: cpu, hosts: [{name}], image: "IMAGE", allow: true}}\n' for name in HOSTS
)
OWN_RULES = RULES.replace("quota: {servers: 2", "quota: {servers: 9").replace("rules:\n", f"{ON_A_HOST}rules:\n")
SITE_SETTINGS = """
c.DockerSpawner.extra_host_config = {
    "privileged": True, "cap_add": ["SYS_ADMIN"], "security_opt": ["seccomp=unconfined"], "pid_mode": "host",
    "group_add": ["0"], "devices": ["/dev/kmsg"], "shm_size": "128m", "userns_mode": "host",
}
c.DockerSpawner.extra_create_kwargs = {"user": "root", "labels": {"site": "{username} {}", "nbplatform.gpus": "[]"}}
c.DockerSpawner.volumes = {
    "/etc": "/mnt/etc", "/var/run/docker.sock": "/mnt/docker.sock", "scratch-{username}": "/mnt/scratch",
}
c.DockerSpawner.image = "somebody/else:1"
c.DockerSpawner.allowed_images = "*"
c.DockerSpawner.remove = False
"""


@pytest.fixture(scope="module")
def site() -> Iterator[FleetSite]:
    """One host of each kind: Debian's 20.10, a 29.8, and a 29.8 that refuses what 29.0 to 29.2 refuse."""
    with need(docker_fleet(HOSTS)) as fleet:
        for host in fleet.values():
            load(host, "tiny")
        found = make_fleet_site(fleet, {"cpu": tuple(HOSTS)})
        found.write_rules(OWN_RULES)
        for host in fleet.values():
            host.share(found.top / "cvmfs")
        yield found


@pytest.fixture(scope="module")
def hub(site: FleetSite) -> Iterator[Hub]:
    """A hub whose site tries to loosen everything by dockerspawner's own settings."""
    with need(fleet_hub(site, SITE_SETTINGS)) as one:
        yield one


class Server:
    """A running server's container.

    Attributes:
        host: where it is.
        state: as the hub keeps it.
        inspected: what ``docker inspect`` says of it.
    """

    def __init__(self, site: FleetSite, hub: Hub, user: str, name: str = "") -> None:
        self.state = hub.api("GET", f"users/{user}").json["servers"][name]["state"]
        self.host: DockerHost = site.fleet[self.state["host"]]
        self.inspected: dict[str, Any] = self.host.client().inspect_container(self.state["object_id"])

    def run(self, command: str) -> str:
        """Run a command line inside, as the server's own user; returns what it wrote."""
        return self.host.cli("exec", self.inspected["Id"], "sh", "-c", f"{command} 2>&1; true")

    def main_process(self, field: str) -> str:
        """Return a field of /proc/PID/status of the server itself, which is the child of docker's init."""
        found = self.run(f"grep -h '^{field}:' /proc/*/status /proc/1/status | tail -1")
        return found.partition(":")[2].strip()


@pytest.fixture(scope="module", params=list(HOSTS))
def ada(request: pytest.FixtureRequest, site: FleetSite, hub: Hub) -> Server:
    """Ada's server on one host of each kind."""
    name = request.param
    events = start_server(hub, "ada", {"profile": name}, name)
    assert events[-1].get("ready"), events
    return Server(site, hub, "ada", name)


def test_it_runs_as_its_user(ada: Server) -> None:
    """uid, gid and every group; names resolve; the image's own accounts stay."""
    assert ada.run("id").strip() == "uid=62101(ada) gid=61000(users) groups=61000(users),61100(atlas)"
    assert ada.run("whoami").strip() == "ada"
    assert ada.run("stat -c %U:%G /").strip() == "root:root"
    assert ada.main_process("Uid") == "62101\t62101\t62101\t62101"
    assert ada.main_process("Gid") == "61000\t61000\t61000\t61000"
    assert ada.run("ls -ln /etc/passwd /etc/group | cut -c1-10").split() == ["-rw-r--r--"] * 2
    assert ada.run("echo $HOME $USER $LOGNAME; pwd").split() == ["/home/ada", "ada", "ada", "/home/ada"]


def test_its_files_belong_to_its_user_on_the_host(ada: Server, site: FleetSite) -> None:
    """In HOME and in group storage, as the host itself sees it; the server has the umask that every login has."""
    name = ada.host.name
    assert ada.main_process("Umask") == "0022"
    ada.run(f"touch $HOME/of-{name} /sps/atlas/of-{name}; echo hers > $HOME/written")
    home, shared = site.top / "home" / "ada" / f"of-{name}", site.top / "sps" / "atlas" / f"of-{name}"
    assert [(path.stat().st_uid, path.stat().st_gid) for path in (home, shared)] == [(62101, 61000), (62101, 61100)]
    seen = ada.host.run_on_host("stat", "-c", "%u:%g", str(home))
    assert seen.strip() == "62101:61000"


def test_what_the_rules_do_not_mount_is_not_there(ada: Server, site: FleetSite) -> None:
    """Other homes and groups are absent, what is read-only is, the optional source that is missing was left out."""
    assert ada.run("ls /home /sps").split() == ["/home:", "ada", "/sps:", "atlas"]
    assert "Read-only file system" in ada.run("touch /cvmfs/x")
    assert "No such file" in ada.run("ls -d /scratch")
    assert not (site.top / "scratch").exists()
    assert ada.run("ls -A /mnt").split() == ["scratch"]
    assert {mount["Type"] for mount in ada.inspected["Mounts"]} == {"bind", "volume"}


def test_cvmfs_that_is_mounted_later_appears(ada: Server, site: FleetSite) -> None:
    """``rslave``: a repository mounted on the host after the server's start is visible, its absence, too."""
    repository = site.top / "cvmfs" / f"repo-{ada.host.name}"
    repository.mkdir(exist_ok=True)
    ada.host.run_on_host("mount", "-t", "tmpfs", "none", str(repository))
    ada.host.run_on_host("touch", str(repository / "software"))
    assert ada.run(f"ls /cvmfs/{repository.name}").split() == ["software"]
    ada.host.run_on_host("umount", str(repository))
    assert ada.run(f"ls /cvmfs/{repository.name}").split() == []


def test_it_is_closed(ada: Server) -> None:
    """No capability, no new privileges, limits, seccomp, init, whatever the site's dockerspawner settings say."""
    assert {ada.main_process(f"Cap{kind}") for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert ada.main_process("NoNewPrivs") == "1"
    assert ada.main_process("Seccomp") == "2"
    config = ada.inspected["HostConfig"]
    assert config["Privileged"] is False
    assert config["CapDrop"] == ["ALL"]
    assert not config["CapAdd"]
    assert config["PidMode"] == config["UsernsMode"] == ""
    assert config["GroupAdd"] == ["61100"]
    assert not config["Devices"]
    assert config["Memory"] == config["MemorySwap"] == 256 * 2**20
    assert (config["CpuQuota"], config["CpuPeriod"]) == (100_000, 100_000)
    assert (config["PidsLimit"], config["Init"]) == (4096, True)
    assert config["SecurityOpt"] == ["no-new-privileges:true"]
    assert config["ShmSize"] == 128 * 2**20  # what loosens nothing holds
    assert ada.inspected["Config"]["User"] == "62101:61000"
    assert ada.inspected["Config"]["Image"] == "nbplatform/tiny:test"
    assert "docker.sock" not in json.dumps(ada.inspected["Mounts"])
    assert ada.run("cat /proc/1/comm").strip() in ("docker-init", "tini")


def test_labels_tell_what_it_holds_and_no_secret(ada: Server, hub: Hub) -> None:
    """The ledger is read from labels; tokens are in the environment alone, which only the host's root can see."""
    config = ada.inspected["Config"]
    labels = {key: value for key, value in config["Labels"].items() if key.startswith("nbplatform.")}
    assert labels.pop("nbplatform.generation") == ada.state["generation"]
    assert labels == {
        "nbplatform.hub": "test-hub",
        "nbplatform.user": "ada",
        "nbplatform.server": ada.host.name,
        "nbplatform.profile": ada.host.name,
        "nbplatform.gpus": "[]",
        "nbplatform.memory": str(256 * 2**20),
    }
    assert config["Labels"]["site"] == "{username} {}"
    env = dict(line.split("=", 1) for line in config["Env"])
    token = env["JUPYTERHUB_API_TOKEN"]
    rest = {**ada.inspected, "Config": {**config, "Env": []}}
    assert token not in json.dumps(rest)
    assert token not in hub.log_text()
    assert token not in json.dumps(ada.state)
    assert env["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert env["JUPYTERHUB_DISABLE_USER_CONFIG"] == "1"


def test_servers_of_two_users_do_not_meet_on_their_network(ada: Server, site: FleetSite, hub: Hub) -> None:
    """They are on one bridge and still do not reach each other's ports, though each reaches its own.

    What is published is published: for other servers as for everybody who reaches the host.
    """
    start_server(hub, "ben", {"profile": ada.host.name}, ada.host.name)
    ben = Server(site, hub, "ben", ada.host.name)
    address = ben.inspected["NetworkSettings"]["Networks"]["nbplatform"]["IPAddress"]
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address} 8888; echo rc=$?"
    assert "200 OK" in ben.run(ask)  # it answers itself
    assert ada.run(ask).split() == ["rc=1"]
    published = ask.replace(f"{address} 8888", f"{ben.state['docker']['ip']} {ben.state['docker']['port']}")
    assert "200 OK" in ada.run(published)
    options = ada.host.client().inspect_network("nbplatform")["Options"]
    assert options["com.docker.network.bridge.enable_icc"] == "false"
    stop_server(hub, "ben", ada.host.name)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        pytest.param({"profile": "cpu", "image": "evil/image:1"}, 400, id="an image beside a profile"),
        pytest.param({"image": "evil/image:1"}, 400, id="an image alone"),
        pytest.param({"profile": "cpu", "volumes": {"/": "/host"}}, 400, id="volumes"),
        pytest.param({"profile": "cpu", "extra_host_config": {"privileged": True}}, 400, id="a host configuration"),
        pytest.param({"profile": "outside"}, 503, id="a source outside the roots"),
        pytest.param({"profile": "lost"}, 503, id="a source that is not there"),
    ],
)
def test_a_request_past_the_form_changes_nothing(site: FleetSite, hub: Hub, options: object, status: int) -> None:
    """Over REST as in the form: the image and all else come from the rules; what cannot be is refused with a reason."""
    events = start_server(hub, "eve", options)
    assert events[-1].get("failed"), events
    if "status" in events[-1]:
        assert events[-1]["status"] == status, events
    for host in site.fleet.values():
        assert "test-hub-eve" not in host.cli("ps", "-a")


def test_start_stop_start_gives_the_same_container(site: FleetSite, hub: Hub) -> None:
    """Nothing is added from start to start, nothing is left of the one before."""
    bodies = []
    for _ in range(2):
        assert start_server(hub, "eve", {"profile": "debian"})[-1].get("ready")
        eve = Server(site, hub, "eve")
        names = sorted(line.split("=")[0] for line in eve.inspected["Config"]["Env"])
        config = {**eve.inspected["Config"], "Env": names}
        config.pop("Hostname")
        bodies.append((config, eve.inspected["HostConfig"]))
        stop_server(hub, "eve")
        assert "test-hub-eve" not in eve.host.cli("ps", "-a")
    assert bodies[0] == bodies[1]


def test_foreign_containers_keep_their_names(site: FleetSite, hub: Hub) -> None:
    """A container of somebody else with the name that ours would have is not touched; the user is told."""
    host = site.fleet["debian"]
    foreign = host.cli("create", "--name", "test-hub-eve", "nbplatform/tiny:test").strip()
    try:
        failed = start_server(hub, "eve", {"profile": "debian"})[-1]
        assert failed.get("failed"), failed
        assert "test-hub-eve" in failed["message"]
        assert foreign.startswith(host.client().inspect_container("test-hub-eve")["Id"][:12])
    finally:
        host.cli("rm", "-f", foreign)


def test_ignored_settings_are_named_once(hub: Hub, ada: Server) -> None:
    """A site that comes from dockerspawner learns which of its settings have no effect."""
    text = hub.log_text()
    for name in ("CapAdd", "Privileged", "PidMode", "Devices"):
        assert len(re.findall(rf"c\.DockerSpawner: .*{name}.* has no effect", text)) == 1, name
