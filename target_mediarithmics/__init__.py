"""Loads documents into mediarithmics."""
