"""Writes the pages that are made from the code: `python docs/make.py`. A test holds them to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from membrain.dialects.translation import PAIRS, Pair
from membrain.pii.detectors import KINDS
from membrain.pii.kinds import Kind
from membrain.pii.policy import PASSED, Level
from membrain.settings import settings_table
from membrain_cli.manual import page

HERE = Path(__file__).parent


def settings() -> str:
    """The page of every setting."""
    rows = "\n".join(
        f"| `{each.name}` | {_line(each.type)} | {_shown(each.default)} | `{each.env}` | {_line(each.doc)} |"
        for each in settings_table()
    )
    return f"""# Settings

Made from `gateway/membrain/settings.py` by `make docs`.

A value is looked for in the environment, then in `config.toml` (`membrain config path` says where that is), then here.
A name that is no setting, or a value that cannot work, is refused by name and line, and the gateway does not start.

| setting | type | default | environment | what it means |
| --- | --- | --- | --- | --- |
{rows}

Providers of your own that speak OpenAI's chat completions have a table each:

```toml
[providers.groq]
url = "https://api.groq.com/openai/v1"
models = ["llama-3.3-70b-versatile"]
```

Their models are then asked for by these names, or as `groq/NAME`. Their keys are set with `membrain keys set groq`.

Names of your own for models, what the tiers hold, who is asked first, and prices that are not the usual ones:

```toml
[aliases]
fast-code = "gpt-4o-mini"
"writing/v1.5" = "fast-code"  # an alias may lead to another, or to "auto"

[tiers]
fast = ["gpt-4o-mini", "groq/llama-3.3-70b-versatile"]

[routing]
prefer = ["anthropic", "groq"]

[prices]
my-model = [1.0, 2.0]  # US dollars for a million tokens: input, output

[prices."gpt-4.1"]
input = 2.0
output = 8.0
cached = 0.5  # input that the provider had in its cache; `written`: what it put there
```

A name with dots or slashes needs quotes in the file, and none on the command line, where everything behind `aliases.`
or `prices.` is the name: `membrain config set aliases.writing/v1.5 fast-code`,
`membrain config set prices.gpt-4.1 2,8,0.5` (input, output, cached, written; empty for one that makes no difference, as
in `3,15,,3.75`). In the environment all of them stand in one variable, and are added to those of the file:
`MEMBRAIN_ALIASES="fast-code=gpt-4o-mini,any=auto"`, `MEMBRAIN_PRICES="my-model=1.0/2.0,gpt-4.1=2/8/0.5"`.

Also read, by the names that other tools know: `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, `OLLAMA_URL`, `OLLAMA_HOST`,
`UPSTREAM_OPENAI_URL`, `UPSTREAM_ANTHROPIC_URL`. Never read: `OPENAI_BASE_URL` and `ANTHROPIC_BASE_URL`, which point at
Membrain itself.
"""


NAMES = {
    "chat": "chat completions",
    "messages": "messages",
    "responses": "responses",
    "completions": "legacy completions",
}


def dialects() -> str:
    """The page of what is lost between dialects."""
    ways = "\n\n".join(_way(pair) for pair in PAIRS)
    return f"""# What dialects cannot carry

Made from `gateway/membrain/dialects/` by `make docs`.

Where the provider speaks the dialect that you speak, your request goes out byte for byte as you sent it, but for what is
masked, for the model's name where ours has a prefix, and, in streams of chat and of legacy completions, for
`stream_options.include_usage`, which is always asked for; the answer comes back byte for byte as it was sent, but for what
is put back, and for U+0085, U+2028 and U+2029 in streams, which are written as JSON escapes because some clients end a line
there. OpenAI speaks chat completions, responses, legacy completions, embeddings and moderations; Anthropic messages; Ollama
and providers of your own naming chat completions, legacy completions and embeddings, or what `speaks` says in their
settings; the embedded model, LiteLLM and the `claude` program chat completions.

Everything else is translated. What the other dialect has no place for is either refused (400, with the field in `param`),
because leaving it out would change what you asked for, or left out, because it would not. Messages and responses are
translated into each other through chat completions, so for these two tables count.

Counting tokens (`/v1/messages/count_tokens`) is asked of Anthropic; for a model of anybody else's it is our own estimate, a
token for four bytes. Prompts and inputs must be text: numbers of tokens cannot be looked at, so they are refused.

{ways}
"""


def _way(pair: Pair) -> str:
    """What is lost when somebody speaks one dialect and the provider another."""
    asked, to = NAMES[pair.asked], NAMES[pair.to]
    there, back = pair.lost
    tables = [("refused with 400", pair.refused), ("left out of the request", there), ("left out of the answer", back)]
    told = (f"| {head} | what becomes of it |\n| --- | --- |\n{_rows(rows)}" for head, rows in tables)
    return f"## You speak {asked}, the provider speaks {to}\n\n" + "\n\n".join(told)


def _rows(rows: Mapping[str, str]) -> str:
    return "\n".join(f"| `{name}` | {_line(why)} |" for name, why in rows.items())


def detectors() -> str:
    """The page of everything that is looked for by rule, and of the disguises that are seen through."""
    from membrain.pii.views import CLASSES, NOT_COVERED

    labels = dict.fromkeys(kind.label for kind in KINDS)
    rows = "\n".join(
        f"| `{label}` | {_level(label)} | {_kinds(kind for kind in KINDS if kind.label == label)} |" for label in labels
    )
    seen = "\n".join(f"| {each.name} | {_line(each.covers)} |" for each in CLASSES)
    unseen = "\n".join(f"- {_line(each)}" for each in NOT_COVERED)
    return f"""# What is looked for

Made from `gateway/membrain/pii/` by `make docs`. What happens to a finding: [privacy.md](privacy.md).

{len(KINDS)} kinds by rule: a pattern that is linear in the text's length, words that have to stand near where the pattern
alone would not do, and a check (digits, ranges, shape) that has the last word. Beside them stand the values that are known
from the start (your own list, the keyring, secrets of the environment), street addresses of some forty countries, and a
small model for names of persons and places.

| label | masked from level | kinds |
| --- | --- | --- |
{rows}
| `ADDRESS` | {_level("ADDRESS")} | street addresses |
| `PERSON` | {_level("PERSON")} (widely known names: strict) | names of persons |
| `LOCATION` | {_level("LOCATION")} | names of places |
| `CUSTOM` | {_level("CUSTOM")} | whatever you add with `membrain pii add` |

## Disguises that are seen through

Up to three layers deep; what is replaced is the whole disguised text.

| disguise | what of it |
| --- | --- |
{seen}

Not seen through:

{unseen}
"""


def _level(label: str) -> str:
    return next(level.value for level in Level if label not in PASSED[level])


def _kinds(kinds: Iterable[Kind]) -> str:
    return ", ".join(kind.name.replace("_", " ") for kind in kinds)


PAGES = {"settings.md": settings, "dialects.md": dialects, "detectors.md": detectors, "membrain.1": page}


def _shown(default: object) -> str:
    """A default as one writes it in TOML."""
    if default in ("", None, ()):
        return "none"
    if isinstance(default, tuple):
        return f"`{json.dumps(list(default))}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
