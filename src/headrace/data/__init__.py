"""Where bytes come from: storage, datasets, reading, samples."""
