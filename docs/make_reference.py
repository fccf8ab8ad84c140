"""Write what pages repeat of the code: settings, keys of the rules language, command line, refusals, audit events.

python docs/make_reference.py            write the pages
python docs/make_reference.py --check    exit 1 when a page is not what this would write
"""

from __future__ import annotations

import argparse
import configparser
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from traitlets import Enum

from nbplatform_spawners.cli import make_parser
from nbplatform_spawners.culler.app import IdleCuller
from nbplatform_spawners.culler.metrics import Metrics
from nbplatform_spawners.errors import REFUSALS
from nbplatform_spawners.oidc.refusals import LOGIN_REFUSALS
from nbplatform_spawners.rules.fields import LANGUAGE
from nbplatform_spawners.slurm_dask.service_app import SlurmService
from nbplatform_spawners.slurm_dask.service_metrics import ServiceMetrics

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SET_AS = {
    "PlatformSettings": "NbplatformSpawner",
    "LocalSettings": "LocalSpawner",
    "DockerSettings": "DockerFleetSpawner",
    "IdentitySettings": "IdentityMixin",
    "KeycloakSettings": "KeycloakAuthenticator",
    "CullerSettings": "IdleCuller",
    "UpstreamSettings": "IdleCuller",
    "SlurmSettings": "SlurmService",
}
"""Classes whose settings are set under the name of the class that administrators know."""
MARK = "<!-- generated: {} -->"


def registered_classes() -> list[type]:
    """Return the spawners and authenticators that ``setup.cfg`` registers, in its order, and the services."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    points = config["options.entry_points"]
    lines = [
        line for group in ("jupyterhub.spawners", "jupyterhub.authenticators") for line in points[group].split("\n")
    ]
    targets = [line.partition("=")[2].strip() for line in lines if line.strip()]
    found = (at.partition(":") for at in targets)
    return [*(getattr(importlib.import_module(module), name) for module, _, name in found), IdleCuller, SlurmService]


def project_settings() -> dict[str, dict[str, Any]]:
    """Return the project's own settings: name of the class they are set under, to name, to trait."""
    found: dict[str, dict[str, Any]] = {}
    for registered in registered_classes():
        for owner in registered.__mro__:
            if owner.__module__.startswith("nbplatform_spawners") and hasattr(owner, "class_traits"):
                own = {
                    name: trait for name, trait in owner.class_traits(config=True).items() if trait.this_class is owner
                }
                if own:
                    found.setdefault(SET_AS.get(owner.__name__, owner.__name__), {}).update(own)
    return found


def help_of(trait: Any) -> str:
    """Return a setting's help as Markdown: paragraphs of one sentence a line."""
    text = inspect.cleandoc(trait.help).replace("``", "`")
    text = re.sub(r"\.\. versionadded:: *(\S+)", r"Since version \1.", text)
    text = re.sub(r":\w+:`([^`]*)`", r"`\1`", text)
    return "\n\n".join(_paragraph(paragraph) for paragraph in re.split(r"\n\s*\n", text))


def _paragraph(text: str) -> str:
    """Return a paragraph, or a list, with one sentence or one entry a line."""
    entries = (re.sub(r"\s+", " ", entry).strip() for entry in re.split(r"\n(?=- )", text))
    return "\n".join(re.sub(r"(?<=[a-z`\")\d]\.) +(?=[A-Z`\d])", "\n", entry) for entry in entries)


def settings_page() -> str:
    """Return ``reference/settings.md``'s generated part."""
    lines = []
    for owner, traits in project_settings().items():
        lines += [f"## {owner}", ""]
        for name, trait in sorted(traits.items()):
            kind = type(trait).__name__
            lines += [f"### `c.{owner}.{name}`", "", f"{kind}.", "", help_of(trait), ""]
    return "\n".join(lines).rstrip() + "\n"


def rules_tables() -> str:
    """Return the tables of every key of the rules language, by place."""
    lines = []
    for place, said in LANGUAGE.places.items():
        lines += [f"### Keys of {said}", "", "| key | meaning |", "|---|---|"]
        for name, key in LANGUAGE.at[place].items():
            needed = " Required." if key.required else ""
            lines.append(f"| `{name}` | {_cell(_quoted(key.help))}{needed} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def cli_page() -> str:
    """Return every command with its description, arguments and flags."""
    lines = []
    for command, parser in commands(make_parser()):
        arguments = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
        shown = [action for action in arguments if action.dest != "help"]
        title = " ".join([command, *(str(action.metavar) for action in shown if not action.option_strings)])
        lines += [f"## `{title}`", "", "```text", (parser.description or "").strip(), "```", ""]
        if shown:
            lines += ["| argument | meaning |", "|---|---|"]
            lines += [f"| `{_argument(action)}` | {_cell(_help(action))} |" for action in shown]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def culler_table() -> str:
    """Return the options of the culler's command: what each sets, in a sentence."""
    return _options_of(IdleCuller)


def slurm_service_table() -> str:
    """Return the options of the command of the service for Slurm."""
    return _options_of(SlurmService)


def _options_of(service: Any) -> str:
    lines = ["| option | sets | meaning |", "|---|---|---|"]
    for option, target in sorted(service.aliases.items()):
        owner, _, name = target.partition(".")
        if owner == service.__name__:
            trait = getattr(service, name)
            sets = f"[`{name}`](settings.md#c{owner.lower()}{name})"
            lines.append(f"| `--{option}={_value_of(trait)}` | {sets} | {_cell(_first_sentence(trait))} |")
    for flag, (_, said) in sorted(service.flags.items()):
        lines.append(f"| `--{flag}` | | {_cell(said)} |")
    return "\n".join(lines) + "\n"


def _value_of(trait: Any) -> str:
    if isinstance(trait, Enum):
        return "\\|".join(trait.values)
    kinds = {"Bool": "BOOL", "Int": "N", "List": "WORD"}
    return kinds.get(type(trait).__name__, "TEXT")


def _first_sentence(trait: Any) -> str:
    text = re.sub(r"\s+", " ", trait.help.partition("Default: ")[0]).replace("``", "`").strip()
    return re.split(r"(?<=[.:]) +(?=[A-Z])", text)[0]


def refusals_table() -> str:
    """Return the labels of refusals with what they say to a user."""
    rows = [f"| `{label}` | {kind.meaning} | {kind.advice} |" for label, kind in REFUSALS.items()]
    table = "\n".join(["| word | what it means | what you can do |", "|---|---|---|", *rows]) + "\n"
    return table.replace("{support}", "the support desk")


def login_refusals_table() -> str:
    """Return the reasons of refused logins with their status and what they say to a person."""
    rows = [
        f"| `{reason}` | {kind.status} | {kind.meaning} | {kind.advice} |" for reason, kind in LOGIN_REFUSALS.items()
    ]
    head = ["| reason | status | what it means | what the person can do |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]).replace("{support}", "the support desk") + "\n"


def audit_table() -> str:
    """Return the fields of an audit event, as its schema has them."""
    schema = json.loads((DOCS / "reference" / "audit-event.schema.json").read_text(encoding="utf-8"))
    lines = ["| field | | meaning |", "|---|---|---|"]
    for name, field in _fields(schema, ""):
        plain = schema["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
        lines.append(f"| `{name}` | {_type_of(field, plain)} | {_cell(_meaning(field, plain))} |")
    return "\n".join(lines) + "\n"


def metrics_table() -> str:
    """Return the culler's metrics with their labels."""
    return _metrics_of(Metrics())


def slurm_metrics_table() -> str:
    """Return the metrics of the service for Slurm."""
    return _metrics_of(ServiceMetrics())


def _metrics_of(metrics: object) -> str:
    found = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    lines = ["| metric | labels | meaning |", "|---|---|---|"]
    for metric in found:
        name = metric._name + ("_total" if metric._type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        lines.append(f"| `{name}` | {labels} | {metric._documentation} ({metric._type}) |")
    return "\n".join(lines) + "\n"


def _fields(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema["properties"].items():
        if "properties" in field:
            yield from _fields(field, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _type_of(field: dict[str, Any], plain: dict[str, Any]) -> str:
    if field.get("$ref", "").endswith("/time"):
        return "time, UTC"
    words = {"string": "text", "array": "list of texts", "integer": "whole number", "object": "object"}
    return words.get(plain.get("type", ""), "text")


def _meaning(field: dict[str, Any], plain: dict[str, Any]) -> str:
    """Return what a field means: its description, and the values that it may have where they are few."""
    found = [field["description"]] if "description" in field else []
    values = plain.get("enum", plain.get("items", {}).get("enum", ()))
    if "const" in plain:
        found.append(f"always `{json.dumps(plain['const'])}`")
    elif values:
        found.append(f"one of {', '.join(f'`{value}`' for value in values)}")
    return "; ".join(found)


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command that does something, by its full name."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser.prog, parser
    for action in below:
        for child in action.choices.values():
            yield from commands(child)


def _argument(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings)
    value = "" if action.nargs == 0 else action.metavar or "|".join(map(str, action.choices or ()))
    return f"{name} {value}".strip().replace("|", "\\|")


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("(%(default)s)", f"(default: `{action.default}`)")


def _quoted(text: str) -> str:
    return re.sub(r"'([^' ]+)'", r"`\1`", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


GENERATED = {
    "reference/settings.md": {"settings": settings_page},
    "reference/rules.md": {"keys": rules_tables},
    "reference/cli.md": {"commands": cli_page, "culler": culler_table, "slurm service": slurm_service_table},
    "tutorials/your-server.md": {"refusals": refusals_table},
    "how-to/keycloak.md": {"login refusals": login_refusals_table},
    "how-to/audit.md": {"audit fields": audit_table},
    "how-to/culler.md": {"culler metrics": metrics_table},
    "how-to/dask-on-slurm.md": {"slurm metrics": slurm_metrics_table},
}
"""Page below ``docs`` to what is generated in it, by the name in its marks."""


def filled(page: str) -> str:
    """Return a page with its generated parts made anew.

    Args:
        page: one of ``GENERATED``.

    Raises:
        ValueError: the page lacks a mark.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, make in GENERATED[page].items():
        begin, end = MARK.format(name), MARK.format(f"end of {name}")
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise ValueError(f"docs/{page} lacks the lines {begin} and {end}")
        text = f"{before}{begin}\n\n{make()}\n{end}{after}"
    return text


def main() -> int:
    """Write the pages, or check them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = [page for page in GENERATED if filled(page) != (DOCS / page).read_text(encoding="utf-8")]
    for page in stale:
        sys.stdout.write(f"docs/{page} {'is not up to date' if check else 'written'}\n")
        if not check:
            (DOCS / page).write_text(filled(page), encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
