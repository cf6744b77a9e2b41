"""Candidates, and the ordered stream of blocks that trains them all."""
