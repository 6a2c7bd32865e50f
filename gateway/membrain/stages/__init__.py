"""The rooms on a request's way; none imports another."""
