"""Names that are told by the words before them, on a list or not."""

from __future__ import annotations

import pytest

from membrain.pii.cues import is_free
from tests.gateway.pii.test_names import found


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("text fenwina that i'm late", "fenwina"),
        ("écris un sms pour maxandre : je suis en retard", "maxandre"),
        ("corrige: hola xiomaria soy tu vecino", "xiomaria"),
        ("Maak 250 euro over t.n.v. Jacomientje Aaldersma.", "Jacomientje Aaldersma"),
        ("napisz sms do Mirosławy, że się spóźnię", "Mirosławy"),
        ("Haz una invitación: Anselmo y Rigobertina se casan.", "Rigobertina"),
    ],
)
def test_whom_a_message_goes_to_is_found_whether_on_a_list_or_not(text: str, person: str) -> None:
    assert person in found(text)


@pytest.mark.parametrize("text", ["hello everyone", "text to speech", "write a note to yourself", "send a mail to all"])
def test_a_message_to_nobody_in_particular_names_nobody(text: str) -> None:
    assert found(text) == []


def test_what_is_called_with_a_dot_is_code() -> None:
    assert found("But we want to call fenwina.getattr here") == []


def test_what_is_taken_is_not_free() -> None:
    taken = [(3, 7, 1), (10, 12, 1)]
    assert is_free(taken, 7, 10)
    assert is_free(taken, 0, 3)
    assert not any(is_free(taken, *each) for each in ((2, 4), (6, 8), (4, 5), (0, 20), (9, 11)))
