"""Live spike counters: what is counted, over which local days, with what doubt, and when a rise is an alarm."""
