"""Reads what others publish: one module a format."""
