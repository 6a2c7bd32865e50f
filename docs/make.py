"""Writes the pages that are made from the code: `python docs/make.py`. A test holds them to it."""

from __future__ import annotations

from pathlib import Path

from membrain.dialects.messages import LOSSES, REFUSALS
from membrain.settings import settings_table

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

Also read, by the names that other tools know: `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, `OLLAMA_URL`, `OLLAMA_HOST`,
`UPSTREAM_OPENAI_URL`, `UPSTREAM_ANTHROPIC_URL`. Never read: `OPENAI_BASE_URL` and `ANTHROPIC_BASE_URL`, which point at
Membrain itself.
"""


def dialects() -> str:
    """The page of what a chat request loses on its way to Anthropic."""
    lost = "\n".join(f"| `{name}` | {_line(why)} |" for name, why in LOSSES.items())
    refused = "\n".join(f"| `{name}` | {_line(why)} |" for name, (_, why) in REFUSALS.items())
    return f"""# What dialects cannot carry

Made from `gateway/membrain/dialects/` by `make docs`.

A chat request that OpenAI, Ollama or a provider like them answers goes out byte for byte as you sent it, but for the
model's name where ours has a prefix, and for `stream_options.include_usage`, which is always asked for in a stream.

One that Anthropic answers is translated. What its API has no place for is either refused, because leaving it out would
change what you asked for, or left out, because it would not:

| refused with 400 | why |
| --- | --- |
{refused}

| left out | why |
| --- | --- |
{lost}
"""


PAGES = {"settings.md": settings, "dialects.md": dialects}


def _shown(default: object) -> str:
    """A default as one writes it in TOML."""
    if default in ("", None, ()):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
