"""Imports data that others publish: one module for each format."""
