"""Live spike counters: counts by local day, comparisons with intervals, alarms (COUNTERS.md)."""
