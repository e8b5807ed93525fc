"""Real workers under faults: killed, stopped, paused and added while the broker is killed and
paused as well.
"""
