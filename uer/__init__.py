"""Language models as embedding, encoder, (target embedding, decoder,) target: from text to predictions."""

__version__ = "0.1.0"
