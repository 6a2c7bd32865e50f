"""Finding what is private in a text: structured kinds and secrets.

Pure code: text in, spans out. No network, no files, no state beyond a memo in memory. What is done about a finding
(masked, refused, let through) is decided elsewhere; names of persons and places are not this package's business yet.
"""
