"""What a server is told about itself in its environment: what it starts elsewhere is known as its own by it."""

from __future__ import annotations

RUN_ENV = "NBPLATFORM_SERVER_RUN"
"""Which start of a server this is: 16 hexadecimal digits, made anew at each start, also kept in the server's state."""

HUB_ID_ENV = "NBPLATFORM_HUB_ID"
"""Which hub the server belongs to: ``c.NbplatformSpawner.hub_id``."""
