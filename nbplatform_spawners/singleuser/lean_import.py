"""Speed-up ``lean-import``: a grammar that takes a second to build is built only when something needs it.

``jsonschema`` imports ``rfc3987_syntax``, which builds parsers of internationalised web addresses while it is
imported.  It uses them for the formats ``iri`` and ``iri-reference`` alone, which no schema of Jupyter has.  While
``jsonschema`` is imported, a stand-in takes the place of ``rfc3987_syntax``; its one function imports the real one
when it is first called.  ``jsonschema`` registers its checkers as ever: nothing is lost, only later.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import start

NAME = "lean-import"
USER, GRAMMAR, FUNCTION = "jsonschema", "rfc3987_syntax", "is_valid_syntax"
OTHER = "rfc3987"
"""Where this is installed, ``jsonschema`` uses it and not the grammar."""


class StandIn(ModuleType):
    """Takes the place of the module for the time of one import.

    Attributes:
        taken: whether somebody took the function.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        # Its submodules are found as ever.
        self.__path__ = list(spec.submodule_search_locations or ())
        self.taken = False

    def __getattr__(self, name: str) -> Any:
        if name == FUNCTION:
            self.taken = True
            return when_called
        if name.startswith("__"):  # asked for by the import itself
            raise AttributeError(name)
        return getattr(real_module(self), name)


def when_called(*args: Any, **options: Any) -> Any:
    """Do what the real function does; the first call imports it."""
    real: Callable[..., Any] = getattr(importlib.import_module(GRAMMAR), FUNCTION)
    return real(*args, **options)


def real_module(stand_in: ModuleType) -> ModuleType:
    """Return the real module, which takes its place back."""
    put_back(stand_in)
    return importlib.import_module(GRAMMAR)


def put_back(stand_in: ModuleType) -> None:
    """Take the stand-in out of the loaded modules; whoever imports the module next gets the real one."""
    if sys.modules.get(GRAMMAR) is stand_in:
        del sys.modules[GRAMMAR]


def apply() -> None:
    """Import ``jsonschema`` without the grammar; nothing where it is absent, unused or loaded already."""
    spec = importlib.util.find_spec(GRAMMAR)
    if spec is None or not importlib.util.find_spec(USER) or importlib.util.find_spec(OTHER):
        return
    if USER in sys.modules or GRAMMAR in sys.modules:
        start.leave_out(NAME, f"{USER} or {GRAMMAR} is loaded already")
        return
    stand_in = StandIn(spec)
    sys.modules[GRAMMAR] = stand_in
    try:
        importlib.import_module(USER)
    except ImportError as error:  # the server says so itself, where it needs it
        start.leave_out(NAME, f"{USER} cannot be imported: {error}")
    else:
        if stand_in.taken:
            start.in_use.append(NAME)
        else:
            start.leave_out(NAME, f"{USER} does not take {FUNCTION} of {GRAMMAR} any more")
    finally:
        put_back(stand_in)
