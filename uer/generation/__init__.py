"""Decoding: a text continued token by token, by drawing or by beam search, and texts scored by a model."""
