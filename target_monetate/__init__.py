"""Loads rows into Monetate datasets."""
