"""The brute-force oracle of the join. It imports nothing of the product."""
