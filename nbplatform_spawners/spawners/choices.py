"""What stands on the spawn page for one user now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jupyterhub.utils import url_path_join

from ..errors import Refusal
from ..rules.engine import decide
from ..rules.model import Profile
from ..rules.units import format_count
from .free import look
from .options import requested_profile
from .page import PageSettings, render_choices

if TYPE_CHECKING:
    from .base import NbplatformSpawner

OLD = timedelta(minutes=15)
"""Age from which on people are told how old what the hub knows of their account is."""


async def choices(spawner: NbplatformSpawner) -> str:
    """Return the spawn page's form: every profile, what it gives and why, or why not.  Never empty.

    Called by the hub for each spawn page, as ``Spawner.options_form``.

    Args:
        spawner: whose page.
    """
    settings = PageSettings(
        spawner.site_name,
        spawner.help_text,
        spawner.support,
        servers_url=url_path_join(spawner.hub.base_url, "home"),
    )
    try:
        identity = await spawner.find_identity()
        book = spawner.book()
    except Refusal as refusal:
        return render_choices(replace(settings, problem=refusal), [], {})
    now = datetime.now(UTC)
    found = await look(spawner, [decide(book, identity, profile=name, now=now) for name in book.profiles])
    notice = _notice(spawner) or _age_notice(await spawner.user.get_auth_state() or {}, now)
    settings = replace(settings, notice=notice, last_used=_last_used(spawner, book.profiles))
    return render_choices(settings, found, book.profiles)


def _last_used(spawner: NbplatformSpawner, known: Mapping[str, Profile]) -> str | None:
    """Return the profile of this server's last start, which the hub keeps; None when it says none, or nonsense.

    None also when it has GPUs: what is scarce is asked for each time, nobody takes it because they did so before.
    """
    try:
        profile = requested_profile(spawner.user_options, known)
    except Refusal:
        return None
    return None if profile is None or known[profile].gpus else profile


def _notice(spawner: NbplatformSpawner) -> str | None:
    """Return what administrators are told about the rule files; None when all is well, or for other users."""
    problem = spawner.rules.problem
    if problem is None or not spawner.user.admin:
        return None
    count = format_count(len(problem.mistakes), "mistake")
    return f"The rule files hold {count}, the last good rules stay in use: {problem.mistakes[0]}"


def _age_notice(state: Mapping[str, object], now: datetime) -> str | None:
    """Return how old the hub's knowledge of an account is, None while it is fresh, or where that is not known."""
    try:
        age = now - datetime.fromisoformat(str(state.get("identity_as_of")))
    except (TypeError, ValueError):
        return None
    if age < OLD:
        return None
    minutes = format_count(int(age.total_seconds() // 60), "minute")
    return f"What is known of your account and groups is {minutes} old; it is asked for anew when you start a server"
