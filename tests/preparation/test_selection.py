"""Which columns stay: scores as those of scikit-learn, from merged counts of chunks that drift."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chi2_contingency
from sklearn.feature_selection import f_classif
from sklearn.metrics import mutual_info_score

from headrace.errors import WorkflowError
from headrace.preparation.options import SelectOptions
from headrace.preparation.selection import score_of
from headrace.profiling.profile import merge_profiles, profile_table


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 1500)
    return pa.table(
        {
            "strong": y + rng.normal(0, 0.5, 1500) + np.linspace(0, 1, 1500),
            "weak": 0.2 * y + rng.normal(0, 1, 1500),
            "noise": rng.normal(0, 9, 1500),
            "word": np.array(["a", "b", "c", "d"])[
                np.where(rng.random(1500) < 0.5, y, rng.integers(0, 4, 1500))
            ],
            "y": y,
        }
    )


@pytest.fixture(scope="module")
def profile(table):
    parts = [profile_table(table.slice(start, 500), target="y") for start in (0, 500, 1000)]
    return reduce(merge_profiles, parts)["all"]


def test_scores_are_those_of_scikit_learn(table, profile):
    y = table["y"].to_numpy()
    numbers = ["strong", "weak", "noise"]
    X = np.stack([table[name].to_numpy() for name in numbers], axis=1)
    assert [score_of(profile, name, "anova") for name in numbers] == pytest.approx(f_classif(X, y)[0])
    assert [score_of(profile, name, "variance") for name in numbers] == pytest.approx(X.var(axis=0))
    words = table["word"].to_numpy(zero_copy_only=False)
    counts = np.array([[np.sum((words == word) & (y == label)) for label in range(3)] for word in "abcd"])
    found = chi2_contingency(counts)
    assert score_of(profile, "word", "chi2") == pytest.approx(found.statistic / found.dof)
    assert score_of(profile, "word", "mutual_information") == pytest.approx(mutual_info_score(words, y))
    binned = np.searchsorted(np.quantile(X[:, 0], np.linspace(0, 1, 33)[1:-1]), X[:, 0])
    assert score_of(profile, "strong", "mutual_information") >= mutual_info_score(binned, y) - 0.05


def test_the_best_columns_stay(survey, table):
    p = survey(table, "y", select={"by": "anova", "keep": 2})
    assert p.features_in == ("strong", "weak", "word")
    assert [(item.name, item.asked) for item in p.dropped] == [("noise", True)]
    p = survey(table, "y", select={"by": "mutual_information", "keep": 2})
    assert p.features_in == ("strong", "word")
    p = survey(table, "y", select={"by": "variance", "above": 2.0})
    assert p.features_in == ("noise", "word")


def test_correlation_with_a_number_comes_from_the_cross_products(survey, table):
    numbers = table.drop_columns(["word"])
    p = survey(numbers, "y", "regression", select={"by": "correlation", "keep": 1})
    assert p.features_in == ("strong",)
    found = abs(np.corrcoef(table["weak"].to_numpy(), table["y"].to_numpy())[0, 1])
    why = next(item.why for item in p.dropped if item.name == "weak")
    assert why.startswith(f"correlation {found:.4g} ")


def test_of_two_classes_correlation_follows_from_means(table):
    y = np.where(table["y"].to_numpy() > 0, "late", "fine")
    two = table.set_column(table.column_names.index("y"), "y", pa.array(y))
    profile = profile_table(two, target="y")["all"]
    wanted = abs(np.corrcoef(table["strong"].to_numpy(), y == "late")[0, 1])
    assert score_of(profile, "strong", "correlation") == pytest.approx(wanted)


def test_a_score_of_classes_needs_classes(survey, table):
    with pytest.raises(WorkflowError, match="use correlation or variance"):
        survey(table.drop_columns(["y"]), select={"by": "anova", "keep": 1})


def test_one_way_to_say_how_many():
    with pytest.raises(ValueError, match="either keep or above"):
        SelectOptions(by="variance", keep=1, above=2.0)
