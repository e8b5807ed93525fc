"""Fits the incident score to simulated weeks, and evaluates it on weeks held out of the fit."""
