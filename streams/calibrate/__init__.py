"""Fitting the score to simulated history, and measuring what it is worth on history it has not seen."""
