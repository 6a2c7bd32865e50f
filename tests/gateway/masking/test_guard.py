"""What masking goes by: which variables hold secrets, and the key of the placeholders."""

from __future__ import annotations

from pathlib import Path

import pytest

from membrain.errors import Misconfigured
from membrain.masking.guard import KEY_BYTES, Guard, detector_of, kept_key, key_of, secrets_in
from membrain.pii.detector import Detector
from membrain.pii.lists import Lists, save
from membrain.pii.policy import Policies

VALUE = "Zk3vQ9xT" + "7LmB2wRp"


@pytest.mark.parametrize(
    "name", ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "STRIPE_KEY", "pgpassword", "API_KEY_PROD"]
)
def test_variables_that_hold_secrets_are_known_by_their_names(name: str) -> None:
    assert secrets_in({name: VALUE}) == {VALUE: "SECRET"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOME", VALUE),
        ("EDITOR", VALUE),
        ("SSH_AUTH_SOCK", "/run/user/1000/keyring/ssh"),
        ("TOKEN", "short"),
        ("USE_KEY", "true"),
        ("KEY_COUNT", "123456789"),
        ("SECRET_FILE", "/etc/secrets/one.txt"),
        ("AUTH", "disabled"),
        ("PASSWORD_URL", "https://vault.example/v1/path"),
    ],
)
def test_what_is_no_secret_is_not_taken_for_one(name: str, value: str) -> None:
    assert secrets_in({name: value}) == {}


def test_a_key_is_made_once_and_then_kept() -> None:
    kept: list[str] = []
    first = kept_key(lambda: kept[0] if kept else None, kept.append)
    again = kept_key(lambda: kept[0] if kept else None, kept.append)
    assert first == again
    assert (len(first), len(kept)) == (KEY_BYTES, 1)


def test_the_detector_knows_lists_keys_and_the_environment(tmp_path: Path) -> None:
    lists = Lists({"Project Falcon": "CUSTOM"}, {"office@corp-mail.net"})
    save(lists, tmp_path / "pii.toml")
    environ = {"GITHUB_TOKEN": VALUE, "HOME": "/home/somebody"}
    detector = detector_of(tmp_path / "pii.toml", "builtin", ["provider-key-0123"], environ, 5)()
    text = f"project falcon: {VALUE} provider-key-0123 office@corp-mail.net /home/somebody"
    assert {(text[span.start : span.end], span.label) for span in detector.scan(text)} == {
        ("project falcon", "CUSTOM"),
        (VALUE, "SECRET"),
        ("provider-key-0123", "SECRET"),
    }


def test_an_engine_that_is_not_there_is_an_error_by_name(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no_such_module"):
        detector_of(tmp_path / "pii.toml", "no_such_module:find", [], {}, 5)


@pytest.mark.parametrize("text", ["", "ab", "zz" * KEY_BYTES, "ab" * (KEY_BYTES + 1)])
def test_a_damaged_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        key_of(text)
    assert not text or text not in str(caught.value)


def test_the_key_is_in_no_repr() -> None:
    guard = Guard(Detector(names=False), Policies(), b"s3cr3t" * 6)
    assert "s3cr3t" not in repr(guard)
