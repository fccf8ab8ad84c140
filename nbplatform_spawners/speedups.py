"""The speed-ups of the single-user server, as hub and server name them."""

SPEEDUPS = ("kernel-nodelay", "lean-import", "late-gc")
"""Every one there is, see ``singleuser``."""

SPEEDUPS_ENV = "NBPLATFORM_SPEEDUPS"
"""Environment variable of a server: the names of those it shall use, with spaces between; unset means all."""
