"""Generated input for the tests: small random worlds, hand-made cases, an evening in Hartford."""
