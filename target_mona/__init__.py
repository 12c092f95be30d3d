"""Loads records into Mona."""
