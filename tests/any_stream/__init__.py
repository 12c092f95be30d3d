"""Streams as they are found in the wild, each into all three targets."""
