"""Everything that speaks to Kafka besides the worker: connections, topics, rights."""
