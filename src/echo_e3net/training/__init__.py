"""Training and evaluation: the only package that knows Lightning."""
