"""What is refused before it starts, and the plan."""
