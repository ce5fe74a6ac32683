"""Measure networks against R(2+1)D-18 on this machine. Imports only torch, jsonargparse, jaxtyping and einops."""
