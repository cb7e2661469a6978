"""Whole models: `Model` runs the parts, `build_model` puts them together, `initialize` fills them."""
