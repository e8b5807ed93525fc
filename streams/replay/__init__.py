"""Archives of topics, their replay without a broker, and comparison of the outcomes."""
