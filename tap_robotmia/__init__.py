"""Extracts raw events from robotmia."""
