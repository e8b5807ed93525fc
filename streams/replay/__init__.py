"""Archives of topics, and the fold of one through the engine without a broker."""
