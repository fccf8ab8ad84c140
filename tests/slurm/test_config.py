"""The configuration in ``hub_config/slurm``, as it is shipped: on either backend, by either way."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbplatform_spawners.rules.parse import parse_rules
from nbplatform_spawners.slurm_dask.reaper import SCOPES
from nbplatform_spawners.slurm_dask.service_app import SlurmService
from nbplatform_spawners.slurm_dask.site_file import read_site
from tests.components.hub import running_hub, start_server
from tests.components.need import need
from tests.components.ports import free_ports
from tests.house.configurations import load, mistakes
from tests.hub.conftest import temporary_site
from tests.hub.site import Site

from .service_site import ask, key_file, server_token

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "hub_config" / "slurm"


@pytest.mark.parametrize("rest", ["", "https://slurm.example.org:6820"], ids=["commands", "rest"])
@pytest.mark.parametrize("backend", ["docker", "local"])
def test_the_shipped_configuration_fits_together(backend: str, rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting exists, the service's options are ones, and its role is what it needs and no more."""
    given = {
        "NBPLATFORM_BACKEND": backend,
        "NBPLATFORM_HUB_ID": "jupyter-example-org",
        "NBPLATFORM_SLURM_REST": rest,
        "NBPLATFORM_HUB_IP": "127.0.0.1",
        "CONFIGPROXY_AUTH_TOKEN": "x",
        "NBPLATFORM_RULES": str(SHIPPED / "placement_rules"),
        "JUPYTERHUB_API_TOKEN": "x",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    config = load(SHIPPED / "jupyterhub_config.py")
    assert mistakes(config) == []
    assert [one["name"] for one in config.JupyterHub.services] == ["nbplatform-culler", "nbplatform-slurm"]
    service = config.JupyterHub.services[1]
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", service["url"])
    app = SlurmService()
    app.parse_command_line(service["command"][3:])
    app.check()
    assert (app.hub_id, app.rest_url, bool(app.key_file)) == ("jupyter-example-org", rest, bool(rest))
    assert service["url"].startswith("https://" if backend == "docker" else "http://")
    roles = {role["name"]: role["scopes"] for role in config.JupyterHub.load_roles}
    assert roles["nbplatform-slurm"] == [*SCOPES]


def test_the_site_file_and_the_rules_hold_no_mistake() -> None:
    """Both are read as they are shipped."""
    site = read_site((SHIPPED / "slurm.yaml").read_bytes(), "slurm.yaml")
    assert (site.way, site.token_url) == ("rest", "https://jupyter.example.org/services/nbplatform-slurm/token")
    book = parse_rules({"site.yaml": (SHIPPED / "placement_rules" / "site.yaml").read_bytes()})
    assert book.profiles


def test_a_hub_with_it_starts_and_gives_a_server_a_token() -> None:
    """On the local backend, with a file of accounts in place of PAM; slurmrestd is away, and that stops nothing."""
    with temporary_site() as own_site:
        _starts(own_site)


def _starts(own_site: Site) -> None:
    given = {
        "NBPLATFORM_BACKEND": "local",
        "NBPLATFORM_HUB_ID": "jupyter-example-org",
        "NBPLATFORM_SLURM_REST": "http://127.0.0.1:9",
        "NBPLATFORM_SLURM_KEY": str(key_file(own_site.top)),
        "NBPLATFORM_SLURM_PORT": str(free_ports().public),
        "NBPLATFORM_RULES": str(ROOT / "placement_rules"),
    }
    config = (
        f"import os\nc = get_config()\nos.environ.update({given!r})\n"
        f"load_subconfig({str(SHIPPED / 'jupyterhub_config.py')!r})\n"
        'c.JupyterHub.authenticator_class = "nbplatform-file"\n'
        f'c.IdentityMixin.accounts = "{own_site.top}/accounts.yaml"\n'
        f'c.LocalSpawner.runtime_directory = "{own_site.top}/run"\n'
    )
    own_site.write_accounts(ada=f"home: {own_site.top}/home/ada")
    with need(running_hub(config)) as hub:
        hub.api("POST", "users/ada")
        assert start_server(hub, "ada")[-1].get("ready"), hub.log_text()
        said = ask(hub, server_token(hub, "ada"))
        assert said.json["user"] == "ada", said.text
        hub.wait_for_log(r"no look for jobs without a server, nothing is ended: Slurm: ")
