"""The network: backbone, border detector (E²CBD), feature aggregator (E²FA) and the whole network (E3Net)."""
