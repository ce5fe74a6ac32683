"""What can be wrong with a data set, as rules over records and tables."""
