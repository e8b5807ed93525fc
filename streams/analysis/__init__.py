"""Reports on the counters: tables, charts, the rate of false alarms, and a scan for clusters."""
