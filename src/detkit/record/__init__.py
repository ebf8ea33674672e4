"""What an experiment leaves on disk: where each file lies, how it is written, and how it is read."""
