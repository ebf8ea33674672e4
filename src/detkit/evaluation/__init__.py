"""Evaluating what is there already: a recorded run on images, or files of predictions and ground truth."""
