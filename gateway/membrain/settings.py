"""The settings: what there is, what each means, what each must be. Reads no file and no environment (`config.py` does).

The classes are the manual: each field carries its sentence, and `settings_table` reads them from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_type_hints

from membrain.errors import Misconfigured
from membrain.rules import (
    Named,
    Rule,
    address,
    dollars,
    existing_file,
    is_loopback,
    listed,
    model,
    models,
    names,
    one_of,
    price,
    program,
    seconds,
    switch,
    url,
    whole,
    word,
)
from membrain.secrets import Secrets

DEFAULT = "default"
EDIT = "membrain config edit"

WELL_KNOWN: Mapping[str, str] = {
    "OLLAMA_URL": "providers.ollama.url",
    "UPSTREAM_ANTHROPIC_URL": "providers.anthropic.url",
    "UPSTREAM_OPENAI_URL": "providers.openai.url",
}
"""Variables that others know too. `OPENAI_BASE_URL` and `ANTHROPIC_BASE_URL` are not among them: they lead to us."""

RESERVED = frozenset({"auto", "claude-cli", "default", "litellm", "local", "membrain"})
"""Names that a provider of the user's own cannot have."""

AUTO = frozenset({"auto", "default"})
"""Names that ask for whichever model fits, and so can stand for none."""

_OWN_NAME = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"


@dataclass(frozen=True)
class Auth:
    """Who may ask."""

    mode: Annotated[Literal["local", "token", "off"], one_of("local", "token", "off")] = "local"
    """Who must show a client key: `local` asks none of programs on this machine, `token` asks everyone, `off` nobody.
    Listening beyond this machine asks everyone, whatever is said here."""


@dataclass(frozen=True)
class Audit:
    """What is on record."""

    durability: Annotated[Literal["process", "full"], one_of("process", "full")] = "process"
    """What a record survives: `process`, the gateway being killed; `full`, a power cut too, at milliseconds each."""
    content: Annotated[Literal["none", "masked"], one_of("none", "masked")] = "none"
    """What is kept of what was said: `none` of it, or `masked`, the bytes that left, with placeholders for what is
    private."""
    keep_days: Annotated[int, whole(1, 3650, 30)] = 30
    """How many days masked text is kept."""


_AMOUNT = r"\d{1,7}(?:\.\d{1,6})?"
_OWNER = r"(?:project|user):[^:=,]{1,80}"


@dataclass(frozen=True)
class Budget:
    """What may be spent."""

    day: Annotated[float | None, dollars()] = None
    """What all requests of a day (UTC) may cost together, in US dollars; without a value, there is no limit."""
    month: Annotated[float | None, dollars()] = None
    """What all requests of a calendar month (UTC) may cost together, in US dollars."""
    total: Annotated[float | None, dollars()] = None
    """What all requests may ever cost together, in US dollars."""
    rules: Annotated[
        tuple[str, ...],
        listed(
            rf"{_OWNER}:(?:day|month|total)={_AMOUNT}",
            'a list of rules, like ["project:web:day=5.00", "user:ada:month=20"]',
        ),
    ] = ()
    """The budgets of projects and of callers' own labels: `project:web:day=5.00`, `user:ada:month=20`,
    `user:*:total=1` for each label by itself. A client key's budget is given when the key is issued."""


@dataclass(frozen=True)
class Rate:
    """How much may be asked in a minute."""

    requests: Annotated[int | None, whole(1, 10_000_000, 60)] = None
    """How many requests may be asked in any 60 seconds; without a value, there is no limit."""
    tokens: Annotated[int | None, whole(1, 1_000_000_000, 100_000)] = None
    """How many tokens, of prompts and answers together, may be used in any 60 seconds."""
    rules: Annotated[
        tuple[str, ...],
        listed(
            r"project:[^:=,]{1,80}:(?:requests|tokens)=[1-9]\d{0,9}",
            'a list of rules, like ["project:web:requests=60", "project:*:tokens=100000"]',
        ),
    ] = ()
    """The limits of projects: `project:web:requests=60`, `project:*:tokens=100000` for each project by itself. A client
    key's limits are given when the key is issued."""


@dataclass(frozen=True)
class Cache:
    """Answers that are given again."""

    mode: Annotated[Literal["off", "deterministic", "on"], one_of("off", "deterministic", "on")] = "deterministic"
    """Which requests may be answered with what the same request was answered before: none (`off`), those with a
    temperature of 0 or that ask for it (`deterministic`), or all (`on`)."""
    max_mb: Annotated[int, whole(1, 65_536, 64)] = 64
    """How much is kept in all, in MiB; what was not used for longest goes first."""
    answer_kb: Annotated[int, whole(1, 65_536, 512)] = 512
    """The largest answer that is kept, in KiB."""
    keep_hours: Annotated[int, whole(1, 87_600, 24)] = 24
    """How long an answer may be given again."""


@dataclass(frozen=True)
class Otel:
    """OpenTelemetry."""

    endpoint: Annotated[str, url(optional=True, any_host=True)] = ""
    """Where traces and metrics are sent, as OTLP over HTTP: labels and counts, never what was said. Needs the extra
    `otel`."""


_MASKING_RULE = (
    r"(?:[\w.-]{1,80}:)?(?:level=(?:basic|standard|strict)"
    r"|(?:\*|[A-Z][A-Z0-9_]{1,39})=(?:pass|log|alert|redact|mask|local|confirm|block))"
)
_ENGINE = r"builtin|presidio|spacy|[A-Za-z_][\w.]*:[A-Za-z_]\w*"


@dataclass(frozen=True)
class Pii:
    """What is masked, and what else is done about it."""

    level: Annotated[Literal["basic", "standard", "strict"], one_of("basic", "standard", "strict")] = "standard"
    """How much is masked: `basic`, secrets, identifiers, payment and contact data; `standard`, also addresses, dates of
    birth and persons who are not widely known; `strict`, whatever is found, places and public persons too."""
    on_find: Annotated[
        Literal["pass", "log", "alert", "redact", "local", "confirm", "block"],
        one_of("pass", "log", "alert", "redact", "local", "confirm", "block", mask="redact"),
    ] = "redact"
    """What happens to what is found: `redact` masks it and puts it back in the answer, `confirm` asks a person first,
    `local` lets only models on this machine answer, `block` refuses; `alert`, `log` and `pass` let it leave."""
    rules: Annotated[
        tuple[str, ...], listed(_MASKING_RULE, 'a list of rules, like ["SECRET=block", "acme:EMAIL=pass"]')
    ] = ()
    """Exceptions, for a label, a project or both: `SECRET=block`, `acme:EMAIL=pass`, `acme:*=confirm`,
    `acme:level=strict`."""
    answers: Annotated[Literal["pass", "flag", "redact", "block"], one_of("pass", "flag", "redact", "block")] = "flag"
    """What happens to private values that first appear in an answer: `flag` puts their labels on record, `redact` masks
    them and `block` refuses the answer (both hold a stream back until it is complete), `pass` does not look."""
    mask_local: Annotated[bool, switch()] = False
    """Whether models on this machine get placeholders too; otherwise they get what was said, since nothing leaves."""
    url_tools: Annotated[tuple[str, ...], names()] = ()
    """Tools that may be given real values inside a URL or host argument; a name may end in `*`."""
    engine: Annotated[str, word(_ENGINE, "builtin, presidio, spacy or module:function")] = "builtin"
    """Which detector is asked besides our own: `presidio`, `spacy`, or a `module:function` of yours."""
    scan_seconds: Annotated[float, seconds(10)] = 10
    """How long looking through one request may take; after that it is refused."""
    hold_seconds: Annotated[float, seconds(600)] = 600
    """How long a request waits for a person to confirm it; after that it is refused."""


@dataclass(frozen=True)
class KeyStore:
    """Where provider keys are kept."""

    backend: Annotated[Literal["keyring", "file"], one_of("keyring", "file")] = "keyring"
    """Where `membrain keys set` puts keys: the system's `keyring`, or a `file` that only you can read."""


@dataclass(frozen=True)
class OpenAI:
    """OpenAI."""

    url: Annotated[str, url()] = "https://api.openai.com/v1"
    """Where OpenAI's API is, with its version."""


@dataclass(frozen=True)
class Anthropic:
    """Anthropic."""

    url: Annotated[str, url()] = "https://api.anthropic.com"
    """Where Anthropic's API is, without its version."""


@dataclass(frozen=True)
class ClaudeCli:
    """Claude's own program, which has an account of its own."""

    enabled: Annotated[bool, switch()] = True
    """Whether the `claude` program answers where Anthropic has no key."""
    path: Annotated[str, program()] = "claude"
    """Which program that is: its name on PATH, or its full path."""
    model: Annotated[str, model()] = "sonnet"
    """Which model it is asked for when a request leaves that to it."""


@dataclass(frozen=True)
class Ollama:
    """Ollama."""

    url: Annotated[str, url(optional=True)] = "http://localhost:11434"
    """Where Ollama is; empty if it is not to be asked."""


@dataclass(frozen=True)
class LiteLLM:
    """LiteLLM."""

    enabled: Annotated[bool, switch()] = True
    """Whether LiteLLM, if it is installed, answers for models that nobody else serves."""


SPOKEN = ("chat", "completions", "embeddings", "moderations", "responses", "messages")
"""What a provider of the user's own may speak; the first three go without saying."""


@dataclass(frozen=True)
class Compatible:
    """A provider of your own naming that speaks as OpenAI does, or as Anthropic: `[providers.NAME]`."""

    name: str
    url: Annotated[str, url()]
    """Where its API is, with its version."""
    models: Annotated[tuple[str, ...], names()] = ()
    """The models it serves, by the names that it knows them by."""
    local: Annotated[bool, switch()] = False
    """Whether it runs on this machine and hands nothing on, so that private requests may go to it."""
    speaks: Annotated[tuple[str, ...], listed("|".join(SPOKEN), f"a list of {', '.join(SPOKEN)}")] = SPOKEN[:3]
    """What can be asked of it, each at its path under `url`. Who asks otherwise is translated into the first that can
    say it."""


@dataclass(frozen=True)
class Providers:
    """Who answers."""

    openai: OpenAI = field(default_factory=OpenAI)
    anthropic: Anthropic = field(default_factory=Anthropic)
    claude_cli: ClaudeCli = field(default_factory=ClaudeCli)
    ollama: Ollama = field(default_factory=Ollama)
    litellm: LiteLLM = field(default_factory=LiteLLM)
    others: tuple[Compatible, ...] = ()


@dataclass(frozen=True)
class ModelPrice:
    """What a model costs, in US dollars for a million tokens: `[prices."MODEL"]`."""

    input: float
    output: float
    cached: float | None = None
    """Of the input, what the provider had in its cache; None if that makes no difference."""
    written: float | None = None
    """Of the input, what the provider put into its cache; None if that makes no difference."""

    def to_dict(self) -> dict[str, float]:
        """The prices that were given, by name."""
        return {name: each for name, each in vars(self).items() if each is not None}


@dataclass(frozen=True)
class Tiers:
    """Which models there are to choose from."""

    fast: Annotated[tuple[str, ...], models(AUTO)] = ()
    """The models of the tier `fast`, instead of those that are built in."""
    balanced: Annotated[tuple[str, ...], models(AUTO)] = ()
    """The models of the tier `balanced`, instead of those that are built in."""
    best: Annotated[tuple[str, ...], models(AUTO)] = ()
    """The models of the tier `best`, instead of those that are built in."""


_PROVIDER = r"[a-z][a-z0-9_-]{0,79}"


@dataclass(frozen=True)
class Routing:
    """Who is asked first, and who next."""

    prefer: Annotated[
        tuple[str, ...],
        listed(_PROVIDER, 'a list of providers, like ["anthropic", "ollama"]', {"claude-cli": "claude_cli"}),
    ] = ()
    """The providers that `auto` tries first, in this order; among the others the fastest."""
    fallback: Annotated[bool, switch()] = True
    """Whether the next candidate for `auto` is tried when one fails."""
    breaker: Annotated[bool, switch()] = True
    """Whether a provider that keeps failing is left alone for a while."""
    attempts: Annotated[int, whole(1, 5, 3)] = 3
    """How often providers are asked, all in all, before a request counts as failed."""


@dataclass(frozen=True)
class Local:
    """The embedded model."""

    enabled: Annotated[bool, switch()] = True
    """Whether `local/default` answers at all."""
    threads: Annotated[int, whole(1, 256, 1)] = 1
    """How many processor cores it may use."""
    context: Annotated[int, whole(256, 131_072, 4096)] = 4096
    """How many tokens question and answer may have together, for each slot."""
    slots: Annotated[int, whole(1, 64, 2)] = 2
    """How many answers it writes at the same time; more wait."""
    idle_seconds: Annotated[float, seconds(300)] = 300
    """How long it stays in memory when nobody asks."""


@dataclass(frozen=True)
class Limits:
    """How much, and how long."""

    body_mb: Annotated[int, whole(1, 1024, 20)] = 20
    """The largest request that is read, in MiB."""
    depth: Annotated[int, whole(8, 1000, 100)] = 100
    """How deep a request's JSON may be nested."""
    connect_seconds: Annotated[float, seconds(3)] = 2.5
    """How long a provider may take to be reached."""
    first_byte_seconds: Annotated[float, seconds(60)] = 60
    """How long a provider may take to begin a streamed answer."""
    whole_seconds: Annotated[float, seconds(600)] = 600
    """How long a provider may take for an answer that comes in one piece."""
    idle_seconds: Annotated[float, seconds(90)] = 90
    """How long a provider may be silent in the middle of an answer."""
    answer_mb: Annotated[int, whole(1, 4096, 64)] = 64
    """The largest answer that is taken from a provider, unpacked, in MiB."""
    event_mb: Annotated[int, whole(1, 64, 1)] = 1
    """The largest single event of a streamed answer, in MiB."""
    drain_seconds: Annotated[float, seconds(5)] = 5
    """How long running answers may go on when the gateway is stopped."""


@dataclass(frozen=True)
class Egress:
    """The way out."""

    proxy: Annotated[str, url(optional=True, any_host=True)] = ""
    """The proxy that requests to providers go through; the usual proxy variables are not read."""
    ca_file: Annotated[str, existing_file()] = ""
    """A file of certificates (PEM) to trust beside the system's own."""


@dataclass(frozen=True)
class Log:
    """What the gateway says."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], one_of("debug", "info", "warning", "error", warn="warning")
    ] = "info"
    """From which level on the log keeps lines."""


_KEY = word(r"(?:[a-z0-9_]+(?:\+[a-z0-9_]+)*)?", "a key's name, like f5, slash or ctrl+f")


@dataclass(frozen=True)
class TuiKeys:
    """Keys of `membrain top`, by the names that Textual has for them. Empty leaves the one that is built in."""

    filter: Annotated[str, _KEY] = ""
    """The key that filters the list; `/` is built in."""
    open: Annotated[str, _KEY] = ""
    """The key that opens an exchange; `enter` is built in."""
    back: Annotated[str, _KEY] = ""
    """The key that goes back; `escape` is built in."""
    pause: Annotated[str, _KEY] = ""
    """The key that freezes the screen; `space` is built in."""
    window: Annotated[str, _KEY] = ""
    """The key that looks back further, or less far; `w` is built in."""
    private: Annotated[str, _KEY] = ""
    """The key that shows only exchanges with something private; `p` is built in."""
    why: Annotated[str, _KEY] = ""
    """The key that tells why it was this model; `r` is built in."""
    theme: Annotated[str, _KEY] = ""
    """The key that takes the next theme; `t` is built in."""
    side: Annotated[str, _KEY] = ""
    """The key that shows providers and budgets where there is little room; `tab` is built in."""
    holds: Annotated[str, _KEY] = ""
    """The key that answers what waits for a person; `a` is built in."""
    copy_id: Annotated[str, _KEY] = ""
    """The key that copies an exchange's id; `y` is built in."""
    copy_curl: Annotated[str, _KEY] = ""
    """The key that copies a command that asks for its record; `c` is built in."""
    start: Annotated[str, _KEY] = ""
    """The key that starts the gateway; `u` is built in."""
    palette: Annotated[str, _KEY] = ""
    """The key that opens the list of all commands; `:` is built in."""
    keys: Annotated[str, _KEY] = ""
    """The key that shows all keys; `?` is built in."""
    quit: Annotated[str, _KEY] = ""
    """The key that leaves; `q` is built in."""


@dataclass(frozen=True)
class Tui:
    """What is drawn in the terminal."""

    keys: TuiKeys = field(default_factory=TuiKeys)


_PRICE = price(ModelPrice, dict.fromkeys(("input", "output", "cached", "written"), dollars()))

NAMED: Mapping[str, Named] = {
    "aliases": Named(model(), "fast-code=gpt-4o-mini", AUTO),
    "prices": Named(_PRICE, "my-model=1.0/2.0"),
}
"""The tables whose names are the user's own, with what may stand in them."""


@dataclass(frozen=True)
class Settings:
    """All settings of one instance. `Settings()` is the defaults; `load` reads the file and the environment."""

    host: Annotated[str, address()] = "127.0.0.1"
    """The address the gateway listens on; other than this machine's own, every caller needs a client key."""
    port: Annotated[int, whole(1, 65_535, 8001)] = 8001
    """The port the gateway listens on."""
    tier: Annotated[
        Literal["fast", "balanced", "best"], one_of("fast", "balanced", "best", speed="fast", quality="best")
    ] = "balanced"
    """Which models answer `auto` when a request does not say."""
    auth: Auth = field(default_factory=Auth)
    audit: Audit = field(default_factory=Audit)
    pii: Pii = field(default_factory=Pii)
    budget: Budget = field(default_factory=Budget)
    rate: Rate = field(default_factory=Rate)
    cache: Cache = field(default_factory=Cache)
    secrets: KeyStore = field(default_factory=KeyStore)
    providers: Providers = field(default_factory=Providers)
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The model that a name of yours stands for: another model's name, another alias, or `auto`."""
    prices: Mapping[str, ModelPrice] = field(default_factory=dict, hash=False)
    """What a model costs, for a million tokens: input, output and, where they differ, cached and written input. Goes
    before every other price."""
    tiers: Tiers = field(default_factory=Tiers)
    routing: Routing = field(default_factory=Routing)
    local: Local = field(default_factory=Local)
    limits: Limits = field(default_factory=Limits)
    egress: Egress = field(default_factory=Egress)
    otel: Otel = field(default_factory=Otel)
    log: Log = field(default_factory=Log)
    tui: Tui = field(default_factory=Tui)

    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    keys: Secrets | None = field(default=None, repr=False, compare=False)

    default_provider: ClassVar[str] = "claude_cli"
    default_model: ClassVar[str] = "sonnet"

    @property
    def openai_api_key(self) -> str | None:
        """OpenAI's key, looked for now; None if there is none. Never shown by `repr`, never part of `asdict`."""
        return self._key("openai")

    @property
    def anthropic_api_key(self) -> str | None:
        """Anthropic's key, as `openai_api_key`."""
        return self._key("anthropic")

    @property
    def ollama_url(self) -> str:
        """`providers.ollama.url`, by the name that the provider guide gives it."""
        return self.providers.ollama.url

    @property
    def effective_auth_mode(self) -> str:
        """`auth.mode`, but `token` as soon as others than this machine can reach the port."""
        return self.auth.mode if is_loopback(self.host) else "token"

    @property
    def key_names(self) -> tuple[str, ...]:
        """The providers that may have a key, by the names `keys` knows them by."""
        return ("openai", "anthropic", *(each.name for each in self.providers.others))

    def items(self) -> Iterator[tuple[str, Any]]:
        """Every setting by its dotted name, as `limits.body_mb`, with its value; also of your own providers,
        aliases and prices."""
        yield from _leaves(self, "")

    def value(self, name: str) -> Any:
        """The value of one setting; raises `Misconfigured` for a name that is none."""
        return dict(self.items())[self._known(name)]

    def origin(self, name: str) -> str:
        """Where the value of *name* comes from: `default`, `config.toml` or the environment variable."""
        return self.origins.get(self._known(name), DEFAULT)

    def _known(self, name: str) -> str:
        known = [each for each, _ in self.items()]
        name = ".".join(path_of(name))
        if name not in known:
            raise no_setting(name, known)
        return name

    def _key(self, provider: str) -> str | None:
        secret = self.keys.get(provider) if self.keys else None
        return secret.reveal() if secret else None


class SettingInfo(NamedTuple):
    """One setting, as `config list` and the documentation show it."""

    name: str
    type: str
    default: Any
    env: str
    doc: str
    also: tuple[str, ...] = ()
    """Other variables that set it, weaker than `env`."""


OWN = (
    ("providers.NAME.url", None),
    ("providers.NAME.models", ()),
    ("providers.NAME.local", False),
    ("providers.NAME.speaks", SPOKEN[:3]),
)
"""The settings of a provider of the user's own, with their defaults."""


@cache
def settings_table() -> tuple[SettingInfo, ...]:
    """All settings with type, default, variable and sentence. `NAME` stands for a name of the user's own."""
    rows = [(name, default) for name, default in Settings().items()]
    rows[_after(rows, "providers.") : 0] = [*OWN]
    rows += [(f"{table}.NAME", None) for table in NAMED]
    return tuple(_described(name, default) for name, default in rows)


def path_of(name: str) -> tuple[str, ...]:
    """Where the setting *name* stands: `limits.body_mb` → ("limits", "body_mb").

    Behind `aliases.` and `prices.` stands one name, dots and all; quotes around it, as TOML has them, are taken off.
    """
    table, dot, own = name.partition(".")
    if table not in NAMED or not dot:
        return tuple(name.split("."))
    return table, own[1:-1] if own[:1] in {'"', "'"} and own[-1:] == own[:1] and len(own) > 2 else own


def variable(name: str) -> str:
    """The environment variable of a setting: `limits.body_mb` → `MEMBRAIN_LIMITS_BODY_MB`.

    All aliases have one together, as have all prices.
    """
    table, dot, _ = name.partition(".")
    name = table if dot and table in NAMED else name
    return "MEMBRAIN_" + name.upper().replace(".", "_").replace("-", "_")


def spell(value: Any) -> str:
    """*value* as one would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(value)
    if isinstance(value, ModelPrice):
        parts = [value.input, value.output, value.cached, value.written]
        return ",".join("" if each is None else repr(each).removesuffix(".0") for each in parts).rstrip(",")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _described(name: str, default: Any) -> SettingInfo:
    *sections, last = name.replace("NAME", "name").split(".")
    if sections and (table := NAMED.get(sections[0])):
        return SettingInfo(name, table.rule.kind, default, variable(name), _docs()["Settings", sections[0]])
    section = section_at(tuple(sections))
    assert section is not None  # the rows come from the sections
    also = tuple(each for each, target in WELL_KNOWN.items() if target == name)
    return SettingInfo(
        name, rules_in(section)[last].kind, default, variable(name), _docs()[section.__name__, last], also
    )


@cache
def _docs() -> dict[tuple[str, str], str]:
    """The sentence under each field of this file's classes, by class and field."""
    import ast
    import inspect
    import sys
    from itertools import pairwise

    found = {}
    tree = ast.parse(inspect.getsource(sys.modules[__name__]))
    for section in (each for each in tree.body if isinstance(each, ast.ClassDef)):
        for above, below in pairwise(section.body):
            match above, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[section.name, name] = " ".join(text.split())
    return found


@cache
def _hints(section: type) -> Mapping[str, Any]:
    return get_type_hints(section, include_extras=True)


@cache
def rules_in(section: type) -> Mapping[str, Rule]:
    """The rule of each setting that stands in *section* itself."""
    found = {name: getattr(hint, "__metadata__", ()) for name, hint in _hints(section).items()}
    return {name: rule for name, metadata in found.items() for rule in metadata if isinstance(rule, Rule)}


@cache
def sections_in(section: type) -> Mapping[str, type]:
    """The sections inside *section*, by the names that the settings file has for them."""
    found = {name.replace("_", "-"): hint for name, hint in _hints(section).items()}
    return {name: hint for name, hint in found.items() if isinstance(hint, type) and is_dataclass(hint)}


def section_at(path: tuple[str, ...]) -> type | None:
    """The class of the section at *path*; None if there is no such section."""
    found: type | None = Settings
    for name in path:
        inner = sections_in(found).get(name) if found else None
        if inner is None and found is Providers and re.fullmatch(_OWN_NAME, name) and name not in RESERVED:
            inner = Compatible
        found = inner
    return found


def rule_at(path: tuple[str, ...]) -> Rule | None:
    """The rule of the setting at *path*; None if there is no such setting."""
    if len(path) == 2 and (table := NAMED.get(path[0])):
        return None if table.refusal(path[1]) else table.rule
    section = section_at(path[:-1])
    return rules_in(section).get(path[-1]) if section else None


def _leaves(section: Any, front: str) -> Iterator[tuple[str, Any]]:
    """The settings of *section* by dotted name, with their values."""
    kind: type = type(section)
    for name in rules_in(kind):
        yield front + name, getattr(section, name)
    for name in sections_in(kind):
        yield from _leaves(getattr(section, name.replace("-", "_")), f"{front}{name}.")
    if isinstance(section, Providers):
        for each in section.others:
            yield from _leaves(each, f"{front}{each.name}.")
    if isinstance(section, Settings):
        for table in NAMED:
            yield from ((f"{table}.{name}", value) for name, value in getattr(section, table).items())


def no_setting(name: str, known: Iterable[str], front: str = "") -> Misconfigured:
    hint = EDIT if front else "membrain config list"
    return Misconfigured(f'{front}"{name}" is no setting.{nearest(name, known)}', hint=hint)


def nearest(name: str, known: Iterable[str]) -> str:
    """ " Did you mean …?", if one comes near."""
    from difflib import get_close_matches

    known = list(known)
    same_end = [each for each in known if each.rpartition(".")[2] == name]
    near = same_end or get_close_matches(name, known, 1, 0.6)
    return f" Did you mean {near[0]}?" if near else ""


def _after(rows: list[tuple[str, Any]], front: str) -> int:
    """The place behind the last row whose name begins with *front*."""
    return max(place for place, (name, _) in enumerate(rows) if name.startswith(front)) + 1
