"""Seeded worlds against the oracle: in the replay, and in workers that crash and recover."""
