"""Which model is best: reads records, asks nothing of the engine."""
