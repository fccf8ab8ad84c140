"""Deleting users who have not been there for long, as upstream's culler does it: for sites of temporary users."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..hub_api import HubApi, HubError
from ..names import bounded
from .models import time_of


@dataclass(frozen=True)
class UserLimits:
    """When a user is deleted.

    Attributes:
        timeout: seconds since their last activity.
        max_age: seconds since they were made; None for never.
        admins: whether administrators are, too.
    """

    timeout: int
    max_age: int | None
    admins: bool


def is_over(user: Mapping[str, Any], limits: UserLimits, now: datetime) -> bool:
    """Tell whether a user is to be deleted: nobody with a server, or about whom nothing is known, is.

    Args:
        user: the hub's model.
        limits: of the command line.
        now: aware time.
    """
    if user.get("servers") or user.get("server") or user.get("pending"):
        return False
    created = time_of(user.get("created"))
    active = time_of(user.get("last_activity")) or created
    if (
        active is not None
        and now - active >= timedelta(seconds=limits.timeout)
        and (limits.admins or not user.get("admin"))
    ):
        return True
    return limits.max_age is not None and created is not None and now - created >= timedelta(seconds=limits.max_age)


async def cull_users(hub: HubApi, limits: UserLimits, now: datetime, log: logging.Logger) -> list[str]:
    """Delete the users who are over; returns their names.

    Raises:
        HubError: the hub cannot be asked for its users.
    """
    gone = []
    for user in await hub.users(state="inactive"):
        if not is_over(user, limits, now):
            continue
        try:
            await hub.delete_user(user["name"])
        except HubError as error:
            log.warning("user=%s is not deleted: %s", bounded(user["name"]), error)
        else:
            log.info("deleted user=%s: not there since %s", bounded(user["name"]), user.get("last_activity"))
            gone.append(user["name"])
    return gone
