"""Studies and sweeps: many trainings, planned, run and compared."""
