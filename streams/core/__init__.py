"""The pure core: events in, outcomes out.

It knows no Kafka, clock, randomness, environment or logging.
"""
