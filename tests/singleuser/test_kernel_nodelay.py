"""Speed-up ``kernel-nodelay`` where the server is not as it was: it leaves itself out, and nothing breaks."""

from __future__ import annotations

from .scripts import run_lines

# A server's application as far as the extension knows it.
APPLICATION = """
import logging
from types import SimpleNamespace
from tornado.web import Application, RequestHandler
from nbplatform_spawners.singleuser import extension, start
logging.basicConfig(format="%(levelname).1s %(message)s", level=logging.INFO)
start.chosen.add("kernel-nodelay")
def serverapp(rules=(), **settings):
    return SimpleNamespace(web_app=Application(list(rules), **settings), log=logging.getLogger("ServerApp"))
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


def test_it_does_nothing_in_a_server_that_did_not_ask_for_it() -> None:
    """Somebody may enable the extension by hand in a stock server: it loads, and changes nothing."""
    told, errors = run_lines(
        APPLICATION + STOCK + "start.chosen.clear()\napp = serverapp(kernel_websocket_connection_class=Stock)\n"
        "extension._load_jupyter_server_extension(app)\n"
        "tell(same=app.web_app.settings['kernel_websocket_connection_class'] is Stock)"
    )
    assert told == {"same": True}
    assert errors == "I speed-ups in use: none\n"
