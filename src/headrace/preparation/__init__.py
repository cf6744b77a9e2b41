"""From the profile to a fitted scikit-learn transformer, and its fast twin."""
