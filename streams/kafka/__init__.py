"""Access to Kafka outside the worker: connections, topics, rights and the partitioner."""
