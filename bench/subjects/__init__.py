"""What the plugins are measured against; each runs as a command of its own."""
