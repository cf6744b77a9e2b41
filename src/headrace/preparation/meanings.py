"""What each word of a preparation means, in one line; the reference of preprocessing is written from it and the options."""

from __future__ import annotations

MEANINGS: dict[str, dict[str, str]] = {
    "impute": {
        "mean": "A missing number becomes the mean; booleans get the most frequent value.",
        "median": "A missing number becomes the median, within the rank error of the sketch.",
        "most_frequent": "A missing number becomes the most frequent one.",
        "constant": "A missing number becomes `fill_value`.",
        "regression": "A missing number becomes its conditional mean given the others, from cross products; held as an `IterativeImputer`.",
        "none": "A missing number stays missing, for models that take it.",
    },
    "outliers": {
        "clip": "What lies outside of the bounds of `clip` is held to them.",
        "flag": "The same, and a 0/1 feature `outlier__NAME` says where.",
        "remove": "Training rows outside of the bounds are left out; elsewhere values are held to them. Statistics of the column are of the rows inside.",
    },
    "transform": {
        "none": "No curve.",
        "log1p": "log(1 + x), of numbers from 0 on.",
        "sqrt": "Square root, of numbers from 0 on.",
        "box_cox": "Box and Cox (1964), of numbers above 0; lambda by maximum likelihood.",
        "yeo_johnson": "Yeo and Johnson (2000), of any numbers; lambda by maximum likelihood.",
        "quantile_normal": "Through 1000 quantiles to a normal distribution.",
        "quantile_uniform": "Through 1000 quantiles to shares from 0 to 1.",
    },
    "scale": {
        "standard": "To mean 0 and deviation 1.",
        "minmax": "From the smallest at 0 to the largest at 1.",
        "robust": "To median 0 and quartile distance 1.",
        "maxabs": "To 1 at the largest distance from 0; 0 stays 0.",
        "none": "As it is.",
    },
    "encode": {
        "auto": "One-hot; columns of text or of more than 1000 values are dropped with a note.",
        "one_hot": "A feature a value; also for numbers that are codes, of which missing is a value too.",
        "ordinal": "The place of the value among all.",
        "hashing": "The value to one of `hash_features`, with a sign; nothing is learnt.",
        "frequency": "The share of the training rows that have the value; 0 for one never seen.",
        "target": "The mean of the target (of each class when there are more than two), drawn to that of all; in training out of fold.",
        "bag_of_words": "How often each of the most frequent tokens stands in a text.",
        "tfidf": "The same, weighted by how few texts a token stands in, rows of length 1.",
        "text_hashing": "Each token to one of `hash_features`; nothing is learnt.",
    },
    "missing": {
        "category": "A missing value is the category `missing`.",
        "most_frequent": "A missing value becomes the most frequent one.",
    },
    "cycles": {
        "one_hot": "Hour, weekday, month, day and minute as a feature a value.",
        "sin_cos": "Hour, weekday, month, day and minute as sine and cosine of their place in the round.",
    },
    "by": {
        "variance": "Numbers by their variance.",
        "correlation": "Numbers by their correlation with a number, or with one of two classes.",
        "anova": "Numbers by F of the means of the classes.",
        "chi2": "Strings by chi-square over its degrees of freedom, of values and classes.",
        "mutual_information": "Numbers (in 32 bins) and strings by what they tell of the classes, in nats.",
        "l1": "Numbers by the penalty at which they enter the path of the lasso, of classes coded 0 and 1, from cross products.",
        "recursive_elimination": "Numbers by the round in which least squares, of classes coded 0 and 1, lets them go, from cross products.",
        "permutation": "Columns by what boosted trees of 10,000 sampled training rows lose on 10,000 others when they are shuffled.",
    },
    "method": {
        "pca": "Principal components of filled and scaled numbers, exact from cross products.",
        "svd": "Singular vectors of filled and scaled numbers, from cross products.",
        "random_projection": "Random directions of filled and scaled numbers; nothing is learnt but mean and deviation.",
    },
}
"""By key and value. Keys of `prepare.select` and `prepare.reduce` stand here as well."""
