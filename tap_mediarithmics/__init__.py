"""Extracts the results of query exports from mediarithmics."""
