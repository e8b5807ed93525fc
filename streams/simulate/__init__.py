"""A simulated city, and real gunshots brought in."""
