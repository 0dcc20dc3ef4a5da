"""What tools/stress.py tries, one kind per file."""
