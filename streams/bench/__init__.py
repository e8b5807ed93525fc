"""Benchmarks: throughput, latency and memory beside baselines measured in the same run."""
