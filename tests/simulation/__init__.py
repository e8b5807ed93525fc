"""Small random worlds and the brute-force oracle that says what the join must make of them."""
