"""Templates: well formed, each once."""

from __future__ import annotations

import re

import pytest

from membrain.pii.model.templates import DEMONYMS, FIRMS, TEMPLATES

GAPS = set("pflqickroeundthaxvm")
ALL = [template for rows in TEMPLATES.values() for template in rows]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_gap_is_known_and_every_choice_closed(kind: str) -> None:
    for template in TEMPLATES[kind]:
        assert set(re.findall(r"\{(.*?)\}", template)) <= GAPS, template
        assert template.count("<<") == template.count(">>"), template
        assert "\\" not in template, template


def test_no_template_stands_twice() -> None:
    assert len(set(ALL)) == len(ALL)


def test_texts_that_name_nobody_have_no_gap_for_a_person() -> None:
    assert not [template for template in TEMPLATES["nothing"] if re.search(r"\{[pflq]\}", template)]


def test_lists_hold_no_blanks_or_doubles() -> None:
    for some in (FIRMS, DEMONYMS):
        assert all(each == each.strip() and each for each in some)
        assert len(set(some)) == len(some)
