"""From files to batches: tables, tracings, clip sampling, decoding, framing, data sets and the data module."""
