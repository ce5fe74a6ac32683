"""Bring your own videos: any echo clip → what a network reads, with everything outside the sector removed."""
