"""Images with their objects: targets for training, predictions, ground truth, splits, sampling, checks."""
