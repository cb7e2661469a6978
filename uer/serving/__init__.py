"""The local page on which a person tries a model."""
