# JupyterHub with logins through Keycloak: who somebody is comes from its tokens and from the account directory.  Each
# server runs on this machine, as its user, with what the rules grant.
#
# docs/how-to/keycloak.md goes through it step by step, the realm (`realm.json`) first.  Beside this file lies
# `placement_rules/`.  The hub is started with the variables of `environment.example` in its environment, in the
# directory where it may keep its database.  `nbplatform doctor keycloak` checks realm and settings before that.

import os
import sys
from pathlib import Path

from nbplatform_spawners.pages import template_paths

here = Path(__file__).resolve().parent
wanted = ("NBPLATFORM_PUBLIC_URL", "NBPLATFORM_ISSUER", "NBPLATFORM_CLIENT_SECRET")
missing = [name for name in wanted if not os.environ.get(name, "")]
if missing:
    raise SystemExit(f"{', '.join(missing)} not set: see hub_config/keycloak/environment.example")
public_url = os.environ["NBPLATFORM_PUBLIC_URL"].rstrip("/")
client_id = os.environ.get("NBPLATFORM_CLIENT_ID", "jupyterhub")
c = get_config()

# Where browsers connect.  Plain HTTP on this machine alone: a web server with TLS stands before it at the public
# address.  The realm knows this address for the way back from a login, and for logouts that begin at Keycloak.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.public_url = public_url + "/"

# Logins through one realm; everything else is found at its address.
c.JupyterHub.authenticator_class = "nbplatform-keycloak"
c.KeycloakAuthenticator.issuer = os.environ["NBPLATFORM_ISSUER"]
c.KeycloakAuthenticator.client_id = client_id
c.KeycloakAuthenticator.client_secret = os.environ["NBPLATFORM_CLIENT_SECRET"]
c.KeycloakAuthenticator.oauth_callback_url = f"{public_url}/hub/oauth_callback"

# Straight to Keycloak, without a page that has nothing but a button.  Who logs out stays on the hub's page.
# c.Authenticator.auto_login = True

# JupyterHub lets nobody in unless told so: here, who has the role `user` of the realm's client, and who has `admin`
# administers the hub.  `c.Authenticator.allow_all = True` lets in everybody with an account.  People of a home
# organisation get the role by a mapper of the identity provider; docs/how-to/edugain.md has it.
c.KeycloakAuthenticator.allowed_roles = {f"{client_id}:user"}
c.KeycloakAuthenticator.admin_roles = {f"{client_id}:admin"}

# Where accounts are looked up: their groups, how long they are valid, and to which account somebody of a home
# organisation is linked.  `nss` are the accounts of this machine; a path is a file of accounts, or the settings of an
# LDAP server (`ldap:PATH`) or of a JSON service (`http:PATH`).
c.IdentityMixin.accounts = os.environ.get("NBPLATFORM_ACCOUNTS", "nss")

# Which source wins for what; the first that says something does.  Two different uids refuse the login.
# c.KeycloakAuthenticator.identity_sources = {"groups": ["directory", "claims"]}
# c.KeycloakAuthenticator.group_gids = {"atlas": 61100}  # gids of the groups that claims name

# Where many home organisations come through one identity provider, the subject alone does not tell them apart.
# c.KeycloakAuthenticator.home_organisation_claim = "home_organisation"
# c.KeycloakAuthenticator.subject_template = "{home_organisation}!{subject}"

# For this long people go on working while Keycloak, or the account directory, cannot be asked.
# c.KeycloakAuthenticator.outage_grace = 3600
# c.KeycloakAuthenticator.directory_grace = 3600

# No server ever runs with a uid or gid outside this range; system accounts and groups (docker, sudo) begin below it.
c.IdentityMixin.min_uid = 1000
c.IdentityMixin.min_gid = 1000

# The hub keeps identities and refresh tokens encrypted and does not start without a key, JUPYTERHUB_CRYPT_KEY.
# Seconds after which it asks Keycloak again whether a session is still good; before a server starts it always asks.
c.Authenticator.auth_refresh_age = 300

# Servers on this machine, each in its own view of the file system.
c.JupyterHub.spawner_class = "nbplatform-local"
c.LocalSpawner.runtime_directory = str(Path.cwd() / "servers")

# The site's own words on its pages: its name, whom a refused user asks (words, an e-mail address or a web address; also
# on the pages of refused logins, unless `c.IdentityMixin.support` says another), and what everybody should know before
# they choose.
# c.NbplatformSpawner.site_name = "Example Computing Centre"
# c.NbplatformSpawner.support = "support@example.org"
# c.NbplatformSpawner.help_text = "Notebooks are explained at https://docs.example.org/notebooks"

# The platform's own pages: home, waiting and refusals in words, also without JavaScript.
c.JupyterHub.template_paths = template_paths

# Who gets what.  The files are watched: edit them while the hub runs, after `nbplatform rules check`.
c.NbplatformSpawner.rules_directory = os.environ.get("NBPLATFORM_RULES", str(here / "placement_rules"))

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
