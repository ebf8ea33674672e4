"""Pages about an experiment, written from its record."""
