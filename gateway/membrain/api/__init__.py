"""The network door: no rules, only translation."""
