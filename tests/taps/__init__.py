"""Third-party taps, each in its own environment, loaded into the three targets."""
