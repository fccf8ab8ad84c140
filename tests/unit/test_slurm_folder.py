"""The folder of one cluster: private whatever the umask, the neighbours and the jobs do."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbplatform_spawners.slurm_dask.certificates import make_certificate
from nbplatform_spawners.slurm_dask.errors import ClusterFailed, ClusterRefused
from nbplatform_spawners.slurm_dask.folder import CERT, ClusterFolder, remove_expired

CLUSTER = "0123456789ab"


def mode(path: Path) -> int:
    """Return the permissions of a path."""
    return path.lstat().st_mode & 0o7777


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the folders of clusters will lie; nothing of it is there."""
    return tmp_path / ".nbplatform" / "dask"


@pytest.fixture
def folder(root: Path) -> ClusterFolder:
    """Make the folder of a cluster."""
    return ClusterFolder.make(str(root), CLUSTER)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o002, 0o077])
def test_all_that_is_made_is_the_users_alone(root: Path, umask: int) -> None:
    """0700 for every folder on the way, 0600 for every file, whatever the umask is."""
    before = os.umask(umask)
    try:
        folder = ClusterFolder.make(str(root), CLUSTER)
        path = folder.write("tls.key", b"secret")
        log = folder.make_inside("log")
    finally:
        os.umask(before)
    assert {mode(one) for one in (root.parent, root, folder.path, log)} == {0o700}
    assert mode(path) == 0o600
    assert path == root / CLUSTER / "tls.key"
    assert folder.names() == ["log", "tls.key"]


def test_a_file_is_written_once_and_whole(folder: ClusterFolder) -> None:
    """A second write is refused, and nothing else is left beside the file."""
    folder.write("expected.json", b"{}")
    with pytest.raises(ClusterRefused, match="exists already"):
        folder.write("expected.json", b"other")
    assert folder.read("expected.json") == b"{}"
    assert folder.names() == ["expected.json"]


def test_no_link_is_followed(folder: ClusterFolder, tmp_path: Path) -> None:
    """What lies in a link's place is neither written nor read, and never removed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    (folder.path / "tls.key").symlink_to(outside / "new")
    (folder.path / "scheduler.json").symlink_to(outside / "precious")
    (folder.path / "log").symlink_to(outside)
    with pytest.raises(ClusterRefused, match="exists already"):
        folder.write("tls.key", b"secret")
    with pytest.raises(ClusterFailed, match="cannot be read"):
        folder.read("scheduler.json")
    with pytest.raises(ClusterFailed, match="cannot be read"):
        folder.read("log/precious")
    with pytest.raises(ClusterRefused, match="cannot be made"):
        folder.make_inside("log")
    assert folder.tail("log/precious") == ""
    assert folder.names("log") == []
    assert folder.remove()
    assert (outside / "precious").read_text() == "kept"
    assert sorted(os.listdir(outside)) == ["precious"]


def test_what_jobs_write_is_read_with_care(folder: ClusterFolder) -> None:
    """A pipe does not hang, a file that is too long is an error, and what is not there is None."""
    os.mkfifo(folder.path / "pipe", 0o600)
    with pytest.raises(ClusterFailed, match="not your own file"):
        folder.read("pipe")
    (folder.path / "long").write_bytes(b"x" * 101)
    with pytest.raises(ClusterFailed, match="more than 100 bytes"):
        folder.read("long", limit=100)
    assert folder.read("long", limit=101) == b"x" * 101
    assert folder.read("none") is None
    assert folder.read("log/none") is None


def test_the_end_of_a_log_is_text(folder: ClusterFolder) -> None:
    """The last bytes, whatever they are; none where there is no log."""
    log = folder.make_inside("log")
    assert folder.make_inside("log") == log
    (log / "job.log").write_bytes(b"a" * 5000 + b"\xff the end\n")
    assert folder.tail("log/job.log", 10) == "\ufffd the end\n"
    assert folder.tail("log/none") == ""
    assert folder.names("log") == ["job.log"]
    assert folder.names("none") == []


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", ".hidden", "a\0b", "a\nb", "x" * 129, "/etc/x"])
def test_a_name_stays_in_the_folder(folder: ClusterFolder, name: str) -> None:
    """Nothing but a plain name is written or read."""
    with pytest.raises(ValueError, match="no name"):
        folder.write(name, b"")
    with pytest.raises(ValueError, match="no name"):
        folder.read(name)


@pytest.mark.parametrize(
    "root", ["relative", "", "/tmp/a b", "/tmp/a\n#SBATCH --uid=0", "/tmp/%u", "/tmp/../x", "/tmp/$(id)", "/tmp/'x'"]
)
def test_a_path_that_means_something_to_a_job_is_refused(root: str) -> None:
    """The path stands in scripts and in Slurm's patterns of file names."""
    with pytest.raises(ClusterRefused, match="job script"):
        ClusterFolder.make(root, CLUSTER)


@pytest.mark.parametrize("cluster", ["", "0123", "0123456789AB", "../../../../x", "0123456789abc"])
def test_a_folder_is_named_by_an_id(root: Path, cluster: str) -> None:
    """Twelve lowercase hex digits."""
    with pytest.raises(ValueError, match="12 lowercase hex digits"):
        ClusterFolder.make(str(root), cluster)


def test_others_must_not_be_able_to_exchange_it(root: Path) -> None:
    """A folder above that others may write is refused, unless it keeps them off each other's (sticky, as /tmp)."""
    root.mkdir(parents=True)
    root.chmod(0o770)
    with pytest.raises(ClusterRefused, match="chmod 700"):
        ClusterFolder.make(str(root), CLUSTER)
    root.chmod(0o1777)
    ClusterFolder.make(str(root), CLUSTER)


def test_a_folder_that_exists_is_not_taken(folder: ClusterFolder, root: Path) -> None:
    """Whoever made it, it is not the new cluster's; so is a file in the place of a folder above."""
    with pytest.raises(ClusterRefused, match="File exists"):
        ClusterFolder.make(str(root), CLUSTER)
    (root / "file").write_text("")
    with pytest.raises(ClusterRefused, match="cannot be made"):
        ClusterFolder.make(str(root / "file"), CLUSTER)


def test_a_folder_of_somebody_else_is_not_used(folder: ClusterFolder, root: Path) -> None:
    """Another owner, or rights of others, end all use of it."""
    folder.path.chmod(0o750)
    with pytest.raises(ClusterFailed, match="chmod 700"):
        folder.read("scheduler.json")
    folder.path.chmod(0o700)
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody else")
    os.chown(folder.path, 62001, 62001)
    with pytest.raises(ClusterFailed, match="somebody else"):
        folder.write("tls.key", b"")
    os.chown(root, 62001, 62001)
    with pytest.raises(ClusterRefused, match="somebody else"):
        ClusterFolder.make(str(root), "ba9876543210")


def test_only_folders_of_expired_certificates_are_removed(root: Path) -> None:
    """What nobody closed is removed once nothing can use it; all else stays."""
    now = datetime.now(UTC)
    made = {}
    for cluster, begun in (("a" * 12, now - timedelta(days=2)), ("b" * 12, now)):
        made[cluster] = ClusterFolder.make(str(root), cluster)
        made[cluster].write(CERT, make_certificate(cluster, begun, 3600).cert)
    ClusterFolder.make(str(root), "c" * 12)
    ClusterFolder.make(str(root), "d" * 12).write(CERT, b"no certificate")
    (root / "notes").mkdir()
    assert remove_expired(str(root), now) == ["a" * 12]
    assert sorted(os.listdir(root)) == ["b" * 12, "c" * 12, "d" * 12, "notes"]
    assert remove_expired(str(root / "nowhere"), now) == []
