"""``nbplatform doctor keycloak``: its arguments.  What examines needs JupyterHub, and is imported when it runs."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

USAGE = 2
CONFIG = "jupyterhub_config.py"
ADMIN_SECRET = "NBPLATFORM_DOCTOR_ADMIN_SECRET"  # noqa: S105 - the name of a variable
USER_PASSWORD = "NBPLATFORM_DOCTOR_USER_PASSWORD"  # noqa: S105
KEYCLOAK_HELP = f"""\
Check a Keycloak realm and the hub's settings for it, one line for each thing: ok, warning, FAILED, or skipped with what
it takes to look.  The hub's configuration file is read as the hub reads it, and what it asks is asked as the hub does.

Without more: discovery, TLS, keys, the client and its secret, PKCE, flows, addresses of login and logout.
With somebody who may look at the realm (--admin-user, --admin-client) also: the clocks, registered addresses,
back-channel logout, mappers that are missing with the JSON to add, who may change what a uid is read from, and
whether the subject of each identity provider names one person.
With --user also what a login of that user would end in: claims, what the account directory answers, the identity.
NAME is the user name in Keycloak.  Somebody of a home organisation has a random one there, from their first login on:
in the console look under Users for their e-mail address, or for who has the link under 'Identity provider links'.

Nothing is changed, and nobody is logged in but by --login.  Passwords come from {ADMIN_SECRET} and
{USER_PASSWORD}, or are asked for; none is ever printed.
exit status: 0 no check failed, 1 one did, 2 wrong use, 3 none failed and the user would be refused

examples:
  nbplatform doctor keycloak --config /etc/jupyterhub/jupyterhub_config.py
  nbplatform doctor keycloak --admin-user admin --user alice
  nbplatform doctor keycloak --admin-user admin --user edugain-saml-1b9d6bcd-… --provider edugain-saml
  nbplatform doctor keycloak --issuer https://login.example.org/realms/site --client-id jupyterhub \\
      --client-secret-file secret --hub-url https://hub.example.org
"""


class _WrongUse(Exception):
    """The arguments do not fit together, or a secret cannot be had."""


def add_commands(subparsers: Any) -> None:
    """Add ``doctor`` and its sub-commands to the parser of ``nbplatform``.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned; each command sets ``run``, a function of the
            parsed arguments that returns the exit status.
    """
    doctor = subparsers.add_parser("doctor", help="check what the hub depends on, as before a release")
    commands = doctor.add_subparsers(required=True, metavar="COMMAND")
    keycloak = commands.add_parser(
        "keycloak",
        help="check a Keycloak realm and the hub's settings for it",
        description=KEYCLOAK_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(keycloak)
    _add_who(keycloak)
    keycloak.add_argument("--format", choices=("text", "json"), default="text", help="of the output (%(default)s)")
    keycloak.set_defaults(run=run_keycloak)


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help=f"the hub's configuration file ({CONFIG})")
    parser.add_argument("--issuer", metavar="URL", help="in place of a configuration file: the realm's address")
    parser.add_argument(
        "--client-id", metavar="ID", default="jupyterhub", help="with --issuer: the client (%(default)s)"
    )
    parser.add_argument(
        "--client-secret-file", metavar="FILE", type=Path, help="with --issuer: a file whose first line is the secret"
    )
    parser.add_argument(
        "--hub-url",
        metavar="URL",
        default="",
        help="where browsers reach the hub, if the configuration does not say it",
    )


def _add_who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user", metavar="NAME", default="", help="whose login is tried out: the user name in Keycloak"
    )
    parser.add_argument(
        "--provider", metavar="ALIAS", default="", help="the user comes through this identity provider of the realm"
    )
    parser.add_argument(
        "--subject",
        metavar="TEXT",
        default="",
        help="with --provider: who the user is there, in place of what Keycloak has linked",
    )
    parser.add_argument(
        "--login",
        action="store_true",
        help="ask for the user's password and log in with it, where direct grants are on",
    )
    parser.add_argument("--admin-user", metavar="NAME", help="an administrator who may look at the realm")
    parser.add_argument("--admin-client", metavar="ID", help="or a client with a service account that may look at it")
    parser.add_argument(
        "--admin-realm",
        metavar="REALM",
        help="where they are known (an administrator: master, a client: the realm itself)",
    )


def run_keycloak(arguments: argparse.Namespace) -> int:
    """Run ``nbplatform doctor keycloak``; return the exit status."""
    try:
        _check_arguments(arguments)
    except _WrongUse as error:
        return _fail(str(error))
    try:
        # By name: the command line itself must work where JupyterHub is not installed.
        doctor: Any = importlib.import_module("nbplatform_spawners.auth.doctor")
        setup_module: Any = importlib.import_module("nbplatform_spawners.auth.doctor_setup")
    except ImportError as error:
        package = (error.name or "oauthenticator").partition(".")[0]
        if package == __package__.partition(".")[0]:
            raise  # that is a mistake of ours
        hint = 'pip install ".[hub,keycloak]" in the platform\'s checkout'
        return _fail(f"the Python package '{package}' is missing: {hint}")
    try:
        setup = _setup(arguments, setup_module)
        questions = _questions(arguments, setup, doctor)
    except (_WrongUse, setup_module.WrongUse) as error:
        return _fail(str(error))
    report = asyncio.run(doctor.examine(setup, questions))
    _say([report.as_json()] if arguments.format == "json" else report.as_lines())
    status: int = report.status
    return status


def _check_arguments(arguments: argparse.Namespace) -> None:
    if arguments.issuer and arguments.config:
        raise _WrongUse("--config and --issuer: give one of them")
    if arguments.issuer and not arguments.client_secret_file:
        raise _WrongUse("--issuer needs --client-secret-file, a file that holds the client's secret")
    if arguments.client_secret_file and not arguments.issuer:
        raise _WrongUse("--client-secret-file goes with --issuer; the configuration file has a secret of its own")
    if arguments.admin_user and arguments.admin_client:
        raise _WrongUse("--admin-user and --admin-client: give one of them")
    if not arguments.user and (arguments.login or arguments.provider):
        raise _WrongUse("--login and --provider need --user")
    if arguments.subject and not arguments.provider:
        raise _WrongUse("--subject needs --provider, the identity provider that knows it")
    if arguments.login and arguments.provider:
        raise _WrongUse("--login is a login without an identity provider; leave out --provider")


def _setup(arguments: argparse.Namespace, module: Any) -> Any:
    if arguments.issuer:
        secret = arguments.client_secret_file
        return module.from_options(arguments.issuer, arguments.client_id, secret, arguments.hub_url)
    return module.from_config(arguments.config or Path(CONFIG), arguments.hub_url)


def _questions(arguments: argparse.Namespace, setup: Any, doctor: Any) -> Any:
    credentials, password = None, None
    if arguments.admin_user or arguments.admin_client:
        place = doctor.place_of(setup.authenticator.issuer)
        realm = arguments.admin_realm or ("master" if arguments.admin_user or place is None else place[1])
        name = arguments.admin_user or arguments.admin_client
        secret = _secret(ADMIN_SECRET, f"Password of {name}" if arguments.admin_user else f"Secret of {name}")
        credentials = doctor.Credentials(name, secret, realm, service_account=bool(arguments.admin_client))
    if arguments.login:
        password = _secret(USER_PASSWORD, f"Password of {arguments.user}")
    return doctor.Questions(arguments.user, password, arguments.provider, arguments.subject, credentials)


def _secret(variable: str, prompt: str) -> str:
    """Return a secret of the environment, or one that is typed unseen."""
    found = os.environ.get(variable, "")
    if found:
        return found
    if not sys.stdin.isatty():
        raise _WrongUse(f"there is no terminal to ask on; give it as {variable}")
    return getpass.getpass(f"{prompt}: ")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")


def _fail(text: str) -> int:
    sys.stderr.write(f"nbplatform doctor keycloak: {text}\n")
    return USAGE
