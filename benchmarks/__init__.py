"""Benchmarks: ``./scripts/bench [NAME...] [--json]``.  A module here adds one by the decorator in ``runner``."""
