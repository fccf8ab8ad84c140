"""What every login has in its environment, on every backend."""

from __future__ import annotations

from ..plan import SpawnPlan


def login_env(plan: SpawnPlan, home: str) -> dict[str, str]:
    """Return the plan's environment, and HOME, USER, LOGNAME and SHELL where the plan does not say them.

    Args:
        plan: whose environment.
        home: HOME where the plan sets none.
    """
    name = plan.identity.name
    return {"HOME": home, "USER": name, "LOGNAME": name, "SHELL": plan.identity.shell, **plan.env}
