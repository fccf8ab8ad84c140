"""The configuration and the realm that administrators start from, as they are shipped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.components.hub import Hub, HubDied, running_hub
from tests.components.keycloak import Keycloak
from tests.components.keycloak_realms import CLIENT_SECRET, ENVIRONMENT, SHIPPED, shipped_realm
from tests.components.need import need
from tests.keycloak.refused import refused_arrival
from tests.keycloak.site import Site, keycloak_site

FOLDER = SHIPPED.parent
CONFIG = f"""
c = get_config()
load_subconfig({str(FOLDER / "jupyterhub_config.py")!r})
c.LocalSpawner.runtime_directory = "TOP/run"
"""


def environment(site: Site) -> dict[str, str]:
    """The hub's environment, as ``environment.example`` has it."""
    return {
        "NBPLATFORM_PUBLIC_URL": site.url,
        "NBPLATFORM_ISSUER": site.issuer,
        "NBPLATFORM_CLIENT_ID": site.client_id,
        "NBPLATFORM_CLIENT_SECRET": CLIENT_SECRET,
        "NBPLATFORM_ACCOUNTS": f"{site.top}/accounts.yaml",
        "NBPLATFORM_RULES": f"{site.top}/placement_rules",
    }


@pytest.fixture(scope="module")
def shipped(keycloak: Keycloak) -> Iterator[tuple[Site, Hub]]:
    """A hub with the shipped configuration; nothing is changed but places."""
    with keycloak_site(keycloak) as site:
        settings = site.placed(CONFIG)
        with need(running_hub(settings, port=site.port, extra_env=environment(site))) as hub:
            yield site, hub


def test_the_role_of_the_realms_client_lets_in(shipped: tuple[Site, Hub]) -> None:
    """Nobody is let in by default; ``user`` may log in, and ``admin`` administers."""
    site, hub = shipped
    visitor = site.known_visitor("alice")
    refused_arrival(hub, visitor, visitor.authorise("alice"), "not-allowed")
    site.admin.give_role("alice", "user", site.client_id)
    site.log_in("alice")
    assert not hub.api("GET", "users/alice").json["admin"]
    site.admin.give_role("bob", "admin", site.client_id)
    site.log_in("bob")
    assert hub.api("GET", "users/bob").json["admin"]


def test_what_the_environment_lacks_is_said(shipped: tuple[Site, Hub]) -> None:
    """All at once, by name, with the file that explains it."""
    site, _ = shipped
    lacking = dict.fromkeys(("NBPLATFORM_PUBLIC_URL", "NBPLATFORM_ISSUER", "NBPLATFORM_CLIENT_SECRET"), "")
    with (
        pytest.raises(HubDied, match=rf"{', '.join(lacking)} not set: see .*environment\.example"),
        need(running_hub(site.placed(CONFIG), extra_env={**environment(site), **lacking})),
    ):
        pass


def test_the_realm_holds_no_secret_and_no_user() -> None:
    """What differs between sites comes from Keycloak's environment; the example of the hub's has the same names."""
    text = SHIPPED.read_text()
    realm = json.loads(text)
    names = set(re.findall(r"\$\{([A-Z_]+)\}", text))
    assert names == {*ENVIRONMENT}
    assert realm["clients"][0]["secret"] == "${NBPLATFORM_CLIENT_SECRET}"
    assert not {"users", "identityProviders"} & realm.keys()
    assert "org.keycloak.keys.KeyProvider" not in realm["components"]
    assert names <= {*example()}


def example() -> dict[str, str]:
    """The variables of ``environment.example``, those in comments included."""
    lines = (FOLDER / "environment.example").read_text().splitlines()
    found = [re.fullmatch(r"#?([A-Z_]+)=(.*)", line) for line in lines]
    return {one[1]: one[2] for one in found if one}


def test_the_example_has_what_the_configuration_reads_and_no_secret() -> None:
    """A variable that nobody reads, or that nobody is told of, is a mistake."""
    read = set(re.findall(r'"(NBPLATFORM_[A-Z_]+)"', (FOLDER / "jupyterhub_config.py").read_text()))
    assert read | {"JUPYTERHUB_CRYPT_KEY"} == {*example()}
    assert {example()[name] for name in ("JUPYTERHUB_CRYPT_KEY", "NBPLATFORM_CLIENT_SECRET")} == {""}


def test_the_shipped_client_is_the_least_that_works() -> None:
    """One flow, PKCE, one address to come back to, no scope beyond its own, and a way for Keycloak to end sessions."""
    (client,) = shipped_realm()["clients"]
    flows = {key for key in client if key.endswith(("FlowEnabled", "GrantsEnabled", "AccountsEnabled"))}
    assert {key for key in flows if client[key]} == {"standardFlowEnabled"}
    attributes: dict[str, Any] = client["attributes"]
    assert attributes["pkce.code.challenge.method"] == "S256"
    assert client["redirectUris"] == ["${NBPLATFORM_PUBLIC_URL}/hub/oauth_callback"]
    assert attributes["backchannel.logout.url"] == "${NBPLATFORM_PUBLIC_URL}/hub/keycloak/backchannel_logout"
    assert (client["publicClient"], client["fullScopeAllowed"]) == (False, False)


def test_the_realm_is_what_keycloak_imported(keycloak: Keycloak, shipped: tuple[Site, Hub]) -> None:
    """Nothing of the file was dropped or left as a placeholder when Keycloak read it at its start."""
    site, _ = shipped
    admin = site.admin
    client = admin.ask("GET", "/site/clients", clientId="jupyterhub")[0]
    mappers = {mapper["name"] for mapper in client["protocolMappers"]}
    assert mappers == {mapper["name"] for mapper in shipped_realm()["clients"][0]["protocolMappers"]}
    assert client["redirectUris"] == ["http://127.0.0.1/hub/oauth_callback"]
    assert admin.ask("GET", f"/site/clients/{client['id']}/client-secret")["value"] == CLIENT_SECRET
    flows = {flow["alias"] for flow in admin.ask("GET", "/site/authentication/flows")}
    assert "first login of a federated user" in flows
    assert keycloak.realm() == f"{keycloak.url}/realms/site"


def test_nothing_in_the_folder_is_left_out(shipped: tuple[Site, Hub]) -> None:
    """Each file is tested here."""
    assert {path.name for path in Path(FOLDER).iterdir()} - {"__pycache__"} == {
        "environment.example",
        "jupyterhub_config.py",
        "realm.json",
    }
