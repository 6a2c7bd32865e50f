"""The fidelity suite behind `membrain conform`: a fake provider, a client, and what is compared between them.

Knows no gateway, ours included: everything is said over HTTP, and judged by what was sent on the other side.
"""
