"""The dashboard of `membrain top`, from the gateway's events to the terminal. Imported by that command only."""
