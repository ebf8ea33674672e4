"""What `detkit new` writes: plugins from templates, and specs for data that is there."""
