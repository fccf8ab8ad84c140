"""Extras that are compiled: an environment is made with them where it can be, and without them everywhere else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import optional_extras  # noqa: E402
import setup_env  # noqa: E402
from steps import StepError  # noqa: E402


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny package with the extra; its own cache, and no Debian packages for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(optional_extras, "can_apt", lambda: False)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "setup.cfg").write_text(
        "[metadata]\nname = tiny\n[options.extras_require]\nhub =\n  x\nldap =\n  one>=1,<2\n  two\n"
    )
    return folder


def test_an_extra_that_is_compiled_is_not_needed(checkout: Path) -> None:
    """All others are."""
    extras = setup_env.all_extras(checkout)
    assert (optional_extras.needed(extras), optional_extras.optional(extras)) == (["hub"], ["ldap"])


def test_what_it_installs_stands_in_the_settings_of_the_package(checkout: Path) -> None:
    """Not a second time elsewhere."""
    asked: list[list[str]] = []
    assert optional_extras.install_optional(["ldap"], checkout, checkout / "log", asked.append) == []
    assert asked == [["one>=1,<2", "two"]]


def test_where_it_cannot_be_had_the_rest_goes_on(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason, and what would help."""

    def fails(what: list[str]) -> None:
        raise StepError("pip failed: lber.h: No such file")

    assert optional_extras.install_optional(["ldap"], checkout, checkout / "log", fails) == ["ldap"]
    said = capsys.readouterr().err
    assert "pip failed: lber.h: No such file" in said
    assert "going on without [ldap], accounts in LDAP (as root: apt-get install gcc libc6-dev libldap2-dev" in said


def marker(folder: Path) -> dict[str, object]:
    """Return what an environment says about itself."""
    found: dict[str, object] = json.loads((folder / setup_env.MARKER).read_text())
    return found


def test_an_environment_without_it_is_complete_and_gets_it_once_it_can_be_had(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run looks, and tries again only where a compiler and the headers have come."""
    folder = checkout.parent / "cache" / "env"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    tried: list[list[str]] = []
    broken = [True]

    def pip(python: Path, what: list[str], log: Path) -> None:
        tried.append(what)
        if broken[0]:
            raise StepError("no headers")

    monkeypatch.setattr(setup_env, "pip_install", pip)
    monkeypatch.setattr(setup_env, "environment_folder", lambda *_: folder)
    setup_env.add_optional(folder, checkout, ["hub", "ldap"], ["ldap"])
    assert setup_env.is_complete(folder)
    assert marker(folder) == {"checkout": str(checkout), "extras": ["hub", "ldap"], "without": ["ldap"]}
    monkeypatch.setattr(optional_extras, "can_build", lambda extra: False)
    setup_env.ensure_environment(checkout, ["hub", "ldap"])
    assert len(tried) == 1
    monkeypatch.setattr(optional_extras, "can_build", lambda extra: True)
    broken[0] = False
    setup_env.ensure_environment(checkout, ["hub", "ldap"])
    setup_env.ensure_environment(checkout, ["hub", "ldap"])
    assert len(tried) == 2
    assert marker(folder)["without"] == []


def test_a_marker_of_an_older_run_is_no_reason_to_try(checkout: Path) -> None:
    """It lacks nothing that it knows of."""
    (checkout / setup_env.MARKER).write_text(json.dumps({"checkout": str(checkout), "extras": ["hub"]}))
    assert setup_env.to_try_again(checkout) == []
