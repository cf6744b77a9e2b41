"""Models that answer: a predictor, the guard of its inputs, HTTP around it."""
