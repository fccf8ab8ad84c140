"""The body of a container's creation, whole, and each part of a plan in it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.hosts.admit import Placement
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.mounts import Mount
from nbplatform_spawners.plan import SpawnPlan
from nbplatform_spawners.render.docker import DockerView, container_config
from tests.local.plans import server_plan

SERVER = ("nbplatform-singleuser", "--debug")
TOKEN = "f00dfacef00dface"
ROOTS = ("/export", "/cvmfs", "/sps/")
VIEW = DockerView(
    hub_id="hub-a", gpu="cdi", network="nbplatform", port=8888, publish="192.0.2.11", pids=4096, roots=ROOTS
)
HOME = Mount("/export/alice", "/home/alice")
CVMFS = Mount("/cvmfs", "/cvmfs", read_only=True, propagation="rslave")
GPUS = ("GPU-0101", "GPU-0102")


def docker_plan(*mounts: Mount, gpus: tuple[str, ...] = (), **what: Any) -> SpawnPlan:
    """Return a plan of alice with an image."""
    plan = server_plan(SERVER, mounts, hidden=what.pop("hidden", ()), env=what.pop("env", None))
    placement = Placement("gpu01", "gpu", gpus)
    return replace(plan, **{"image": "nbplatform/base:1", "placement": placement, "gpus": len(gpus), **what})


def host_config(plan: SpawnPlan, view: DockerView = VIEW, **site: Any) -> dict[str, Any]:
    """Return ``HostConfig`` of a plan, with ``site`` as the site's own."""
    found: dict[str, Any] = container_config(plan, view, {"HostConfig": site})["HostConfig"]
    return found


def bind(source: str, target: str, read_only: bool = False, propagation: str = "rprivate") -> dict[str, Any]:
    """Return one mount in Docker's words."""
    options = {"Propagation": propagation}
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only, "BindOptions": options}


def test_the_whole_body_of_a_server_with_gpus() -> None:
    """Identity, mounts, limits, GPUs and labels of the plan, and everything else closed."""
    plan = docker_plan(
        HOME, CVMFS, gpus=GPUS, memory=2**30, cpu=1.5, env={"JUPYTERHUB_API_TOKEN": TOKEN, "SHELL": "/bin/zsh"}
    )
    assert container_config(plan, VIEW) == {
        "Image": "nbplatform/base:1",
        "Cmd": ["nbplatform-singleuser", "--debug"],
        "User": "61001:61000",
        "WorkingDir": "/home/alice",
        "Env": [
            "HOME=/home/alice",
            f"JUPYTERHUB_API_TOKEN={TOKEN}",
            "LOGNAME=alice",
            "NVIDIA_VISIBLE_DEVICES=GPU-0101,GPU-0102",
            "SHELL=/bin/zsh",
            "USER=alice",
        ],
        "Labels": {
            "nbplatform.hub": "hub-a",
            "nbplatform.user": "alice",
            "nbplatform.server": "",
            "nbplatform.profile": "cpu",
            "nbplatform.gpus": '["GPU-0101", "GPU-0102"]',
            "nbplatform.memory": "1073741824",
            "nbplatform.generation": "0",
        },
        "ExposedPorts": {"8888/tcp": {}},
        "AttachStderr": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Tty": False,
        "HostConfig": {
            "AutoRemove": False,
            "Binds": [],
            "CapAdd": [],
            "CapDrop": ["ALL"],
            "CpuPeriod": 100_000,
            "CpuQuota": 150_000,
            "DeviceCgroupRules": [],
            "DeviceRequests": [
                {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-0101", "nvidia.com/gpu=GPU-0102"]},
            ],
            "Devices": [],
            "GroupAdd": ["61100", "61200", "61300"],
            "Init": True,
            "IpcMode": "private",
            "Links": [],
            "LogConfig": {"Type": "json-file", "Config": {"max-file": "2", "max-size": "10m"}},
            "Memory": 2**30,
            "MemoryReservation": 0,
            "MemorySwap": 2**30,
            "Mounts": [
                bind("/cvmfs", "/cvmfs", read_only=True, propagation="rslave"),
                bind("/export/alice", "/home/alice"),
            ],
            "NanoCpus": 0,
            "NetworkMode": "nbplatform",
            "OomKillDisable": False,
            "PidMode": "",
            "PidsLimit": 4096,
            "PortBindings": {"8888/tcp": [{"HostIp": "192.0.2.11", "HostPort": ""}]},
            "Privileged": False,
            "PublishAllPorts": False,
            "ReadonlyRootfs": False,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "SecurityOpt": ["no-new-privileges:true"],
            "Tmpfs": {},
            "UTSMode": "",
            "UsernsMode": "",
            "VolumesFrom": [],
        },
    }


def test_the_token_stands_in_the_environment_alone() -> None:
    """Labels and arguments are shown to whoever may list containers or processes."""
    body = container_config(docker_plan(HOME, env={"JUPYTERHUB_API_TOKEN": TOKEN}), VIEW)
    assert TOKEN in str(body.pop("Env"))
    assert TOKEN not in json.dumps(body)


def test_the_same_plan_gives_the_same_body_and_no_part_of_an_earlier_one() -> None:
    """Start, stop, start: nothing is appended to what was given, and what a caller changes does not come back."""
    plan, site = docker_plan(HOME, CVMFS, hidden=("/cvmfs/x",)), {"HostConfig": {"Dns": ["192.0.2.1"]}}
    first = container_config(plan, VIEW, site)
    kept = json.dumps(first)
    first["HostConfig"]["Dns"].append("192.0.2.9")
    first["HostConfig"]["CapDrop"].clear()
    assert json.dumps(container_config(plan, VIEW, site)) == kept


def test_the_order_of_the_environment_does_not_matter() -> None:
    """Variables come in name order, so that two starts can be compared."""
    one, other = ({"B": "2", "A": "1"}, {"A": "1", "B": "2"})
    assert container_config(docker_plan(env=one), VIEW) == container_config(docker_plan(env=other), VIEW)


VALUES = {
    "braces": "{} {username} {{",
    "dollars": "$HOME ${PATH} $(id) `id`",
    "lines and control characters": "a\nb\r\tc\x01\x1b[0m",
    "an equals sign": "a=b=c",
    "empty": "",
    "far letters": "é\u2028\U0001f600",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_of_the_environment_is_given_as_it_is(value: str) -> None:
    """Nothing is filled in, escaped or cut: a program can be given any text without a NUL character."""
    assert f"ODD={value}" in container_config(docker_plan(env={"ODD": value}), VIEW)["Env"]


@pytest.mark.parametrize(("name", "value"), [("A", "s3cret\0"), ("A=B", "s3cret"), ("", "s3cret"), ("A\0", "s3cret")])
def test_what_no_program_can_be_given_is_refused(name: str, value: str) -> None:
    """``A=B`` would set ``A``; a NUL character would cut what follows.  The value is not shown."""
    with pytest.raises(Refusal, match="cannot be set") as caught:
        container_config(docker_plan(env={name: value}), VIEW)
    assert caught.value.reason == "rules"
    assert "s3cret" not in caught.value.message


def test_an_argument_with_a_nul_character_is_refused() -> None:
    """It would cut the argument."""
    with pytest.raises(Refusal, match="NUL"):
        container_config(docker_plan(command=("server", "a\0b")), VIEW)


def test_without_an_image_nothing_can_be_started() -> None:
    """The image comes from the rules, and from nowhere else."""
    with pytest.raises(Refusal, match="image") as caught:
        container_config(docker_plan(image=None), VIEW, {"Image": "mine"})
    assert caught.value.reason == "unplaceable"


def test_a_source_may_go_to_two_targets_and_a_target_may_lie_in_another() -> None:
    """Each target is a mount of its own, and parents come first."""
    both = [Mount("/sps/a", "/home/alice/a", read_only=True), Mount("/sps/a", "/data"), HOME]
    assert host_config(docker_plan(*both))["Mounts"] == [
        bind("/sps/a", "/data"),
        bind("/export/alice", "/home/alice"),
        bind("/sps/a", "/home/alice/a", read_only=True),
    ]


SOURCES = {
    "outside the roots": "/data/alice",
    "beside a root": "/exports/alice",
    "the parent of a root": "/",
    "upwards": "/export/../etc",
    "not in its shortest form": "/export//alice",
    "relative": "export/alice",
    "Docker's socket": "/var/run/docker.sock",
    "Docker's socket within a root": "/export/docker.sock",
    "a control character": "/export/a\nb",
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_that_no_root_holds_is_refused(source: str) -> None:
    """Whatever the rules say: who may start containers could otherwise mount any folder of the host."""
    with pytest.raises(Refusal, match="cannot be mounted") as caught:
        container_config(docker_plan(Mount(source, "/data")), VIEW)
    assert caught.value.reason == "storage"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("target", ["/", "/etc", "/etc/passwd", "/usr/bin", "/proc/sys", "/run", "/run/nbplatform/x"])
def test_a_target_that_is_a_part_of_the_system_is_refused(target: str) -> None:
    """As on every backend."""
    with pytest.raises(Refusal, match="part of the system"):
        container_config(docker_plan(Mount("/sps/a", target)), VIEW)


def masked(plan: SpawnPlan, **site: Any) -> list[str]:
    """Return what is masked beside what Docker masks itself."""
    return [path for path in host_config(plan, **site).get("MaskedPaths", ()) if not path.startswith(("/proc", "/sys"))]


HIDDEN = {
    "below a mount": ([Mount("/sps", "/sps")], ["/sps/euclid"], ["/sps/euclid"], []),
    "below nothing": ([HOME], ["/sps/euclid"], [], []),
    "the target of no mount": ([HOME], ["/home"], [], []),
    "below two mounts, twice": ([CVMFS, HOME], ["/cvmfs/x", "/home/alice/x", "/cvmfs/x"], None, []),
    "around another mount": (
        [Mount("/sps", "/sps"), Mount("/sps/e/pub", "/sps/e/pub")],
        ["/sps/e", "/sps/e/pub/old"],
        ["/sps/e/pub/old"],
        ["/sps/e"],
    ),
}


@pytest.mark.parametrize(("mounts", "hidden", "expected", "covered"), HIDDEN.values(), ids=HIDDEN)
def test_hidden_targets_are_masked(
    mounts: list[Mount], hidden: list[str], expected: list[str] | None, covered: list[str]
) -> None:
    """Masked where a mount shows them; one that has a mount in it gets an empty folder, since masks come last."""
    plan = docker_plan(*mounts, hidden=tuple(hidden))
    assert masked(plan) == (sorted(set(hidden)) if expected is None else expected)
    empty = [mount for mount in host_config(plan)["Mounts"] if mount["Type"] == "tmpfs"]
    assert empty == [
        {"Type": "tmpfs", "Target": target, "ReadOnly": True, "TmpfsOptions": {"Mode": 0o555}} for target in covered
    ]


def test_a_sites_volume_does_not_show_what_is_hidden() -> None:
    """The volume lies above the hidden folder."""
    plan = docker_plan(hidden=("/data/secret",))
    assert masked(plan, Binds=["shared:/data"]) == ["/data/secret"]


def test_a_list_of_masks_holds_all_that_docker_masks_by_itself() -> None:
    """It replaces Docker's own: these are of release 20.10 to 29."""
    found = host_config(docker_plan(HOME, hidden=("/home/alice/x",)))["MaskedPaths"]
    assert {"/proc/kcore", "/proc/keys", "/proc/interrupts", "/sys/firmware", "/proc/scsi", "/proc/acpi"} <= {*found}
    assert {"/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu0/thermal_throttle"} <= {*found}


def test_without_hidden_targets_docker_masks_by_its_own_list() -> None:
    """It knows best what its release needs."""
    assert "MaskedPaths" not in host_config(docker_plan(HOME))


WORKING = {
    "HOME by itself": ([HOME], "/home/alice"),
    "HOME in something wider": ([Mount("/export", "/home")], "/"),
    "no HOME": ([CVMFS], "/"),
    "nothing": ([], None),
}


@pytest.mark.parametrize(("mounts", "expected"), WORKING.values(), ids=WORKING)
def test_a_server_starts_where_no_folder_has_to_be_made(mounts: list[Mount], expected: str | None) -> None:
    """Docker would make a missing folder as root, in the storage that is mounted there."""
    assert container_config(docker_plan(*mounts), VIEW).get("WorkingDir") == expected


def test_the_toolkits_hook_gets_the_same_ids() -> None:
    """The device request names the GPUs, and so does the variable that the hook reads."""
    body = container_config(docker_plan(gpus=GPUS), replace(VIEW, gpu="nvidia"))
    asked = {"Driver": "nvidia", "DeviceIDs": ["GPU-0101", "GPU-0102"], "Capabilities": [["gpu"]]}
    assert body["HostConfig"]["DeviceRequests"] == [asked]
    assert "NVIDIA_VISIBLE_DEVICES=GPU-0101,GPU-0102" in body["Env"]


@pytest.mark.parametrize("gpu", ["cdi", "nvidia"])
def test_without_a_grant_there_is_no_gpu_whatever_image_rules_and_site_say(gpu: Any) -> None:
    """CUDA images set the variable to ``all``."""
    plan = docker_plan(env={"NVIDIA_VISIBLE_DEVICES": "all"})
    site = {"Env": ["NVIDIA_VISIBLE_DEVICES=all"], "HostConfig": {"DeviceRequests": [{"Count": -1}]}}
    body = container_config(plan, replace(VIEW, gpu=gpu), site)
    assert [one for one in body["Env"] if "NVIDIA" in one] == ["NVIDIA_VISIBLE_DEVICES=void"]
    assert body["HostConfig"]["DeviceRequests"] == []


@pytest.mark.parametrize("gpu", ["all", "ALL", "none", "void", "", "GPU-1,GPU-2", "GPU 1", "nvidia.com/gpu=all"])
def test_an_id_that_names_other_than_one_gpu_is_refused(gpu: str) -> None:
    """``all`` in the rules would give every GPU of the host to the first who asks for one."""
    with pytest.raises(Refusal, match="not the id of a GPU"):
        container_config(docker_plan(gpus=(gpu,)), VIEW)


def test_fewer_named_gpus_than_granted_are_a_mistake_of_ours() -> None:
    """A server that was granted a GPU never starts without it."""
    with pytest.raises(ValueError, match="2 GPUs and names 1"):
        container_config(replace(docker_plan(gpus=GPUS[:1]), gpus=2), VIEW)


GIB = 2**30
LIMITS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, int]]] = {
    "nothing": ({}, {}, {"Memory": 0, "MemorySwap": 0, "CpuQuota": 0, "CpuPeriod": 0, "PidsLimit": 4096}),
    "the plan's": (
        {"memory": GIB, "cpu": 0.5},
        {"Memory": 2 * GIB, "MemorySwap": -1, "NanoCpus": 10**9, "PidsLimit": 10**6},
        {"Memory": GIB, "MemorySwap": GIB, "CpuQuota": 50_000, "CpuPeriod": 100_000, "PidsLimit": 4096},
    ),
    "the site's where the plan has none": (
        {},
        {"Memory": GIB, "NanoCpus": 2 * 10**9, "PidsLimit": 100},
        {"Memory": GIB, "MemorySwap": GIB, "CpuQuota": 200_000, "CpuPeriod": 100_000, "NanoCpus": 0, "PidsLimit": 100},
    ),
    "the site's, as a part of a period": (
        {},
        {"CpuQuota": 5_000, "CpuPeriod": 10_000},
        {"CpuQuota": 5_000, "CpuPeriod": 10_000, "NanoCpus": 0},
    ),
    "the plan's CPUs, not the site's period": (
        {"cpu": 0.01},
        {"CpuQuota": 5_000, "CpuPeriod": 10_000},
        {"CpuQuota": 1_000, "CpuPeriod": 100_000},
    ),
    "more CPUs than a host has": ({"cpu": 512.0}, {}, {"CpuQuota": 51_200_000, "NanoCpus": 0}),
    "a reservation is never above the limit": (
        {"memory": GIB},
        {"MemoryReservation": 2 * GIB},
        {"Memory": GIB, "MemoryReservation": GIB},
    ),
    "no limit by a trick": ({"memory": GIB}, {"Memory": -1, "PidsLimit": -1}, {"Memory": GIB, "PidsLimit": 4096}),
}


@pytest.mark.parametrize(("planned", "site", "expected"), LIMITS.values(), ids=LIMITS)
def test_limits_are_the_plans_else_the_sites(
    planned: dict[str, Any], site: dict[str, Any], expected: dict[str, int]
) -> None:
    """Memory without swap; CPUs as time in a period; of processes the smaller number."""
    found = host_config(docker_plan(**planned), **site)
    assert {key: found[key] for key in expected} == expected


def test_certificates_get_a_folder_in_memory_that_is_the_users_alone() -> None:
    """With internal TLS; nothing of it lies on the host."""
    found = host_config(docker_plan(HOME), replace(VIEW, secrets_tmpfs=True), Tmpfs={"/run/nbplatform": "mode=0777"})
    options = "rw,nosuid,nodev,noexec,size=1m,mode=0700,uid=61001,gid=61000"
    assert found["Tmpfs"] == {"/run/nbplatform": options}


def test_a_port_that_is_not_published_is_exposed_only() -> None:
    """Where servers are reached on the network itself."""
    body = container_config(docker_plan(), replace(VIEW, publish="", port=9999))
    assert body["ExposedPorts"] == {"9999/tcp": {}}
    assert body["HostConfig"]["PortBindings"] == {}


def test_hostile_names_change_nothing_but_their_own_field() -> None:
    """A user, a server and a profile may have any name that the hub lets them have."""
    identity = Identity("a.b@c-d_e", 61002, 61000, {"physics": 61000}, "physics", home="/home/a b,c;d")
    plan = docker_plan(Mount("/export/{x}:ro,z", "/home/a b,c;d"), identity=identity)
    body = container_config(replace(plan, server='{0} "$x"\n', profile="{}"), VIEW)
    assert body["HostConfig"]["Mounts"] == [bind("/export/{x}:ro,z", "/home/a b,c;d")]
    assert body["Labels"]["nbplatform.server"] == '{0} "$x"\n'
    assert body["Labels"]["nbplatform.profile"] == "{}"
    assert body["WorkingDir"] == "/home/a b,c;d"
    assert body["HostConfig"]["GroupAdd"] == []
