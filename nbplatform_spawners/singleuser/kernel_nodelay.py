"""Speed-up ``kernel-nodelay``: messages of kernels and terminals are sent at once.

Each message is a small packet.  Without ``TCP_NODELAY`` the system keeps the second one back until the first is
acknowledged, which the other side puts off for 40 ms: a cell's reply, or a command's output, is late every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server_terminals.handlers import TermSocket
from tornado.routing import Rule, RuleRouter
from tornado.websocket import WebSocketHandler

from ..names import bounded
from . import start

NAME = "kernel-nodelay"
SETTING = "kernel_websocket_connection_class"
NEEDED = ((WebSocketHandler, "set_nodelay"), (ZMQChannelsWebsocketConnection, "connect"), (TermSocket, "open"))

_failed: list[str] = []
"""Why the option could not be set, once that has happened; it is not tried again."""


class NoDelayConnection(ZMQChannelsWebsocketConnection):
    """The stock connection between a WebSocket and a kernel, over a socket that does not wait."""

    def connect(self) -> Any:
        """Connect as stock does.  Called by the WebSocket's handler when it is open."""
        send_at_once(lambda: self.websocket_handler)
        return super().connect()


class NoDelayTerminal(TermSocket):
    """The stock WebSocket of a terminal, over a socket that does not wait."""

    def open(self, *args: Any) -> Any:
        """Open as stock does.  Called by Tornado."""
        send_at_once(lambda: self)
        return super().open(*args)


def send_at_once(handler: Callable[[], WebSocketHandler]) -> None:
    """Have a WebSocket's socket send at once; a connection never fails for it.

    Args:
        handler: returns the WebSocket's handler.
    """
    if _failed:
        return
    try:
        handler().set_nodelay(True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user's connection is worth more than the option
        _failed.append(f"set_nodelay failed: {bounded(repr(error))}")
        start.leave_out(NAME, _failed[0])


def apply(serverapp: Any) -> None:
    """Put these classes in the stock ones' places; an administrator's own, or those of a gateway, stay.

    Args:
        serverapp: the server's application, loaded with its extensions but not started.
    """
    settings = serverapp.web_app.settings
    gone = [f"{one.__name__}.{method}" for one, method in NEEDED if not callable(getattr(one, method, None))]
    if gone:
        start.leave_out(NAME, f"there is no {' and no '.join(gone)} any more")
    elif SETTING not in settings:
        start.leave_out(NAME, f"the server has no setting {SETTING} any more")
    else:
        kernels, terminals = _kernels(serverapp), _terminals(serverapp)
        if (kernels or terminals) and NAME not in start.in_use:
            start.in_use.append(NAME)


def _kernels(serverapp: Any) -> bool:
    """Return whether kernels are reached by our connection."""
    settings = serverapp.web_app.settings
    if settings[SETTING] is ZMQChannelsWebsocketConnection:
        settings[SETTING] = serverapp.kernel_websocket_connection_class = NoDelayConnection
    elif settings[SETTING] is not NoDelayConnection:  # which it is when extensions are loaded a second time
        start.log.info("speed-up %s leaves the kernels' own %s alone", NAME, settings[SETTING])
        return False
    return True


def _terminals(serverapp: Any) -> bool:
    """Return whether terminals are reached by our WebSocket."""
    rules = list(rules_of(serverapp.web_app.default_router))
    for rule in rules:
        if rule.target is TermSocket:
            rule.target = NoDelayTerminal
    found = any(rule.target is NoDelayTerminal for rule in rules)
    if not found and serverapp.web_app.settings.get("terminals_available"):
        start.log.info("speed-up %s leaves the terminals alone: none is served by %s", NAME, TermSocket)
    return found


def rules_of(router: RuleRouter) -> Iterator[Rule]:
    """Yield the rules of a router and of those below it: which handler serves which path."""
    for rule in router.rules:
        yield rule
        if isinstance(rule.target, RuleRouter):
            yield from rules_of(rule.target)
