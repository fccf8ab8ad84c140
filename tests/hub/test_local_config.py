"""The configuration that administrators start from, as it is shipped, with the starter rules."""

from __future__ import annotations

import time
from pathlib import Path

from tests.components.hub import run_terminal, running_hub, start_server
from tests.hub.site import PASSWORD, Site

ROOT = Path(__file__).parents[2]
PASS_LIMIT = 30.0
SHIPPED = f"""
import os
c = get_config()
os.environ["NBPLATFORM_RULES"] = {str(ROOT / "placement_rules")!r}
load_subconfig({str(ROOT / "hub_config/local/jupyterhub_config.py")!r})
"""


def test_the_shipped_configuration_starts_a_hub_that_serves_jupyterlab(own_site: Site) -> None:
    """With the file login in place of PAM: the starter rules decide, a server starts, the Lab answers, the culler runs.

    The culler needs no more than its role: a pass that the hub refuses ends the service.
    """
    config = SHIPPED + (
        'c.JupyterHub.authenticator_class = "nbplatform-file"\n'
        f'c.IdentityMixin.accounts = "{own_site.top}/accounts.yaml"\n'
        f'c.LocalSpawner.runtime_directory = "{own_site.top}/run"\n'
        'c.JupyterHub.services[0]["command"] += ["--start-delay=0", "--debug"]\n'
    )
    own_site.write_accounts(ada=f"home: {own_site.top}/home/ada")
    with running_hub(config) as hub:
        session = hub.login("ada", PASSWORD)
        assert 'data-profile="cpu" data-allowed="true"' in session.page("/hub/spawn")
        answer = hub.api("POST", "users/ada/server", json={"user_options": {"profile": "gpu"}})
        assert (answer.status, answer.headers["X-Nbplatform-Reason"]) == (403, "not-allowed")
        assert start_server(hub, "ada")[-1].get("ready")
        assert session.get("/user/ada/lab").status == 200
        assert run_terminal(hub, "ada", "pwd; ls", session=session).split() == [f"{own_site.top}/home/ada", "of-ada"]
        limit = time.monotonic() + PASS_LIMIT
        while "the pass took" not in hub.log_text():
            assert time.monotonic() < limit, hub.log_text()
            time.sleep(0.1)
        assert (hub.folder / "nbplatform-culler.json").exists()
