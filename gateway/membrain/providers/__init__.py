"""What answers: one file for each kind of upstream."""
