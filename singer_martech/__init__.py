"""What the singer-martech plugins share; nothing here belongs to one vendor."""
