"""The Python client of the Membrain gateway.

Four names for everyday use; the other dataclasses and `StreamError` live in `membrain_client.client`.
"""

from membrain_client.client import AsyncMembrainClient, ChatCompletion, ChatMessage, MembrainClient

__all__ = ["AsyncMembrainClient", "ChatCompletion", "ChatMessage", "MembrainClient"]
