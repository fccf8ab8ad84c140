"""The names that a container is given: the image's own, and those of its user."""

import io
import tarfile
from dataclasses import replace

import pytest

from nbplatform_spawners.errors import Refusal
from nbplatform_spawners.identity import Identity
from nbplatform_spawners.render.docker_names import names_archive
from tests.local.plans import ALICE

PASSWD = "root:x:0:0:root:/root:/bin/bash\njovyan:x:1000:100::/home/jovyan:/bin/bash\nsshd:x:105:65534::/run:/bin/no\n"
GROUP = "root:x:0:\nusers:x:100:jovyan\nsudo:x:27:jovyan\n"
OWN = "alice:x:61001:61000:alice:/home/alice:/bin/bash\n"
OWN_GROUPS = "physics:x:61000:alice\natlas:x:61100:alice\nml-2026:x:61200:alice\ngid61300:x:61300:alice\n"


def texts(archive: bytes) -> list[str]:
    """Return what is in the files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        found = [opened.extractfile(member) for member in opened.getmembers()]
        return [file.read().decode("utf-8", "surrogateescape") for file in found if file]


def test_the_images_names_stay_and_the_accounts_come_first() -> None:
    """Programs of the image go on knowing their own accounts."""
    assert texts(names_archive(ALICE, PASSWD, GROUP)) == [OWN + PASSWD, OWN_GROUPS + GROUP]


def test_an_image_without_such_files_gets_the_least_that_a_system_has() -> None:
    """An image from scratch has neither."""
    passwd, group = texts(names_archive(ALICE, "", ""))
    assert passwd.startswith(OWN + "root:x:0:0:")
    assert group.startswith(OWN_GROUPS + "root:x:0:")


def test_the_archive_holds_two_files_of_roots_and_nothing_else() -> None:
    """No folder is in it: Docker would give the image's own folder other rights."""
    with tarfile.open(fileobj=io.BytesIO(names_archive(ALICE, PASSWD, GROUP))) as archive:
        members = [(one.name, one.type, one.mode, one.uid, one.gid, one.mtime) for one in archive.getmembers()]
    assert members == [
        ("etc/passwd", tarfile.REGTYPE, 0o644, 0, 0, 0),
        ("etc/group", tarfile.REGTYPE, 0o644, 0, 0, 0),
    ]


def test_the_same_names_give_the_same_bytes() -> None:
    """Start, stop, start gives the same container."""
    assert names_archive(ALICE, PASSWD, GROUP) == names_archive(replace(ALICE), PASSWD, GROUP)


REPLACED = {
    "the same name": ("alice:x:1000:1000::/home/x:/bin/sh\n", "atlas:x:7:root\n", "", ""),
    "the same number": ("other:x:61001:5::/:/bin/sh\n", "other:x:61200:root\n", "", ""),
    "a line of another kind stays": ("+::::::\n# note\n", "+:::\n", "+::::::\n# note\n", "+:::\n"),
    "no end of line": ("x:x:5:5::/:/bin/sh", "x:x:5:", "x:x:5:5::/:/bin/sh\n", "x:x:5:\n"),
    "a number that only looks alike": (
        "y:x:61001x:5::/:/s\n",
        "y:x:061200:\n",
        "y:x:61001x:5::/:/s\n",
        "y:x:061200:\n",
    ),
    "far letters and bytes": ("é\u2028:x:5:5:\udcff:/:/s\n", "é:x:5:\n", "é\u2028:x:5:5:\udcff:/:/s\n", "é:x:5:\n"),
}


@pytest.mark.parametrize(("passwd", "group", "left", "left_group"), REPLACED.values(), ids=REPLACED)
def test_a_line_of_the_accounts_name_or_number_is_replaced(passwd: str, group: str, left: str, left_group: str) -> None:
    """Else a name would have two numbers, or a number two names."""
    found = texts(names_archive(ALICE, passwd, group))
    assert found == [OWN + left, OWN_GROUPS + left_group]


def test_a_colon_in_a_path_of_the_account_is_refused() -> None:
    """It would begin the next field."""
    identity = Identity("bob", 61002, 61000, {"physics": 61000}, "physics", "/home/a:b")
    with pytest.raises(Refusal, match="holds a colon") as caught:
        names_archive(identity, PASSWD, GROUP)
    assert caught.value.reason == "account"
