"""What of a site's own Docker configuration holds underneath the plan."""

import copy
import json
from typing import Any

import pytest
from docker.types import LogConfig
from docker.types import Mount as DockerMount
from hypothesis import given, settings
from hypothesis import strategies as st

from nbplatform_spawners.mounts import Mount
from nbplatform_spawners.render.docker import container_config
from nbplatform_spawners.render.docker_site import site_config, under_plan
from nbplatform_spawners.render.targets import is_within
from tests.unit.test_render_docker import GPUS, HOME, VIEW, docker_plan

RATE = [{"Path": "/dev/sda", "Rate": 1000}]
KEPT = {
    "BlkioDeviceReadBps": RATE,
    "BlkioDeviceReadIOps": RATE,
    "BlkioDeviceWriteBps": RATE,
    "BlkioDeviceWriteIOps": RATE,
    "BlkioWeight": 300,
    "BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 400}],
    "CgroupParent": "notebooks.slice",
    "CpuPeriod": 50_000,
    "CpuQuota": 25_000,
    "CpuShares": 512,
    "CpusetCpus": "0-3",
    "CpusetMems": "0",
    "Dns": ["192.0.2.53"],
    "DnsOptions": ["ndots:2"],
    "DnsSearch": ["example.org"],
    "ExtraHosts": ["hub:192.0.2.1"],
    "LogConfig": {"Type": "syslog", "Config": {"syslog-address": "udp://192.0.2.2:514", "tag": "{{.Name}}/{{.ID}}"}},
    "Memory": 2**30,
    "MemoryReservation": 2**29,
    "NanoCpus": 10**9,
    "OomScoreAdj": 500,
    "PidsLimit": 100,
    "SecurityOpt": ["apparmor=notebooks", "label=type:notebook.process"],
    "ShmSize": 2**30,
    "StorageOpt": {"size": "20G"},
    "Sysctls": {"net.ipv4.tcp_keepalive_time": "600", "kernel.shmmax": "1000000", "fs.mqueue.msg_max": "20"},
    "Tmpfs": {"/tmp": "size=1g", "/run": ""},
    "Ulimits": [{"Name": "nofile", "Soft": 4096, "Hard": 8192}, {"Name": "memlock", "Soft": -1, "Hard": -1}],
}
CREATE = {
    "Domainname": "example.org",
    "Env": ["LANG=C.UTF-8", "NVIDIA_DRIVER_CAPABILITIES=all"],
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**10, "Retries": 3},
    "Hostname": "notebook",
    "Labels": {"org.example.team": "hub"},
    "StopSignal": "SIGINT",
    "StopTimeout": 30,
}
LIMITS = ("Memory", "MemoryReservation", "NanoCpus", "CpuQuota", "CpuPeriod", "PidsLimit")


@pytest.mark.parametrize("key", KEPT)
def test_a_setting_of_the_list_is_kept_whole(key: str) -> None:
    """None of these can loosen what plan and platform set; limits hold where the plan has none."""
    assert site_config({}, {key: KEPT[key]}) == ({"HostConfig": {key: KEPT[key]}}, ())


@pytest.mark.parametrize("key", CREATE)
def test_a_setting_beside_the_host_configuration_is_kept_whole(key: str) -> None:
    """The same for the rest of the body."""
    assert site_config({key: CREATE[key]}, {}) == ({key: CREATE[key], "HostConfig": {}}, ())


def test_what_is_kept_reaches_the_container() -> None:
    """Each setting that the plan does not make itself stands in the body as the site wrote it."""
    body = container_config(docker_plan(HOME), VIEW, {**CREATE, "HostConfig": KEPT})
    others = {key: value for key, value in KEPT.items() if key not in (*LIMITS, "SecurityOpt")}
    assert {key: body["HostConfig"][key] for key in others} == others
    assert body["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true", *KEPT["SecurityOpt"]]
    assert {*CREATE["Env"]} <= {*body["Env"]}
    assert body["Labels"]["org.example.team"] == "hub"
    alone = {key: value for key, value in CREATE.items() if key not in ("Env", "Labels")}
    assert {key: body[key] for key in alone} == alone


IGNORED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "more rights": (
        {},
        {
            "Privileged": True,
            "CapAdd": ["SYS_ADMIN"],
            "Devices": [{"PathOnHost": "/dev/sda"}],
            "DeviceRequests": [{"Count": -1}],
            "DeviceCgroupRules": ["a *:* rwm"],
            "GroupAdd": ["0"],
            "PidMode": "host",
            "IpcMode": "host",
            "UTSMode": "host",
            "UsernsMode": "host",
            "CgroupnsMode": "host",
            "NetworkMode": "host",
            "PublishAllPorts": True,
            "PortBindings": {"1/tcp": [{}]},
            "Links": ["a:b"],
            "MaskedPaths": ["/x"],
            "ReadonlyPaths": ["/x"],
            "Runtime": "nvidia",
            "Annotations": {"a": "b"},
            "VolumesFrom": ["other"],
            "VolumeDriver": "evil",
            "OomKillDisable": True,
            "MemorySwap": -1,
            "AutoRemove": True,
            "ReadonlyRootfs": True,
            "RestartPolicy": {"Name": "always"},
            "Unknown": 1,
        },
    ),
    "who, what and where": (
        {
            "Image": "mine",
            "User": "0",
            "Cmd": ["sh"],
            "Entrypoint": ["sh"],
            "WorkingDir": "/",
            "Tty": True,
            "Volumes": {"/data": {}},
            "MacAddress": "x",
            "ExposedPorts": {"1/tcp": {}},
            "HostConfig": {"a": 1},
            "NetworkingConfig": {"EndpointsConfig": {"other": {}}},
        },
        {},
    ),
    "values of another kind": (
        {"Hostname": 1, "StopTimeout": "x", "Healthcheck": "x", "Labels": ["x"], "Env": "A=B"},
        {"OomScoreAdj": -5, "PidsLimit": -1, "CpuShares": True, "Dns": "1.1.1.1", "Ulimits": [{"Name": "nofile"}]},
    ),
}


@pytest.mark.parametrize(("create", "host"), IGNORED.values(), ids=IGNORED)
def test_everything_else_is_ignored_and_named(create: dict[str, Any], host: dict[str, Any]) -> None:
    """An allow list: a key that nobody has thought of loosens nothing."""
    kept, ignored = site_config(create, host)
    assert kept == {"HostConfig": {}}
    assert ignored == tuple(sorted([*create, *(f"HostConfig.{key}" for key in host)]))


PARTLY: dict[str, tuple[str, Any, Any]] = {
    "confined by nothing": ("SecurityOpt", ["apparmor=unconfined", "apparmor=ok"], ["apparmor=ok"]),
    "no seccomp": ("SecurityOpt", ["seccomp=unconfined", "seccomp={}", "systempaths=unconfined"], None),
    "SELinux off": ("SecurityOpt", ["label=disable", "label=type:spc_t", "label=level:s0", "label:disable"], None),
    "privileges again": ("SecurityOpt", ["no-new-privileges:false", "no-new-privileges=0"], None),
    "the host's kernel": ("Sysctls", {"kernel.core_pattern": "|/x", "net.a": "1"}, {"net.a": "1"}),
    "the token in the log": (
        "LogConfig",
        {"Type": "gelf", "Config": {"env": "JUPYTERHUB_API_TOKEN", "env-regex": ".*", "tag": "{{.ContainerEnv}}"}},
        {"Type": "gelf", "Config": {}},
    ),
    "the token in the log by a template of all": (
        "LogConfig",
        {"Type": "gelf", "Config": {"tag": "{{.}}", "b": "{{ .ContainerEnv }}", "c": "{{.ID}}{{range .ContainerEnv}}"}},
        {"Type": "gelf", "Config": {}},
    ),
    "folders in memory over the system": ("Tmpfs", {"/etc": "", "/run/nbplatform": "", "x": "", "/t/": ""}, None),
}


@pytest.mark.parametrize(("key", "value", "expected"), PARTLY.values(), ids=PARTLY)
def test_what_is_left_of_a_setting_is_kept_and_the_setting_named(key: str, value: Any, expected: Any) -> None:
    """A part that would loosen something is left out."""
    kept, ignored = site_config({}, {key: value})
    assert kept["HostConfig"].get(key) == expected
    assert ignored == (f"HostConfig.{key}",)


SILENT: dict[str, Any] = {
    "nothing said": {"Privileged": False, "CapAdd": None, "Binds": [], "Memory": 0, "Runtime": "", "Devices": ()},
    "the same": {"CapDrop": ["NET_RAW"], "IpcMode": "private", "Init": True, "RestartPolicy": {"Name": "no"}},
    "docker-py's own default": {"NetworkMode": "default"},
    "said otherwise": {"SecurityOpt": ["no-new-privileges"]},
}


@pytest.mark.parametrize("host", SILENT.values(), ids=SILENT)
def test_what_says_nothing_else_than_what_holds_is_not_named(host: dict[str, Any]) -> None:
    """A warning about it would be noise."""
    assert site_config({}, host) == ({"HostConfig": {}}, ())


VARIABLES = ["JUPYTERHUB_API_TOKEN=x", "JPY_USER=x", "NVIDIA_VISIBLE_DEVICES=all", "AMD_VISIBLE_DEVICES=all", "X", "=x"]


@pytest.mark.parametrize("variable", [*VARIABLES, "A B=x", "NVIDIA_MIG_CONFIG_DEVICES=all", "A=\0"])
def test_a_variable_of_the_hub_or_of_devices_is_not_the_sites(variable: str) -> None:
    """Those come from the hub and from the ledger."""
    assert site_config({"Env": [variable, "GOOD=1"]}, {}) == ({"Env": ["GOOD=1"], "HostConfig": {}}, ("Env",))


def test_the_plans_variables_and_the_platforms_labels_win() -> None:
    """What the site sets holds underneath."""
    site = {"Env": ["LANG=C", "HOME=/x", "A=site"], "Labels": {"nbplatform.user": "eve", "a": "b"}}
    body = container_config(docker_plan(env={"A": "plan"}), VIEW, site)
    assert {"LANG=C", "HOME=/home/alice", "A=plan"} <= {*body["Env"]}
    assert len(body["Env"]) == len({entry.partition("=")[0] for entry in body["Env"]})
    assert body["Labels"]["nbplatform.user"] == "alice"
    assert body["Labels"]["a"] == "b"


def volume(name: str, target: str, read_only: bool = False, no_copy: bool = False) -> dict[str, Any]:
    """Return the mount of a named volume."""
    options = {"NoCopy": no_copy}
    return {"Type": "volume", "Source": name, "Target": target, "ReadOnly": read_only, "VolumeOptions": options}


VOLUMES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[str]]] = {
    "a named volume": ({"Binds": ["work:/work"]}, [volume("work", "/work")], []),
    "with options": ({"Binds": ["w1:/w:ro,nocopy"]}, [volume("w1", "/w", read_only=True, no_copy=True)], []),
    "a folder of the host": ({"Binds": ["/etc:/x", "w1:/w"]}, [volume("w1", "/w")], ["Binds"]),
    "a relative folder": ({"Binds": ["../etc:/x", "~/x:/x", ".:/x"]}, [], ["Binds"]),
    "shared with the host": ({"Binds": ["w1:/w:rshared"]}, [], ["Binds"]),
    "no target": ({"Binds": ["w1", "w1:", "w1:w", "a:b:c:d", 7]}, [], ["Binds"]),
    "a mount of docker-py": (
        {"Mounts": [DockerMount("/w", "w1", no_copy=True)]},
        [volume("w1", "/w", False, True)],
        [],
    ),
    "a bind mount": ({"Mounts": [DockerMount("/w", "/etc", type="bind")]}, [], ["Mounts"]),
    "a driver whose options name a folder of the host": (
        {
            "Mounts": [
                {**volume("w1", "/w"), "VolumeOptions": {"DriverConfig": {"Options": {"device": "/", "o": "bind"}}}}
            ]
        },
        [],
        ["Mounts"],
    ),
    "a folder in memory": (
        {"Mounts": [{"Type": "tmpfs", "Target": "/s", "TmpfsOptions": {"SizeBytes": 9, "Options": [["exec"]]}}]},
        [{"Type": "tmpfs", "Target": "/s", "ReadOnly": False, "TmpfsOptions": {"SizeBytes": 9}}],
        [],
    ),
    "over the system": ({"Binds": ["w1:/usr/bin", "w1:/", "w1:/etc/passwd", "w1:/proc"]}, [], ["Binds"]),
    "over the platform's own folder": ({"Binds": ["w1:/run/nbplatform"]}, [], ["Binds"]),
    "two on one target": (
        {"Mounts": [volume("w1", "/w")], "Binds": ["w2:/w"]},
        [volume("w1", "/w")],
        ["Binds"],
    ),
}


@pytest.mark.parametrize(("host", "expected", "ignored"), VOLUMES.values(), ids=VOLUMES)
def test_named_volumes_hold_and_folders_of_the_host_do_not(
    host: dict[str, Any], expected: list[dict[str, Any]], ignored: list[str]
) -> None:
    """Folders of the host come from the rules alone, where they are checked."""
    kept, named = site_config({}, host)
    assert kept["HostConfig"].get("Mounts", []) == expected
    assert named == tuple(f"HostConfig.{key}" for key in ignored)


def test_the_volumes_that_docker_py_names_beside_the_binds_are_not_named_twice() -> None:
    """It lists the target of each bind a second time."""
    assert site_config({"Volumes": {"/work": {}}}, {"Binds": ["work:/work"]})[1] == ()


def test_nothing_of_the_site_lies_on_or_in_what_the_plan_mounts_or_hides() -> None:
    """Above it and beside it is fine; what is replaced is named."""
    binds = ["w1:/home", "w1:/home/alice", "w1:/home/alice/.cache", "w1:/sps/x", "w1:/other", "w1:/hide/me/too"]
    kept, _ = site_config({}, {"Binds": binds, "Tmpfs": {"/sps": "", "/scratch": "", "/other": ""}})
    plan = docker_plan(HOME, Mount("/sps", "/sps"), hidden=("/hide/me",))
    found, replaced = under_plan(plan, kept)
    assert found["HostConfig"] == {"Mounts": [volume("w1", "/home"), volume("w1", "/other")], "Tmpfs": {"/scratch": ""}}
    assert sorted(replaced) == [
        "HostConfig.Mounts /hide/me/too",
        "HostConfig.Mounts /home/alice",
        "HostConfig.Mounts /home/alice/.cache",
        "HostConfig.Mounts /sps/x",
        "HostConfig.Tmpfs /sps",
    ]


def test_docker_pys_own_values_are_plain_afterwards() -> None:
    """Its types are dictionaries that JSON can say, and what is kept is a copy of them."""
    given_host = {"LogConfig": LogConfig(type="json-file", config={"max-size": "1m"})}
    kept, ignored = site_config({}, given_host)
    assert kept["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    assert ignored == ()
    assert type(kept["HostConfig"]["LogConfig"]) is dict


SEALED = (
    *("AutoRemove", "Binds", "CapAdd", "CapDrop", "CpuPeriod", "CpuQuota", "DeviceCgroupRules", "DeviceRequests"),
    *("Devices", "GroupAdd", "Init", "IpcMode", "Links", "Memory", "MemorySwap", "NanoCpus", "NetworkMode"),
    *("OomKillDisable", "PidMode", "PortBindings", "Privileged", "PublishAllPorts", "ReadonlyRootfs", "RestartPolicy"),
    *("UTSMode", "UsernsMode", "VolumesFrom", "MaskedPaths"),
)
ABSENT = (
    *("Annotations", "CgroupnsMode", "Isolation", "ReadonlyPaths", "Runtime", "Umask", "VolumeDriver"),
    *("CpuRealtimeRuntime", "KernelMemory", "MemorySwappiness", "ContainerIDFile"),
)
SEALED_BODY = ("Image", "Cmd", "User", "WorkingDir", "ExposedPorts", "OpenStdin", "Tty", "AttachStdin")
ABSENT_BODY = ("Entrypoint", "Volumes", "NetworkingConfig", "MacAddress", "NetworkDisabled", "Shell", "OnBuild")
WORDS = st.sampled_from(
    [
        *("", "host", "unconfined", "apparmor=unconfined", "seccomp=unconfined", "no-new-privileges=false", "a", "vol"),
        *("/", "/etc", "/home/alice", "/run/nbplatform", "/cvmfs/x", "/data", "vol:/home/alice", "/etc:/data", "v1:/d"),
        *("NVIDIA_VISIBLE_DEVICES=all", "HOME=/x", "JUPYTERHUB_API_TOKEN=x", "nbplatform.user", "volume", "bind"),
        *("Type", "Source", "Target", "Name", "Config", "json-file", "label=disable", "container:x", "A=\0"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | WORDS | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
MOUNTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "Type": st.sampled_from(["volume", "bind", "tmpfs", "image"]),
            "Source": WORDS,
            "Target": WORDS,
            "VolumeOptions": VALUES,
            "TmpfsOptions": VALUES,
            "ReadOnly": VALUES,
        },
    ),
    max_size=3,
)
HOSTS = st.dictionaries(st.sampled_from([*KEPT, *SEALED, *ABSENT, "SecurityOpt"]), VALUES, max_size=8)
BODIES = st.dictionaries(st.sampled_from([*CREATE, *SEALED_BODY, *ABSENT_BODY]), VALUES, max_size=5)
PLAN = docker_plan(
    HOME, Mount("/cvmfs", "/cvmfs"), gpus=GPUS, memory=2**30, cpu=1.0, hidden=("/cvmfs/x",), env={"TOKEN": "t"}
)
WITHOUT = container_config(PLAN, VIEW)


@settings(max_examples=200, deadline=None)
@given(body=BODIES, host=HOSTS, mounts=MOUNTS, binds=st.lists(WORDS, max_size=3))
def test_no_configuration_of_a_site_changes_what_is_sealed(
    body: dict[str, Any], host: dict[str, Any], mounts: list[Any], binds: list[str]
) -> None:
    """Whatever a site writes: identity, rights, devices, limits, the plan's mounts and variables stay."""
    site = {**body, "HostConfig": {**host, "Mounts": mounts, "Binds": binds}}
    before = copy.deepcopy(site)
    found = container_config(PLAN, VIEW, site)
    host_config, own = found["HostConfig"], WITHOUT["HostConfig"]
    assert {key: host_config.get(key) for key in SEALED} == {key: own.get(key) for key in SEALED}
    assert {key: found.get(key) for key in SEALED_BODY} == {key: WITHOUT.get(key) for key in SEALED_BODY}
    assert not {*ABSENT} & {*host_config}
    assert not {*ABSENT_BODY} & {*found}
    assert WITHOUT["Labels"].items() <= found["Labels"].items()
    assert {*WITHOUT["Env"]} <= {*found["Env"]}
    assert [mount for mount in host_config["Mounts"] if mount["Type"] == "bind"] == own["Mounts"]
    _check_beside(host_config)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert repr(site) == repr(before)


def _check_beside(host_config: dict[str, Any]) -> None:
    planned = ("/home/alice", "/cvmfs", "/run/nbplatform", "/etc")
    targets = [*host_config["Tmpfs"], *(mount["Target"] for mount in host_config["Mounts"] if mount["Type"] != "bind")]
    assert not [target for target in targets if any(is_within(target, folder) for folder in planned) or target == "/"]
    assert len(targets) == len({*targets})
    assert host_config["PidsLimit"] <= VIEW.pids
    assert host_config["SecurityOpt"][0] == "no-new-privileges:true"
    assert not [word for word in host_config["SecurityOpt"][1:] if "unconfined" in word or "privileges" in word]


@settings(max_examples=200, deadline=None)
@given(body=BODIES, host=HOSTS, mounts=MOUNTS, binds=st.lists(WORDS, max_size=3))
def test_what_was_kept_is_kept_again(
    body: dict[str, Any], host: dict[str, Any], mounts: list[Any], binds: list[str]
) -> None:
    """Reading the configuration twice gives the same as once, and names nothing more."""
    kept, _ = site_config(body, {**host, "Mounts": mounts, "Binds": binds})
    again = {key: value for key, value in kept.items() if key != "HostConfig"}
    assert site_config(again, kept["HostConfig"]) == (kept, ())
