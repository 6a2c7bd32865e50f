"""The conversation in the terminal: what is said (session), typed (repl, slash) and shown (render)."""
