"""Stopping a server by a form: JupyterHub's own pages stop servers by JavaScript alone."""

from __future__ import annotations

import asyncio

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado import web

GIVE_UP_WAIT = 5.0
"""Seconds that a start which is given up has to clean up after itself."""


class StopFormHandler(BaseHandler):  # type: ignore[misc]
    """``POST /hub/stop-server/USER[/SERVER]``: stops a server, or gives up its start, and goes to the home page.

    It does what ``DELETE /hub/api/users/USER/server`` does, for whoever may do that.  The hub checks the form's
    ``_xsrf`` before.
    """

    @web.authenticated
    @needs_scope("delete:servers")  # type: ignore[untyped-decorator]
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Stop the server; one that does not run is no mistake."""
        user = self.find_user(user_name)
        if user is None or server_name not in user.spawners:
            raise web.HTTPError(404, "there is no such server")
        spawner = user.spawners[server_name]
        is_starting = spawner.pending == "spawn"
        if is_starting and spawner._spawn_future:
            self.log.info("giving up the start of %s", spawner._log_name)
            spawner._spawn_future.cancel()
            await asyncio.wait({spawner._spawn_future}, timeout=GIVE_UP_WAIT)
        if spawner.pending is None and (is_starting or spawner.ready):
            await self.stop_single_user(user, server_name)
        self.redirect(self.hub.base_url + "home")


STOP_HANDLERS = [(r"/stop-server/([^/]+)", StopFormHandler), (r"/stop-server/([^/]+)/([^/]+)", StopFormHandler)]
"""For ``Authenticator.get_handlers``; below ``/hub``."""
