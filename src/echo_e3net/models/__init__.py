"""Trained networks as files: what they hold, how they are opened, and how they are exported."""
