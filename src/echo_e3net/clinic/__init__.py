"""Videos from any scanner: read a file, crop it to its sector, and remove everything outside the sector."""
