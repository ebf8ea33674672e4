"""The doctor of data: what is wrong with a dataset, each thing with its check, file and object, and what to do."""
