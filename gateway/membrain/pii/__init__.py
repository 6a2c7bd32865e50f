"""Private values in a text: finding them, deciding about them, placeholders for them, and the way back.

A text is a text here: what a request or an answer is, `membrain.masking` knows. Nothing asks the network.
"""
