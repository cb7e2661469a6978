"""Helpers without knowledge of models or data: files, lazy imports, logging, seeding."""
