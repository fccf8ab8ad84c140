"""A real pull from a real registry: what the waiting user is told, through a real hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.components.docker_fleet import Settings, docker_fleet
from tests.components.hub import Hub, start_server, stop_server
from tests.components.images import TINY, load
from tests.components.need import need
from tests.components.registry import Registry, registry
from tests.docker.fleet_site import RULES, FleetSite, fleet_hub, make_fleet_site

HOSTS = {"debian": Settings(), "modern": Settings("modern")}
SECONDS = 4
AT_ONCE = 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0.1}\n'  # the answer comes while the pull goes on
RENEWED = "local/renewed:1"


@pytest.fixture(scope="module")
def shelf() -> Iterator[tuple[FleetSite, Registry, Hub]]:
    """Two hosts without the image, a registry that has it, a hub."""
    with need(docker_fleet(HOSTS)) as fleet, need(registry(fleet)) as registered:
        load(fleet["debian"], "tiny")
        image = registered.publish("lab:1", padding=os.urandom(6 << 20))
        site = make_fleet_site(fleet, {"cpu": tuple(HOSTS)})
        more = "".join(
            f'  {name}: {{title: "{name}", pool: cpu, hosts: [{name}], image: "{image}", allow: true}}\n'
            for name in HOSTS
        )
        more += f'  renewed: {{title: "Renewed", pool: cpu, hosts: [debian], image: "{RENEWED}", allow: true}}\n'
        site.write_rules(RULES.replace("rules:\n", f"{more}rules:\n"))
        registered.slow(SECONDS, registered.size("lab:1"))
        with need(fleet_hub(site, AT_ONCE)) as hub:
            yield site, registered, hub


@pytest.mark.parametrize("host", list(HOSTS))
def test_the_waiting_user_sees_how_far_a_pull_is(shelf: tuple[FleetSite, Registry, Hub], host: str) -> None:
    """First that an image is fetched at all, then rising percentages; the server starts from what was fetched."""
    site, _, hub = shelf
    events = start_server(hub, "ada", {"profile": host})
    assert events[-1].get("ready"), events
    words = [event["message"] for event in events if "Fetching the image" in event["message"]]
    assert words[0].endswith("0 bytes so far"), words
    shares = [int(found[1]) for word in words if (found := re.search(r"(\d+)% of", word))]
    assert len(set(shares)) >= 3, words
    assert shares == sorted(shares)
    assert [event["progress"] for event in events] == sorted(event["progress"] for event in events)
    state = hub.api("GET", "users/ada").json["servers"][""]["state"]
    image = site.fleet[host].client().inspect_container(state["object_id"])["Config"]["Image"]
    assert image.endswith("/lab:1")
    stop_server(hub, "ada")


def test_an_image_that_was_renewed_brings_its_own_names(shelf: tuple[FleetSite, Registry, Hub]) -> None:
    """The same tag is another image tomorrow, with other accounts in its ``passwd``."""
    site, _, hub = shelf
    host = site.fleet["debian"]
    for account, other in (("first", "second"), ("second", "first")):
        made = host.cli("run", "-d", TINY, "sh", "-c", f"echo {account}:x:990:990::/:/bin/sh >> /etc/passwd").strip()
        host.cli("wait", made)
        host.cli("commit", "--change", 'CMD ["nbplatform-singleuser"]', made, RENEWED)
        host.cli("rm", made)
        events = start_server(hub, "ben", {"profile": "renewed"})
        assert events[-1].get("ready"), events
        container = hub.api("GET", "users/ben").json["servers"][""]["state"]["object_id"]
        names = host.cli("exec", container, "cut", "-d:", "-f1", "/etc/passwd").split()
        assert account in names
        assert other not in names
        stop_server(hub, "ben")
