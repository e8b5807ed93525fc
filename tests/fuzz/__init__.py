"""Hostile records: shapes of any size, valid records mutated at random, and what admits them."""
