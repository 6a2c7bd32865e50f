"""The terminal door to Membrain. Holds its version, read without importing anything."""

__version__ = "0.1.0"
