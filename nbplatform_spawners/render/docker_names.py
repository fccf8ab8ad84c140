"""The names that a container needs of its user and groups, as an archive that Docker unpacks before the start."""

from __future__ import annotations

import io
import tarfile

from ..identity import Identity
from .etc_files import merged_group, merged_passwd


def names_archive(identity: Identity, passwd: str, group: str) -> bytes:
    """Return a tar archive for the root folder of a container: ``etc/passwd`` and ``etc/group``.

    The same input gives the same bytes.

    Args:
        identity: whose names.
        passwd, group: what the image has in these files; empty when it has none.

    Raises:
        Refusal: with the label ``account``, when a path of the account cannot stand in ``passwd``.
    """
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in (("passwd", merged_passwd(identity, passwd)), ("group", merged_group(identity, group))):
            content = text.encode("utf-8", "surrogateescape")
            entry = tarfile.TarInfo(f"etc/{name}")  # owned by root, with the time 0
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()
