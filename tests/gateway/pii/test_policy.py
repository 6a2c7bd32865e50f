"""What is done with what was found: the level, then what is said for all, then what is said for a project."""

from __future__ import annotations

import pytest

from membrain.errors import Misconfigured
from membrain.pii.kinds import Span
from membrain.pii.policy import Level, Mode, Policies
from membrain.settings import rule_at


def span(label: str, kind: str = "") -> Span:
    return Span(0, 1, label, kind)


BASIC = ["SECRET", "URL_CREDENTIALS", "EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "BANK_ACCOUNT", "US_SSN", "NATIONAL_ID",
         "PASSPORT", "DRIVER_LICENSE", "IP", "MAC", "CRYPTO", "CUSTOM"]  # fmt: skip
STANDARD = ["PERSON", "ADDRESS", "DATE_OF_BIRTH"]
STRICT = ["LOCATION"]


@pytest.mark.parametrize(
    ("level", "labels"), [("basic", BASIC), ("standard", BASIC + STANDARD), ("strict", BASIC + STANDARD + STRICT)]
)
def test_a_level_masks_its_labels_and_no_others(level: str, labels: list[str]) -> None:
    policy = Policies(level).of("default")
    assert [label for label in BASIC + STANDARD + STRICT if policy.masks(span(label))] == labels


@pytest.mark.parametrize(("level", "masked"), [("basic", False), ("standard", False), ("strict", True)])
def test_widely_known_names_are_masked_by_strict_only(level: str, masked: bool) -> None:
    assert Policies(level).of("p").masks(span("PERSON", "public_person")) is masked


def test_a_rule_says_otherwise_for_a_label() -> None:
    policy = Policies("standard", "redact", ["EMAIL=pass", "LOCATION=redact", "SECRET=block"]).of("p")
    modes = [policy.mode(span(label)) for label in ("EMAIL", "LOCATION", "SECRET", "PHONE")]
    assert modes == [Mode.PASS, Mode.REDACT, Mode.BLOCK, Mode.REDACT]


def test_a_rule_for_a_project_counts_there_only_and_more() -> None:
    policies = Policies("standard", "redact", ["EMAIL=block", "acme:EMAIL=pass", "acme:level=strict", "acme:*=confirm"])
    acme, other = policies.of("acme"), policies.of("other")
    assert (acme.level, acme.mode(span("LOCATION")), acme.mode(span("PHONE"))) == (
        Level.STRICT, Mode.CONFIRM, Mode.CONFIRM,
    )  # fmt: skip
    assert other.mode(span("EMAIL")) is Mode.BLOCK
    assert other.mode(span("PHONE")) is Mode.REDACT


def test_the_last_word_of_a_project_counts() -> None:
    assert Policies(rules=["a:EMAIL=pass", "a:EMAIL=block"]).of("a").mode(span("EMAIL")) is Mode.BLOCK
    assert Policies(rules=["a:EMAIL=pass", "a:*=block"]).of("a").mode(span("EMAIL")) is Mode.BLOCK


def test_mask_is_another_word_for_redact() -> None:
    assert Policies(rules=["EMAIL=mask"]).of("p").mode(span("EMAIL")) is Mode.REDACT


def test_a_rule_for_a_label_leaves_widely_known_names_alone() -> None:
    assert Policies(rules=["PERSON=block"]).of("p").mode(span("PERSON", "public_person")) is Mode.PASS


@pytest.mark.parametrize(
    "rule", ["", "EMAIL", "email=pass", "EMAIL=maybe", "level=none", "a b:EMAIL=pass", "EMAIL=pass,PHONE=pass"]
)
def test_a_rule_that_is_none_is_refused_here_and_in_the_settings(rule: str) -> None:
    with pytest.raises(Misconfigured):
        Policies(rules=[rule])
    check = rule_at(("pii", "rules"))
    assert check is not None
    with pytest.raises(ValueError, match="a list of rules"):
        check.check([rule])


@pytest.mark.parametrize("rule", ["EMAIL=pass", "x:*=block", "a.b-c:level=basic", "US_SSN=local", "*=confirm"])
def test_a_rule_that_is_one_is_taken_here_and_in_the_settings(rule: str) -> None:
    Policies(rules=[rule])
    check = rule_at(("pii", "rules"))
    assert check is not None
    assert check.check([rule]) == (rule,)
