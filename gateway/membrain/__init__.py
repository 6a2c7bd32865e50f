"""Membrain: a local gateway between a developer's tools and the language models they talk to."""

__version__ = "0.1.0"
