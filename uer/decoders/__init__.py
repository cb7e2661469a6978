"""Decoders. The table maps `--decoder` names to classes without importing torch."""

DECODERS = {"transformer": "uer.decoders.transformer:TransformerDecoder"}
