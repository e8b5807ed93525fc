"""Simulated cities with known truth, for demos, tests, calibration and benchmarks."""
