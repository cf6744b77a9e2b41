"""Where work runs: the cluster file."""
