"""What a cluster knows of where it is made: the site's file, the server and its user, the versions of this Python."""

from __future__ import annotations

import grp
import os
import platform
import pwd
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from ..errors import BadFile
from ..rules.units import format_count
from ..server_env import HUB_ID_ENV, RUN_ENV
from .errors import ClusterRefused
from .models import FOLDER, SITE_ENV, SITE_FILE, Site
from .site_file import read_site
from .slurm import Slurm
from .tag import Tag
from .versions import COMPARED

_SERVICE = "/services/nbplatform-slurm/token"


def load_site(environment: Mapping[str, str]) -> Site:
    """Return what the site's file says.

    Raises:
        ClusterRefused: it cannot be read, or holds mistakes.
    """
    path = Path(environment.get(SITE_ENV) or SITE_FILE)
    try:
        return read_site(path.read_bytes(), path.name)
    except FileNotFoundError:
        if not environment.get(SITE_ENV):
            return Site(absent=str(path))
        raise ClusterRefused(
            f"the site's file for Dask on Slurm ({path}) is not there: tell your administrators"
        ) from None
    except OSError as error:
        why = error.strerror
    except BadFile as error:
        more = len(error.mistakes) - 1
        why = str(error.mistakes[0]) + (f", and {format_count(more, 'more mistake')}" if more else "")
    raise ClusterRefused(f"the site's file for Dask on Slurm ({path}) cannot be used: {why}: tell your administrators")


def user_name() -> str:
    """Return the login name of the user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return os.environ.get("JUPYTERHUB_USER") or os.environ.get("USER") or str(os.geteuid())


def group_names() -> tuple[str, ...]:
    """Return the names of the groups that this process has; one without a name is left out."""
    names = []
    for gid in {os.getegid(), *os.getgroups()}:
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue
    return tuple(names)


def make_tag(environment: Mapping[str, str], cluster: str) -> Tag:
    """Return the tag of a cluster's jobs: its server where there is one, else its user alone."""
    inside = environment.get("JUPYTERHUB_USER")
    return Tag(
        hub=environment.get(HUB_ID_ENV, "") if inside else "",
        user=inside or user_name(),
        server=environment.get("JUPYTERHUB_SERVER_NAME", "") if inside else "",
        run=environment.get(RUN_ENV, "") if inside else "",
        cluster=cluster,
    )


def folder_root(site: Site) -> str:
    """Return the folder that holds those of the user's clusters."""
    home = str(Path("~").expanduser())
    return (site.folder or FOLDER).replace("{home}", home).replace("{username}", user_name())


def versions() -> dict[str, str]:
    """Return the versions of what both sides must have; what is not installed is left out."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in COMPARED[1:]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def open_slurm(site: Site, environment: Mapping[str, str]) -> Slurm:
    """Return the way to Slurm that the site has chosen.

    Raises:
        ClusterRefused: what it needs is not known here.
    """
    if site.way == "commands":
        from .commands import CommandSlurm

        return CommandSlurm(timeout=site.timeout)
    from .rest import RestSlurm
    from .token_api import TokenSource

    hub = environment.get("JUPYTERHUB_PUBLIC_HUB_URL", "")
    url = site.token_url or (hub.removesuffix("/").removesuffix("/hub") + _SERVICE if hub else "")
    token = environment.get("JUPYTERHUB_API_TOKEN", "")
    if not url or not token or not site.rest_url:
        raise ClusterRefused(
            "Slurm's REST interface is used with a token of the hub's service nbplatform-slurm, and "
            f"{'this is no server of a hub' if not token else 'the site file does not say where that is (token_url)'}"
        )
    try:
        return RestSlurm(site.rest_url, TokenSource(url, token, timeout=site.timeout), timeout=site.timeout)
    except ValueError as error:
        raise ClusterRefused(f"{error}: tell {site.support}") from None
