"""How a test asks for a component that the machine may lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import pytest

from . import MissingComponent

Component = TypeVar("Component")


@contextmanager
def need(component: AbstractContextManager[Component]) -> Iterator[Component]:
    """Enter a component, or skip the test with the reason why the machine lacks it.

    ``with need(browser()) as driver: ...``.  Only what the component says while it starts counts as lacking.
    """
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(component)
        except MissingComponent as lacking:
            pytest.skip(str(lacking))
        yield entered
