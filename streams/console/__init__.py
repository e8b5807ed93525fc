"""Presents linked incidents to people; uses only the published output."""
