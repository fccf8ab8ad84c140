"""Speed-up ``kernel-nodelay`` where the server is not as it was: it leaves itself out, and nothing breaks."""

from __future__ import annotations

import pytest

from .scripts import run_lines

# A server's application as far as the extension knows it.
APPLICATION = """
import logging
from types import SimpleNamespace
from tornado.web import Application, RequestHandler
from nbplatform_spawners.singleuser import extension, start
logging.basicConfig(format="%(levelname).1s %(message)s", level=logging.INFO)
start.chosen.add("kernel-nodelay")
extension._answer_the_culler = lambda serverapp: None  # needs a whole application
def serverapp(rules=(), **settings):
    return SimpleNamespace(web_app=Application(list(rules), **settings), log=logging.getLogger("ServerApp"))
"""
# The double's settings are those of a server with terminals, their handler included.
WHOLE = """
def whole(terminals=None, kernels=None):
    from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
    from jupyter_server_terminals.handlers import TermSocket
    rules = [(r'/terminals/websocket/(\\w+)', terminals or TermSocket, {'term_manager': 1})]
    return serverapp(rules, kernel_websocket_connection_class=kernels or ZMQChannelsWebsocketConnection,
                     terminals_available=True)
"""
LOAD = """
extension._load_jupyter_server_extension(app)
tell(used=start.in_use)
"""


def test_a_server_without_the_setting_is_left_alone() -> None:
    """A server that chooses its connection in another way works as it does, and the log says so."""
    told, errors = run_lines(APPLICATION + "app = serverapp()\n" + LOAD)
    assert told == {"used": []}
    assert errors == (
        "W speed-up kernel-nodelay leaves itself out:"
        " the server has no setting kernel_websocket_connection_class any more\n"
        "I speed-ups in use: none\n"
    )


def test_a_server_without_the_class_is_left_alone() -> None:
    """Where what it builds on was moved away, the extension still loads."""
    gone = 'sys.modules["jupyter_server.services.kernels.connection.channels"] = None\n'
    told, errors = run_lines(APPLICATION + gone + "app = serverapp(kernel_websocket_connection_class=object)\n" + LOAD)
    assert told == {"used": []}
    assert errors.startswith("W speed-up kernel-nodelay leaves itself out: what it builds on is gone: ")
    assert errors.endswith("I speed-ups in use: none\n")


CLASSES = """
from nbplatform_spawners.singleuser.kernel_nodelay import rules_of
targets = [getattr(rule.target, "__name__", "") for rule in rules_of(app.web_app.default_router)]
tell(kernels=app.web_app.settings["kernel_websocket_connection_class"].__name__,
     terminals=[name for name in targets if name.endswith("Terminal") or name.endswith("Socket") or name == "Own"],
     used=start.in_use)
"""
STOCK = """
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection as Stock
from jupyter_server_terminals.handlers import TermSocket
"""


def test_only_the_stock_classes_are_replaced() -> None:
    """A terminal's handler is found however deep its rule lies; a class made from it is somebody's own."""
    told, _ = run_lines(
        APPLICATION + STOCK + "class Own(TermSocket): pass\n"
        "rules = [('/own', Own), ('/page', RequestHandler)]\n"
        "app = serverapp(rules, kernel_websocket_connection_class=Stock)\n"
        "app.web_app.add_handlers('.*$', [(r'/terminals/websocket/(\\w+)', TermSocket, {'term_manager': 1})])\n"
        "extension._load_jupyter_server_extension(app)\n"
        "from nbplatform_spawners.singleuser.kernel_nodelay import rules_of\n"
        "targets = [getattr(rule.target, '__name__', '') for rule in rules_of(app.web_app.default_router)]\n"
        "kernels = app.web_app.settings['kernel_websocket_connection_class'].__name__\n"
        "own = app.kernel_websocket_connection_class.__name__\n"
        "tell(targets=sorted(filter(None, targets)), kernels=kernels, own=own)"
    )
    assert told["targets"] == ["NoDelayTerminal", "Own", "RequestHandler"]
    assert told["kernels"] == told["own"] == "NoDelayConnection"


# id, lines before the server is loaded, why it leaves itself out
GONE = [
    (
        "Tornado sets no option any more",
        "from tornado.websocket import WebSocketHandler\ndel WebSocketHandler.set_nodelay\n",
        "there is no WebSocketHandler.set_nodelay any more",
    ),
    (
        "the option is no method any more",
        "from tornado.websocket import WebSocketHandler\nWebSocketHandler.set_nodelay = True\n",
        "there is no WebSocketHandler.set_nodelay any more",
    ),
    (
        "the connection connects in another way, and terminals open in another",
        "from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection\n"
        "from jupyter_server_terminals.handlers import TermSocket\nfrom tornado.websocket import WebSocketHandler\n"
        "import terminado.websocket\nfrom jupyter_server.services.kernels.connection import channels\n"
        "del channels.ZMQChannelsWebsocketConnection.connect, BaseKernelWebsocketConnection.connect\n"
        "del terminado.websocket.TermSocket.open, WebSocketHandler.open\n"
        "from jupyter_server.base.websocket import WebSocketMixin\ndel WebSocketMixin.open\n",
        "there is no ZMQChannelsWebsocketConnection.connect and no TermSocket.open any more",
    ),
]


@pytest.mark.parametrize(("_", "lines", "why"), GONE, ids=[row[0] for row in GONE])
def test_a_server_without_what_is_called_is_left_alone(_: str, lines: str, why: str) -> None:
    """A method that is gone is seen before any connection needs it: everything stays stock, and one line says why."""
    told, errors = run_lines(
        APPLICATION + WHOLE + lines + "app = whole()\nextension._load_jupyter_server_extension(app)\n" + CLASSES
    )
    assert told == {"kernels": "ZMQChannelsWebsocketConnection", "terminals": ["TermSocket"], "used": []}
    assert errors == f"W speed-up kernel-nodelay leaves itself out: {why}\nI speed-ups in use: none\n"


OWN = "from jupyter_server_terminals.handlers import TermSocket\nclass Own(TermSocket): pass\n"
KERNELS_OWN = (
    "from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection\n"
    "class OwnConnection(ZMQChannelsWebsocketConnection): pass\n"
)
# id, arguments of the double, what is in use, whose own class is told
PARTS = [
    ("kernels and terminals", "", ["kernel-nodelay"], []),
    ("kernels alone", "terminals=Own", ["kernel-nodelay"], ["the terminals alone: none is served by <class "]),
    ("terminals alone", "kernels=OwnConnection", ["kernel-nodelay"], ["the kernels' own <class "]),
    (
        "neither",
        "terminals=Own, kernels=OwnConnection",
        [],
        ["the kernels' own <class ", "the terminals alone: none is served by <class "],
    ),
]


@pytest.mark.parametrize(("_", "arguments", "used", "alone"), PARTS, ids=[row[0] for row in PARTS])
def test_what_is_left_alone_is_told(_: str, arguments: str, used: list[str], alone: list[str]) -> None:
    """Terminals as well as kernels; the name is listed where one of them is sent at once, and only there."""
    told, errors = run_lines(
        APPLICATION + WHOLE + OWN + KERNELS_OWN + f"app = whole({arguments})\n"
        "extension._load_jupyter_server_extension(app)\n" + CLASSES
    )
    assert told["used"] == used
    *lines, last = errors.splitlines()
    assert last == f"I speed-ups in use: {', '.join(used) or 'none'}"
    assert len(lines) == len(alone)
    for line, one in zip(lines, alone, strict=True):
        assert line.startswith(f"I speed-up kernel-nodelay leaves {one}")


def test_a_second_load_finds_its_work_done() -> None:
    """A server may load its extensions twice: nothing is told but the line, and the name is listed once."""
    told, errors = run_lines(
        APPLICATION + WHOLE + "app = whole()\n" + "extension._load_jupyter_server_extension(app)\n" * 2 + CLASSES
    )
    assert told == {"kernels": "NoDelayConnection", "terminals": ["NoDelayTerminal"], "used": ["kernel-nodelay"]}
    assert errors == "I speed-ups in use: kernel-nodelay\n" * 2


def test_it_does_nothing_in_a_server_that_did_not_ask_for_it() -> None:
    """Somebody may enable the extension by hand in a stock server: it loads, and changes nothing."""
    told, errors = run_lines(
        APPLICATION + STOCK + "start.chosen.clear()\napp = serverapp(kernel_websocket_connection_class=Stock)\n"
        "extension._load_jupyter_server_extension(app)\n"
        "tell(same=app.web_app.settings['kernel_websocket_connection_class'] is Stock)"
    )
    assert told == {"same": True}
    assert errors == "I speed-ups in use: none\n"
