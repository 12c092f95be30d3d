"""The alternatives to the plugins; each is a command."""
