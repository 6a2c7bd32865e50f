"""Numbers of persons: behind their words as they are, by themselves only with their check digits."""

import pytest

from membrain.pii.detectors import scanner
from membrain.pii.kinds import Kind
from membrain.pii.nations import BY_THEMSELVES, BY_WORDS
from membrain.pii.scan import Scanner


def test_there_are_more_than_forty_countries():
    assert len({kind.name[:2] for kind in BY_WORDS}) > 40


@pytest.mark.parametrize("kind", BY_WORDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("joint", [": ", " is ", "=", " no. ", '": "'])
def test_a_number_is_found_behind_its_words_however_they_are_joined(kind: Kind, joint: str):
    text = kind.hit.replace(": ", joint, 1)
    place = text.index(kind.value)
    covered = {at for span in scanner().scan(text) for at in range(span.start, span.end)}
    assert set(range(place, place + len(kind.value))) <= covered


@pytest.mark.parametrize(("name", "wrong"), [
    ("br_cpf", "390.533.447-06"), ("es_dni", "54362315L"), ("cn_ric", "360426199101010072"),
    ("ch_ahv", "756.9217.0769.86"),
    ("it_cf", "RCCMNL83S18D969I"), ("cl_rut", "12.531.909-3"), ("mx_curp", "BOXW310820HNERXN08"),
])  # fmt: skip
def test_by_itself_a_number_needs_the_right_check_digits(name: str, wrong: str):
    kind = next(kind for kind in BY_THEMSELVES if kind.name == name)
    assert Scanner([kind]).scan(f"it is {kind.value}, I think")
    assert not Scanner([kind]).scan(f"it is {wrong}, I think")
