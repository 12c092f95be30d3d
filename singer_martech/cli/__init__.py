"""The commands beside the plugins."""
