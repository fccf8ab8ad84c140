"""Which settings for dockerspawner are said to have no effect, and how they are called."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from traitlets.config import Config

pytest.importorskip("docker", reason="docker-py is not installed")

from nbplatform_spawners.spawners.docker_site import DockerSite, ignored_settings

CLASSES = ("DockerFleetSpawner", "NbplatformSpawner", "DockerSpawner", "Spawner")
UNSET: dict[str, Any] = dict.fromkeys(("volumes", "read_only_volumes", "mounts", "links", "mem_limit", "cpu_limit"))


class Bare(DockerSite):
    """As much of a spawner as says what has no effect."""

    def __init__(self, config: Config, **settings: Any) -> None:
        self.config = config
        self.log = logging.getLogger("site")
        self._warned = set()
        vars(self).update({**UNSET, "extra_host_config": {}, "extra_create_kwargs": {}, **settings})


# id, section, setting, whether it has no effect
SETTINGS = [
    ("image", "DockerSpawner", "image", True),
    ("image of our class", "DockerFleetSpawner", "image", True),
    ("allowed images", "DockerSpawner", "allowed_images", True),
    ("remove", "DockerSpawner", "remove", True),
    ("deprecated", "DockerSpawner", "tls_verify", True),
    ("guarantee of a base", "Spawner", "mem_guarantee", True),
    ("another class", "SystemUserSpawner", "run_as_root", True),
    ("another class, a setting of all", "SystemUserSpawner", "volumes", True),
    ("what holds", "DockerSpawner", "network_name", False),
    ("what is looked at in each start", "DockerSpawner", "volumes", False),
    ("not of this spawner", "KubeSpawner", "image", False),
]


@pytest.mark.parametrize(("_", "section", "name", "said"), SETTINGS, ids=[row[0] for row in SETTINGS])
def test_a_setting_without_effect_is_named_as_it_was_written(_: str, section: str, name: str, said: bool) -> None:
    """Only what the configuration sets is named, with class and trait."""
    config = Config({section: {name: "x"}})
    assert [setting for setting, _ in ignored_settings(config, CLASSES)] == ([f"c.{section}.{name}"] if said else [])


def test_each_setting_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each at the hub's start, with the reason; an empty configuration says nothing."""
    one = Bare(Config({"Bare": {"image": "x"}, "DockerSpawner": {}}))
    one.warn_of_settings()
    one.warn_of_settings()
    Bare(Config()).warn_of_settings()
    (line,) = caplog.messages
    assert line == "c.Bare.image has no effect: the rules decide the image, and no user option changes it"


# id, settings, Docker's word, what is said of it
WORDS = [
    ("a folder", {"volumes": {"/etc": "/x"}}, "HostConfig.Binds", "volumes 'HostConfig.Binds'"),
    ("a read-only folder", {"read_only_volumes": {"/": "/x"}}, "HostConfig.Binds", "read_only_volumes 'HostCon"),
    ("mounts", {"mounts": [1]}, "HostConfig.Mounts", "mounts 'HostConfig.Mounts'"),
    ("on what the plan mounts", {"volumes": {"a": "/x"}}, "HostConfig.Mounts /x", "volumes 'HostConfig.Mounts /x'"),
    ("host config", {"extra_host_config": {"privileged": 1}}, "HostConfig.Privileged", "extra_host_config 'HostConf"),
    ("create", {"extra_create_kwargs": {"user": "0"}}, "User", "extra_create_kwargs 'User'"),
    (
        "both",
        {"volumes": {"/a": "/b"}, "extra_host_config": {"binds": []}},
        "HostConfig.Binds",
        "volumes, extra_host_config 'HostConfig.Binds'",
    ),
]


@pytest.mark.parametrize(("_", "settings", "word", "said"), WORDS, ids=[row[0] for row in WORDS])
def test_dockers_word_stands_beside_the_setting(
    caplog: pytest.LogCaptureFixture, _: str, settings: dict[str, Any], word: str, said: str
) -> None:
    """Who wrote ``volumes`` looks for that in the configuration, not for Docker's name of it."""
    one = Bare(Config(), **settings)
    one.warn_of((word,))
    one.warn_of((word,))
    (line,) = caplog.messages
    assert line.startswith(f"c.DockerSpawner: {said}")
    assert line.endswith("' has no effect, the platform decides it")
