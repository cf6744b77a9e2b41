"""One pass over the untouched test split: metrics, slices, intervals."""
