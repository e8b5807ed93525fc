"""What rampwatch costs and how fast it answers, measured on this machine beside yardsticks in the same run."""
