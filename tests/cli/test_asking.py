"""What one asks of the audit, as it is typed."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import pytest

from membrain.filters import query_from
from membrain.records import AuditRecord
from membrain_cli import asking, console
from membrain_cli.console import CommandError, Console
from tests.cli.shell import Screen

NOW = datetime(2026, 11, 21, 14, 2, 15, tzinfo=UTC)


@pytest.fixture
def shell() -> Console:
    made = Console(Screen(), Screen(), Screen(), {"NO_COLOR": "1"})
    made.clock = lambda: NOW
    console.use(made)
    return made


def record() -> AuditRecord:
    """An exchange that was answered."""
    return AuditRecord(
        id="7f3a9c0d1e2f", time="2026-11-21T14:02:11Z", dialect="chat", path="/v1/chat/completions",
        model="claude-haiku-4-5", answered_model="claude-haiku-4-5", provider="anthropic", caller="aider", user="ada",
        project="web", outcome="answered", ms=412.0, cost_micros=900, pii_findings_count=2, pii_labels=("email",),
    )  # fmt: skip


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("90 min", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ],
)
def test_moments_are_said_as_one_says_them(text: str, moment: datetime) -> None:
    assert datetime.fromisoformat(asking.when(text)) == moment


@pytest.mark.usefixtures("shell")
def test_days_begin_at_this_machine_s_midnight() -> None:
    today, yesterday = (datetime.fromisoformat(asking.when(word)).astimezone() for word in ("today", "yesterday"))
    assert (today.hour, today.minute, today - yesterday) == (0, 0, timedelta(days=1))
    assert datetime.fromisoformat(asking.when("2026-11-20")).astimezone().hour == 0


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(("text", "ms"), [("2s", "2000"), ("500ms", "500"), ("1.5", "1500"), ("1m", "60000"), ("", "")])
def test_spans_are_said_as_one_says_them(text: str, ms: str) -> None:
    assert asking.milliseconds(text) == ms


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ({"limit": "1", "since": "x"}, True),
        ({"model": "CLAUDE-*"}, True),
        ({"model": "gpt?4o"}, False),
        ({"provider": "anthropic", "caller": "aider"}, True),
        ({"provider": "anthropic", "caller": "cline"}, False),
        ({"project": "web"}, True),
        ({"user": "ada"}, True),
        ({"user": "bob"}, False),
        ({"outcome": "refused"}, False),
        ({"pii": "email"}, True),
        ({"pii": "any"}, True),
        ({"pii": "ssn"}, False),
        ({"cached": "true"}, False),
        ({"min_cost_micros": "900"}, True),
        ({"min_cost_micros": "901"}, False),
        ({"slower_ms": "411"}, True),
        ({"slower_ms": "412"}, False),
    ],
)
def test_what_is_followed_passes_the_same_filters(query: dict[str, str], passes: bool) -> None:
    assert asking.wanted(record().to_dict(), query) is passes


def test_an_unknown_outcome_fails_before_anything_is_asked(shell: Console) -> None:
    with pytest.raises(CommandError, match="is no outcome"):
        asking.known_outcome("fine")


@pytest.mark.usefixtures("shell")
def test_what_was_given_becomes_a_query_and_the_rest_is_left_out() -> None:
    given = {name: each.default for name, each in asking.FILTERS.items()}
    assert asking.query_of(given) == {}
    told = {"user": "ada", "cached": True, "min_cost": 0.01, "slower": "2s", "since": "2026-11-20T10:00:00Z"}
    query = asking.query_of({**given, **told})
    assert datetime.fromisoformat(query.pop("since")) == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert query == {"user": "ada", "cached": "true", "min_cost_micros": "10000", "slower_ms": "2000"}


def test_every_filter_is_one_that_the_audit_knows() -> None:
    asked = {
        "cached": "true",
        "min_cost_micros": "1",
        "slower_ms": "1",
        "outcome": "failed",
        "since": NOW.isoformat(),
        "until": NOW.isoformat(),
    }
    names = [each.name or name for name, each in asking.FILTERS.items()]
    assert query_from({name: asked.get(name, "x") for name in names})
    assert set(names) == set(asking.MATCHES) | {"since", "until"}


def test_a_command_takes_every_filter_and_its_own_options() -> None:
    def command(query: dict[str, str], deep: bool = False) -> tuple[dict[str, str], bool]:
        return query, deep

    made = asking.filtered(command)
    assert [*inspect.signature(made).parameters] == [*asking.FILTERS, "deep"]
    defaults = {name: each.default for name, each in asking.FILTERS.items()}
    assert made(**{**defaults, "user": "ada"}, deep=True) == ({"user": "ada"}, True)


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("text", ["99999999w", "soon", "2026-13-01", "12"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is no time"):
        asking.when(text)
