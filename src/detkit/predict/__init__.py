"""Using a trained detector: find a run, load what it learned, look at images, draw and write what was found."""
