"""What a dataset holds: the profile, its measurement, and checks over it."""
