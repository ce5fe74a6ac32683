"""Rules over data sets, and the findings that they make."""
