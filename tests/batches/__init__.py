"""BATCH messages between a tap and a target of this project."""
