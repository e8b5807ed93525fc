"""Real workers and a broker under faults: killed, stopped, paused and added."""
