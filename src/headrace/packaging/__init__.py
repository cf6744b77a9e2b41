"""A model with all that is needed to trust and use it, and the registry of them."""
