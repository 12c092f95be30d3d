"""Streams of real taps, loaded into each of the three targets."""
