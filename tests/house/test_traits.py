"""A setting is its own manual: every trait that the project defines says what, default, example and since when."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType
from typing import Any

import pytest
from traitlets import Unicode
from traitlets.config import Configurable

from .pages import ROOT


def load_generator() -> ModuleType:
    """Return ``docs/make_reference.py`` as a module."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()
SETTINGS = [
    (owner, name, trait) for owner, traits in GENERATOR.project_settings().items() for name, trait in traits.items()
]
IDS = [f"{owner}.{name}" for owner, name, _ in SETTINGS]


def lacks(owner: str, name: str, text: str) -> list[str]:
    """Return what a setting's help does not say."""
    needed = {
        "a sentence on what it is": r"\S+ \S+ \S+",
        "its default": r"\bDefault: \S",
        "an example": rf"Example:\s*``c\.(\w+)\.{name} = .+``",
        "since when": r"^\s*\.\. versionadded:: \d+\.\d+\s*$",
    }
    return [what for what, pattern in needed.items() if not re.search(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize(("owner", "name", "trait"), SETTINGS, ids=IDS)
def test_help_says_what_default_example_and_since(owner: str, name: str, trait: Any) -> None:
    """Each setting's help can be read alone, in a generated configuration file."""
    assert not lacks(owner, name, trait.help or "")


@pytest.mark.parametrize(("owner", "name", "trait"), SETTINGS, ids=IDS)
def test_the_example_can_be_copied(owner: str, name: str, trait: Any) -> None:
    """The example is a line for ``jupyterhub_config.py`` that names a class on which the setting acts."""
    found = re.search(rf"``(c\.(\w+)\.{name} = (.+?))``", re.sub(r"\s+", " ", trait.help))
    assert found is not None
    compile(found[1], "<example>", "exec")
    named = {cls.__name__ for registered in GENERATOR.registered_classes() for cls in registered.__mro__}
    assert found[2] in named, f"no registered class has the name {found[2]}"
    trait._validate(trait.this_class.__new__(trait.this_class), eval(found[3]))  # the example's own value


def test_there_are_settings_of_spawners_and_authenticators() -> None:
    """The walk finds what is there: a test over an empty list would never fail."""
    assert {"LocalSpawner", "NbplatformSpawner", "IdentityMixin", "FileAuthenticator"} <= {row[0] for row in SETTINGS}
    assert "IdentityMixin.accounts" in IDS


def test_a_setting_without_a_manual_is_noticed() -> None:
    """The check can fail, for each thing that may be missing."""

    class Silent(Configurable):
        knob = Unicode("x", help="").tag(config=True)

    assert lacks("Silent", "knob", Silent.class_traits()["knob"].help) == [
        "a sentence on what it is",
        "its default",
        "an example",
        "since when",
    ]
    assert lacks("S", "k", "What it is.  Default: 1.  Example: ``c.S.k = 2``.") == ["since when"]


@pytest.mark.parametrize("page", GENERATOR.GENERATED)
def test_the_generated_reference_is_up_to_date(page: str) -> None:
    """What a committed page repeats of the code is what ``python docs/make_reference.py`` writes now."""
    assert GENERATOR.filled(page) == (GENERATOR.DOCS / page).read_text(encoding="utf-8"), (
        "run: python docs/make_reference.py"
    )


def test_every_command_and_flag_is_in_the_reference() -> None:
    """The page has a section for each command that does something, with each of its flags."""
    text = (GENERATOR.DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    found = dict(GENERATOR.commands(GENERATOR.make_parser()))
    assert {"nbplatform rules check", "nbplatform rules explain", "nbplatform accounts hash"} <= set(found)
    for command, parser in found.items():
        section = re.split(r"^## ", text.partition(f"## `{command}")[2], flags=re.MULTILINE)[0]
        assert section, command
        for action in parser._actions:
            for flag in set(action.option_strings) - {"-h", "--help"}:
                assert f"`{flag}" in section, f"{command} {flag}"
