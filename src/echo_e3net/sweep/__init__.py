"""``echo-e3net sweep``: a W&B sweep file without a server."""
