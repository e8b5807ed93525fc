"""Seeded worlds run against the oracle: through the replay, and through workers that crash and
recover.
"""
