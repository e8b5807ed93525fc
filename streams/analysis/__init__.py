"""What people and commands do with the counters: report them, draw them, measure their alarms, look for clusters."""
