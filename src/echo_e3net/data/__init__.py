"""From files to clips: tables, tracings, decoding, cache, sampling and data sets."""
