"""Speed-up ``kernel-nodelay``: messages of kernels and terminals are sent at once.

Each message is a small packet.  Without ``TCP_NODELAY`` the system keeps the second one back until the first is
acknowledged, which the other side puts off for 40 ms: a cell's reply, or a command's output, is late every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server_terminals.handlers import TermSocket
from tornado.routing import Rule, RuleRouter

from . import start

NAME = "kernel-nodelay"
SETTING = "kernel_websocket_connection_class"


class NoDelayConnection(ZMQChannelsWebsocketConnection):
    """The stock connection between a WebSocket and a kernel, over a socket that does not wait."""

    def connect(self) -> Any:
        """Connect as stock does.  Called by the WebSocket's handler when it is open."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()


class NoDelayTerminal(TermSocket):
    """The stock WebSocket of a terminal, over a socket that does not wait."""

    def open(self, *args: Any) -> None:
        """Open as stock does.  Called by Tornado."""
        self.set_nodelay(True)
        super().open(*args)


def apply(serverapp: Any) -> None:
    """Put these classes in the stock ones' places; an administrator's own, or those of a gateway, stay.

    Args:
        serverapp: the server's application, loaded with its extensions but not started.
    """
    settings = serverapp.web_app.settings
    if SETTING not in settings:
        start.leave_out(NAME, f"the server has no setting {SETTING} any more")
        return
    if settings[SETTING] is ZMQChannelsWebsocketConnection:
        settings[SETTING] = serverapp.kernel_websocket_connection_class = NoDelayConnection
        start.in_use.append(NAME)
    else:
        start.log.info("speed-up %s leaves the kernels' own %s alone", NAME, settings[SETTING])
    for rule in rules_of(serverapp.web_app.default_router):
        if rule.target is TermSocket:
            rule.target = NoDelayTerminal


def rules_of(router: RuleRouter) -> Iterator[Rule]:
    """Yield the rules of a router and of those below it: which handler serves which path."""
    for rule in router.rules:
        yield rule
        if isinstance(rule.target, RuleRouter):
            yield from rules_of(rule.target)
