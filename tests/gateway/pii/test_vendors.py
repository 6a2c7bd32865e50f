"""Vendors' tokens: found to their last sign wherever they stand, and never taken for one when they are stand-ins."""

import pytest

from membrain.pii.detectors import scanner
from membrain.pii.kinds import Kind
from membrain.pii.vendors import VENDORS, fill


@pytest.mark.parametrize("kind", VENDORS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("around", ["{}", 'key = "{}"', "({}),", "x={}&y=1", "<b>{}</b>", "{}\n", "é{}😀"])
def test_a_token_is_found_whole_in_any_neighbourhood(kind: Kind, around: str):
    token = kind.value if kind.name != "azure_storage" else kind.hit.split()[1]
    text = around.replace("{}", token)
    place = text.index(kind.value)
    covered = {at for span in scanner().scan(text) for at in range(span.start, span.end)}
    assert set(range(place, place + len(kind.value))) <= covered


def test_there_are_more_than_a_hundred_vendors_marks_and_each_is_one_of_secrets():
    assert len({kind.name for kind in VENDORS}) == len(VENDORS) > 100
    assert {kind.label for kind in VENDORS} == {"SECRET"}


@pytest.mark.parametrize(("alphabet", "allowed"), [("h", "0123456789abcdef"), ("9", "0123456789")])
def test_a_fill_has_its_size_and_its_alphabet(alphabet: str, allowed: str):
    assert len(fill(150, alphabet)) == 150
    assert set(fill(150, alphabet)) <= set(allowed)
