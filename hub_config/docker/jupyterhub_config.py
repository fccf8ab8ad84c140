# JupyterHub on a fleet of Docker hosts: servers in containers, each as its user; a proxy of its own that goes on while
# the hub is restarted; TLS to the hosts, and between hub, proxy and servers.
#
# docs/how-to/docker-deployment.md goes through it step by step.  Beside this file lie `placement_rules/`, the client
# certificates `docker-tls/`, and `start-proxy`.  Hub and proxy are started in one working directory, which keeps the
# database, the cookie secret and `internal-ssl/`, and with the same environment (`environment.example`).

import os
import socket
import sys
from ipaddress import IPv4Address
from pathlib import Path

from nbplatform_spawners.pages import template_paths

here = Path(__file__).resolve().parent
hub_ip = os.environ.get("NBPLATFORM_HUB_IP", "")
if not hub_ip.strip("0."):  # "0.0.0.0", all addresses, is none that a server could ask
    raise SystemExit("NBPLATFORM_HUB_IP is not set: the address of this machine that the Docker hosts reach")
try:
    with socket.socket() as trial:
        trial.bind((str(IPv4Address(hub_ip)), 0))
except (ValueError, OSError):  # before a certificate is made for it, which would be kept
    raise SystemExit(f"NBPLATFORM_HUB_IP={hub_ip} is no IPv4 address of this machine") from None
if not os.environ.get("CONFIGPROXY_AUTH_TOKEN", ""):
    raise SystemExit("CONFIGPROXY_AUTH_TOKEN is not set: the secret that hub and proxy share")
c = get_config()

# Where servers and the proxy reach the hub.  With internal TLS only who has a certificate of this hub gets further than
# the handshake.
c.JupyterHub.hub_bind_url = f"https://{hub_ip}:{os.environ.get('NBPLATFORM_HUB_PORT', '8081')}"

# The proxy runs beside the hub, by `start-proxy`: users keep their servers while the hub is restarted.  Both read
# CONFIGPROXY_AUTH_TOKEN from the environment.
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = os.environ.get("NBPLATFORM_PROXY_API", "https://127.0.0.1:8001")

# TLS between hub, proxy and servers, each with a certificate of its own.  The names and addresses that stand here get
# into those of hub and proxy when they are made; what is added later needs new ones (see the how-to).
c.JupyterHub.internal_ssl = True
c.JupyterHub.trusted_alt_names = [f"IP:{hub_ip}"]

# A restart of the hub leaves the servers alone and finds them again.  One second, in place of ten, before the hub
# answers while it still looks after them.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.init_spawners_timeout = 1

# Who may log in: the accounts of this machine (PAM), which has to know them as the Docker hosts' storage does, or those
# of one file, for a small site or a trial.
accounts = os.environ.get("NBPLATFORM_ACCOUNTS", "")
c.JupyterHub.authenticator_class = "nbplatform-file" if accounts else "nbplatform-pam"
if accounts:
    c.IdentityMixin.accounts = accounts

# JupyterHub lets nobody in unless told so.  Everybody with an account may log in here: what they may start is said
# by the rules, which grant nothing by default.
c.Authenticator.allow_all = True

# May stop other people's servers and open the admin page.  Their rules are the same as everybody's.
# c.Authenticator.admin_users = {"ada"}

# No server ever runs with a uid or gid outside this range; system accounts and groups (docker, sudo) begin below it.
c.IdentityMixin.min_uid = 1000
c.IdentityMixin.min_gid = 1000

# Servers on the Docker hosts that the rules name.
c.JupyterHub.spawner_class = "nbplatform-docker"

# Name of this hub on its hosts.  It labels every container, and what has this label is this hub's to stop: no other hub
# of these hosts may have it, and it must never change while servers run.
c.DockerFleetSpawner.hub_id = os.environ.get("NBPLATFORM_HUB_ID", "")

# ca.pem, cert.pem and key.pem, by which the hosts know this hub and it knows them.
c.DockerFleetSpawner.tls_directory = os.environ.get("NBPLATFORM_DOCKER_TLS", str(here / "docker-tls"))

# Folders of the hosts below which everything lies that the rules may mount.
c.DockerFleetSpawner.mount_roots = os.environ.get("NBPLATFORM_MOUNT_ROOTS", "/home:/cvmfs").split(":")

# GPUs by CDI where the host's Docker has it, else by NVIDIA's runtime hook.  "cdi" or "nvidia" insists on one.
# c.DockerFleetSpawner.gpu_runtime = "auto"

# Who gets what, on which hosts.  The files are watched: edit them while the hub runs, after `nbplatform rules check`.
c.NbplatformSpawner.rules_directory = os.environ.get("NBPLATFORM_RULES", str(here / "placement_rules"))

# The site's own words on its pages: its name, whom a refused user asks (words, an e-mail address or a web address), and
# what everybody should know before they choose.
# c.NbplatformSpawner.site_name = "Example Computing Centre"
# c.NbplatformSpawner.support = "support@example.org"
# c.NbplatformSpawner.help_text = "Notebooks are explained at https://docs.example.org/notebooks"

# The platform's own pages: home, waiting and refusals in words, also without JavaScript.
c.JupyterHub.template_paths = template_paths

# JupyterLab, and several servers for one user; the rules' quota says how many.
c.Spawner.default_url = "/lab"
c.JupyterHub.allow_named_servers = True

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
            "--ssl-enabled=true",  # with the certificates of internal TLS, in `internal-ssl/`
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
