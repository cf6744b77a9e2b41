"""A model in the formats of other runtimes, and the gate that each has to pass."""
