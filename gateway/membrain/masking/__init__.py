"""Masking: what of a request is looked at and replaced, and what of an answer is put back."""
