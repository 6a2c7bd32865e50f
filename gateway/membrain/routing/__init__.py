"""Which model answers: a pure function of what is asked and what is there."""
