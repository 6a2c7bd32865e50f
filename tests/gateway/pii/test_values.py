"""What stands around a candidate decides: assignments, boundaries, stand-ins."""

import pytest

from membrain.pii.detectors import detect


def _secrets(text: str) -> list[str]:
    return [text[a:b] for a, b, label in detect(text) if label in {"SECRET", "URL_CREDENTIALS"}]


@pytest.mark.parametrize(("text", "value"), [
    ('password = "Winter-92!"', "Winter-92!"), ("  password: Tr0ub&dor!\n", "Tr0ub&dor!"),
    ("DB_PASSWORD=hunter2go", "hunter2go"),
    ('{"api_key": "q7Rk2ZpX9vLm4TnB"}', "q7Rk2ZpX9vLm4TnB"), ("x?token=q7Rk2ZpX9vLm4TnB&a=1", "q7Rk2ZpX9vLm4TnB"),
    ("X_TOKEN=9f1c2b3a-1111-4c2d-8e9f-0a1b2c3d4e5f", "9f1c2b3a-1111-4c2d-8e9f-0a1b2c3d4e5f"),
    ("mongodb+srv://u:p4$s!w0rd@c.example/db", "u:p4$s!w0rd"),
])  # fmt: skip
def test_a_secret_is_found_to_its_last_sign(text: str, value: str):
    assert _secrets(text) == [value]


@pytest.mark.parametrize("text", [
    "session=9f1c2b3a-1111-4c2d-8e9f-0a1b2c3d4e5f", "password = get_password(user)", "password: string",
    "token: xxxxxxxxxxxxxxxx",
    "public_key = q7Rk2ZpX9vLm4TnB", "csrf_token = q7Rk2ZpX9vLm4TnB", "auth-server: login1.corp.example.com",
    "key: value",
])  # fmt: skip
def test_a_stand_in_or_code_is_no_secret(text: str):
    assert _secrets(text) == []


def test_a_token_longer_than_its_pattern_is_covered_whole():
    token = "sk-ant-api03-" + "q7Rk2ZpX9vLm4TnB8sWd" * 60
    assert _secrets(f"use {token} now") == [token]
