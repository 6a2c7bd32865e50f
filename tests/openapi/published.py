"""Checks data against OpenAI's published schema: what `check` lets pass is what the API says it sends.

`openai.json` was taken from the published document by `extract.py`. Fields that the document does not name are allowed
there, as everywhere in OpenAI's API, so this says nothing of additions.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("openai.json").read_text(encoding="utf-8"))


class Unpublished(AssertionError):
    """The data does not fit the schema."""


@cache
def _validator(name: str) -> Draft202012Validator:
    if name not in SCHEMA["$defs"]:
        raise KeyError(name)
    return Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}"})


@cache
def _events() -> dict[str, str]:
    """The type of each event of a responses stream → the schema's name."""
    named = [each["$ref"].rpartition("/")[2] for each in SCHEMA["$defs"]["ResponseStreamEvent"]["anyOf"]]
    return {SCHEMA["$defs"][name]["properties"]["type"]["enum"][0]: name for name in named}


def check(name: str, data: object) -> None:
    """*data* is a *name* of OpenAI's document. Raises Unpublished with the first thing that is wrong."""
    error = best_match(_validator(name).iter_errors(data))
    if error is not None:
        raise Unpublished(f"{name}{error.json_path[1:]}: {error.message[:600]}")


def check_event(data: dict[str, Any]) -> None:
    """*data* is an event of a responses stream, of the type that it says."""
    if data.get("type") not in _events():
        raise Unpublished(f"no event of this name is published: {data.get('type')}")
    check(_events()[data["type"]], data)
