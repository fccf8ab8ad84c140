# JupyterHub with Dask clusters on Slurm: servers on Docker hosts or on this machine, and the service that gives them
# their tokens for Slurm and ends the jobs of servers that are gone.
#
# docs/how-to/dask-on-slurm.md goes through it step by step.  What is not about Slurm stands in the configuration of the
# backend, `../docker/` or `../local/`, which is loaded first: lay this folder beside it.  Beside this file lie
# `placement_rules/` and `slurm.yaml`, the site file that every server reads.  The hub is started with the variables of
# `environment.example` in its environment.

import os
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
backend = os.environ.get("NBPLATFORM_BACKEND", "docker")
if backend not in ("docker", "local"):
    raise SystemExit(f"NBPLATFORM_BACKEND={backend} is neither docker nor local")
hub_id = os.environ.get("NBPLATFORM_HUB_ID", "")
if not hub_id:
    raise SystemExit("NBPLATFORM_HUB_ID is not set: the name of this hub, which its servers' jobs in Slurm carry")
os.environ.setdefault("NBPLATFORM_RULES", str(here / "placement_rules"))
c = get_config()
load_subconfig(str(here.parent / backend / "jupyterhub_config.py"))

# Every job carries this name, and the service ends those that do and no others: no other hub of the site may have it.
c.NbplatformSpawner.hub_id = hub_id

# The service.  Through the proxy servers reach it at `/services/nbplatform-slurm/token`; it listens on this machine.
# With internal TLS, which the Docker configuration has, it speaks TLS with a certificate of the hub's.
tls = "internal_ssl" in c.JupyterHub and c.JupyterHub.internal_ssl
scheme = "https" if tls else "http"
port = os.environ.get("NBPLATFORM_SLURM_PORT", "10103")
command = [
    sys.executable,
    "-m",
    "nbplatform_spawners.slurm_dask",
    f"--hub-id={hub_id}",
    f"--min-uid={c.IdentityMixin.min_uid}",
]

# The way in.  With NBPLATFORM_SLURM_REST, the address of slurmrestd, servers get tokens, and the service ends jobs with
# one for the operator account.  Without it servers and service use Slurm's commands, and no key is anywhere.
rest_url = os.environ.get("NBPLATFORM_SLURM_REST", "")
if rest_url:
    command += [
        f"--key-file={os.environ.get('NBPLATFORM_SLURM_KEY', '/etc/jupyterhub/slurm-jwt.key')}",
        f"--rest-url={rest_url}",
        f"--reaper-account={os.environ.get('NBPLATFORM_SLURM_REAPER', 'jupyter-reaper')}",
    ]
c.JupyterHub.services.append(
    {
        "name": "nbplatform-slurm",
        "url": f"{scheme}://127.0.0.1:{port}",
        "command": command,
        # Slurm's commands find a configuration elsewhere than in /etc/slurm by this variable alone.
        "environment": {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ},
    }
)

# What the service may do, and who may use it: notebook servers, by their own token.  A server's token can do no more
# than its user, so users have the same scope.  The service answers tokens that open one server of their own user: a
# user can make such a one by hand, and gets by it what a notebook in that server gets, while that server runs.
use = "access:services!service=nbplatform-slurm"
c.JupyterHub.load_roles += [
    {
        "name": "nbplatform-slurm",
        "services": ["nbplatform-slurm"],
        "scopes": ["list:users", "read:servers", "admin:server_state"],
    },
    {"name": "user", "scopes": ["self", use]},
    {"name": "server", "scopes": ["users:activity!user", "access:servers!server", use]},
]
