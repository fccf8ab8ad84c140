"""What a spawn request may ask for: one profile, whichever way it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Refusal
from ..names import bounded

PROFILE = "profile"
_MOST_SHOWN = 3


def form_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form's or the query's fields as user options: a list of one value becomes the value.

    Nothing is judged here: what is wrong is refused at the spawn, the same for form, URL and REST API.
    """
    return {
        key: values[0] if isinstance(values, list) and len(values) == 1 else values
        for key, values in data.items()
        if key != "_xsrf" and not key.endswith("_file")
    }


def judged_at_start(_spawner: object, _options: object) -> None:
    """Do nothing with the options, as the hub's ``apply_user_options``.

    They are judged in ``start``, the same for every way a request comes; an error here would be logged as a trace.
    """


def requested_profile(options: object, known: Mapping[str, Any]) -> str | None:
    """Return the name of the profile asked for, None when none was.

    Args:
        options: the hub's ``user_options``, of any type: a REST request may hold any JSON.
        known: the profiles that exist.

    Raises:
        Refusal: ``options`` for anything but one ``profile``; ``not-allowed`` for a profile that does not exist.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise Refusal("options", 'the options of a server must be an object such as {"profile": "cpu"}')
    unknown = [key for key in options if key != PROFILE]
    if unknown:
        shown = ", ".join(bounded(key, 40) for key in unknown[:_MOST_SHOWN])
        raise Refusal("options", f"unknown option {shown}; the only option is 'profile'")
    wanted = options.get(PROFILE)
    if isinstance(wanted, list) and len(wanted) == 1:
        wanted = wanted[0]
    if wanted is None or wanted == "":
        return None
    if not isinstance(wanted, str):
        raise Refusal("options", "the option 'profile' must be one name")
    if wanted not in known:
        raise Refusal("not-allowed", f"there is no profile {bounded(wanted, 40)}; choose one on the spawn page")
    return wanted
