"""Real components that tests, benchmarks and the demo share: context managers that clean up even when killed."""

from __future__ import annotations


class MissingComponent(Exception):
    """This machine lacks something that a component needs.  The message is one sentence: what, and how to get it."""
