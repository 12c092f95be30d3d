"""Taps made by others, each in an environment of its own, into the three targets."""
