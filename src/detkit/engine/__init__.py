"""Drives components and writes the record. `experiment` is the parent's side, `run` and `loop` the child's."""
