"""What was masked before is there for those who go on from it, in their own project, and for a while."""

from __future__ import annotations

import pytest

from membrain.masking.kept import Kept
from membrain.pii.vault import Vault

KEY = b"k" * 32
MAIL = "jane.doe@corp-mail.net"
ORIGIN = ("EMAIL", MAIL, "https://corp.example")


def vault(value: str = MAIL, project: str = "p") -> Vault:
    made = Vault(KEY, project)
    made.placeholder("EMAIL", value)
    return made


def test_what_was_masked_is_there_with_the_provider_that_keeps_it() -> None:
    kept, masked = Kept(), vault()
    kept.keep("resp_1", "p", "openai", masked, {ORIGIN})
    memory = kept.of("resp_1", "p")
    assert memory is not None
    assert (memory.project, memory.provider, memory.vault) == ("p", "openai", masked)
    assert memory.origins == {ORIGIN}


def test_another_projects_id_is_as_good_as_none() -> None:
    kept = Kept()
    kept.keep("resp_1", "p", "openai", vault())
    assert kept.of("resp_1", "q") is None
    kept.keep("resp_1", "q", "other", vault(project="q"))
    assert kept.of("resp_1", "p").provider == "openai"  # type: ignore[union-attr]  # it was just kept


def test_a_conversation_is_added_to() -> None:
    kept = Kept()
    first, second = vault(), vault("bob@corp-mail.net")
    kept.keep("conv_1", "p", "openai", first, {ORIGIN})
    kept.keep("conv_1", "p", "openai", second)
    memory = kept.of("conv_1", "p")
    assert memory is not None
    both = f"{first.placeholder('EMAIL', MAIL)} {second.placeholder('EMAIL', 'bob@corp-mail.net')}"
    assert memory.vault.restore(both) == f"{MAIL} bob@corp-mail.net"
    assert memory.origins == {ORIGIN}


def test_so_many_are_kept_and_the_oldest_go_first() -> None:
    kept = Kept(most=2)
    for name in ("a", "b", "a", "c"):
        kept.keep(name, "p", "openai", vault())
    assert [kept.of(name, "p") is not None for name in "abc"] == [True, False, True]
    assert len(kept) == 2


def test_they_are_kept_for_so_long() -> None:
    now = 0.0
    kept = Kept(seconds=10, clock=lambda: now)
    kept.keep("a", "p", "openai", vault())
    now = 9.0
    assert kept.of("a", "p") is not None
    now = 10.0
    assert kept.of("a", "p") is None
    assert len(kept) == 0


def test_what_was_deleted_is_forgotten() -> None:
    kept = Kept()
    kept.keep("a", "p", "openai", vault())
    kept.forget("a", "p")
    kept.forget("a", "p")
    assert kept.of("a", "p") is None


@pytest.mark.parametrize("what", ["kept", "memory"])
def test_no_value_is_in_a_repr(what: str) -> None:
    kept = Kept()
    kept.keep("a", "p", "openai", vault(), {ORIGIN})
    assert MAIL not in repr(kept if what == "kept" else kept.of("a", "p"))
