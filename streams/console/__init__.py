"""What people see of linked incidents: it reads the output only."""
