# The hub of ./scripts/demo: the local deployment's configuration on a copy of the example site.
# scripts/demo.py starts it and says by environment variables where things are; an administrator reads ../local.

import os
import shlex
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
c = get_config()
load_subconfig("jupyterhub_config.py", path=str(here.parent / "local"))

folder = Path(os.environ["NBPLATFORM_DEMO_FOLDER"])
port, hub_port, proxy_api_port = os.environ["NBPLATFORM_DEMO_PORTS"].split(",")

c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{proxy_api_port}"
c.ConfigurableHTTPProxy.command = shlex.split(os.environ["NBPLATFORM_DEMO_PROXY"])

# Everything the hub writes is in the demo's folder, and nothing outlives the demo.
c.JupyterHub.db_url = f"sqlite:///{folder}/hub/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{folder}/hub/cookie_secret"
c.ConfigurableHTTPProxy.pid_file = f"{folder}/hub/proxy.pid"
c.JupyterHub.cleanup_servers = True

c.JupyterHub.authenticator_class = "nbplatform-file"
c.Authenticator.admin_users = {"carol"}  # sees on her spawn page when a rule file is bad
c.IdentityMixin.accounts = f"{folder}/accounts.yaml"

c.JupyterHub.spawner_class = "nbplatform-local"
c.NbplatformSpawner.rules_directory = f"{folder}/placement_rules"
c.NbplatformSpawner.site_name = "Example Computing Centre"
c.NbplatformSpawner.support = "support@example.org"
c.NbplatformSpawner.help_text = (
    "New here?  Choose CPU, press Start and open welcome.ipynb in JupyterLab.\n"
    "“Why” in each box names the rules behind what you get."
)
c.LocalSpawner.runtime_directory = f"{folder}/hub/servers"
c.LocalSpawner.overcommit = 4  # a laptop's memory, promised to several accounts of one person
c.Spawner.default_url = "/lab"

# The culler with the demo's rules, looking often: shorten `idle: {cull_after: …}` and see it warn and stop.
c.JupyterHub.services[0]["command"] = [
    sys.executable,
    "-m",
    "nbplatform_spawners.culler",
    f"--rules-directory={folder}/placement_rules",
    f"--record-file={folder}/hub/culler.json",
    "--cull-every=20",
    "--start-delay=20",
]
