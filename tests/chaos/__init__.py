"""The chaos run: real workers on a real Kafka under load, faults at random, and the oracle's verdict at the end."""
