# JupyterHub on one machine: every user's server runs here, as that user, with what the rules grant.
#
# Put this file into the directory that holds `placement_rules/` as well, /etc/jupyterhub say, and start the hub with
#     JUPYTERHUB_CRYPT_KEY=... jupyterhub -f /etc/jupyterhub/jupyterhub_config.py
# in the directory where it may keep its database.  docs/how-to/local-deployment.md does it under systemd.

import os
import sys
from pathlib import Path

from nbplatform_spawners.pages import template_paths

here = Path(__file__).resolve().parent
c = get_config()

# Where browsers connect.  Plain HTTP on this machine alone: put a web server with TLS before it for everybody else.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"

# Who may log in: the accounts of this machine, with their own passwords (PAM) ...
c.JupyterHub.authenticator_class = "nbplatform-pam"
# ... or those of one file, for a demo or a small site.  `nbplatform accounts hash` makes its password hashes.
# c.JupyterHub.authenticator_class = "nbplatform-file"
# c.IdentityMixin.accounts = str(here / "accounts.yaml")

# JupyterHub lets nobody in unless told so.  Everybody with an account may log in here: what they may start is said
# by the rules, which grant nothing by default.  `c.Authenticator.allowed_users = {"ada", "ben"}` is the narrow way.
c.Authenticator.allow_all = True

# May stop other people's servers and open the admin page.  Their rules are the same as everybody's.
# c.Authenticator.admin_users = {"ada"}

# No server ever runs with a uid or gid outside this range; system accounts and groups (docker, sudo) begin below it.
c.IdentityMixin.min_uid = 1000
c.IdentityMixin.min_gid = 1000

# The hub keeps each user's identity (uid, gid, groups) encrypted and does not start without a key.
# Make one once with `openssl rand -hex 32`, keep it, and give it in the environment as JUPYTERHUB_CRYPT_KEY.

# Servers on this machine, each in its own view of the file system.
c.JupyterHub.spawner_class = "nbplatform-local"

# The site's own words on its pages: its name, whom a refused user asks (words, an e-mail address or a web address), and
# what everybody should know before they choose.
# c.NbplatformSpawner.site_name = "Example Computing Centre"
# c.NbplatformSpawner.support = "support@example.org"
# c.NbplatformSpawner.help_text = "Notebooks are explained at https://docs.example.org/notebooks"

# The platform's own pages: home, waiting and refusals in words, also without JavaScript.  docs/how-to/pages.md says how
# to put the site's own before them.  Without this line JupyterHub's pages are shown.
c.JupyterHub.template_paths = template_paths

# Who gets what.  The files are watched: edit them while the hub runs, after `nbplatform rules check`.
c.NbplatformSpawner.rules_directory = os.environ.get("NBPLATFORM_RULES", str(here / "placement_rules"))

# Logs of the servers and the small files that belong to them.  Relative to where the hub was started, as its
# database and its cookie secret are.
c.LocalSpawner.runtime_directory = str(Path.cwd() / "servers")

# GPUs of this machine that may be granted, by the ids that `nvidia-smi -L` prints.
# c.LocalSpawner.gpus = ["GPU-..."]

# JupyterLab, and several servers for one user; the rules' quota says how many.
c.Spawner.default_url = "/lab"
c.JupyterHub.allow_named_servers = True

# A restart of the hub leaves the servers alone and finds them again.  One second, in place of ten, before the hub
# answers while it still looks after them.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.init_spawners_timeout = 1

# Stops servers that nobody uses, by the limits that the rules decide (`idle:`), and warns their users before.  It keeps
# its file where the hub keeps its database.  docs/how-to/culler.md says why it has these rights, and how to try it.
c.JupyterHub.services = [
    {
        "name": "nbplatform-culler",
        "command": [
            sys.executable,
            "-m",
            "nbplatform_spawners.culler",
            f"--rules-directory={c.NbplatformSpawner.rules_directory}",
        ],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "nbplatform-culler",
        "services": ["nbplatform-culler"],
        "scopes": ["list:users", "read:servers", "admin:server_state", "access:servers", "delete:servers"],
    }
]
