"""The language as JSON Schema, for editors: made from the same table as the parser."""

from __future__ import annotations

from typing import Any

from .case_fields import CASES
from .fields import LANGUAGE
from .keys import Language

_EXTRA: dict[str, dict[str, Any]] = {
    "pool": {
        "not": {"required": ["hosts"], "anyOf": [{"required": ["node_selector"]}, {"required": ["tolerations"]}]},
    },
    "mount": {"anyOf": [{"required": ["source"]}, {"required": ["target", "hide"]}]},
}
"""What holds between keys, and cannot be said of one."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a rule file and, where ``tests`` stands at its top, of a file of cases.

    It finds typos, wrong types and missing keys while one writes; what spans several files only
    ``nbplatform rules check`` can find.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nbplatform rules",
        "if": {"type": "object", "required": ["tests"]},
        "then": {"$ref": "#/$defs/cases"},
        "else": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/file"}]},
        "$defs": {**_definitions(LANGUAGE), **_definitions(CASES)},
    }


def _definitions(language: Language) -> dict[str, Any]:
    return {
        place: {
            "type": "object",
            "description": f"The keys of {said}.",
            "properties": {
                key.name: {**key.kind.schema, "description": key.help} for key in language.at[place].values()
            },
            "additionalProperties": False,
            **({"required": [key.name for key in required]} if (required := language.required[place]) else {}),
            **_EXTRA.get(place, {}),
        }
        for place, said in language.places.items()
    }
