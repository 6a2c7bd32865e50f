"""The ways of speaking to a model, one module each, and the pure translations between them."""
