"""From a TOML file to an `ExperimentSpec`: every problem at once, each with its line; every value with its origin."""
