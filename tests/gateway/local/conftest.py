"""What the tests of the embedded model share: the real weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import real_models_dir


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """A folder with the real weights."""
    return real_models_dir()
