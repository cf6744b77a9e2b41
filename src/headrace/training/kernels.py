"""Kernel machines on a stream: a linear model on random features of a kernel, as a pipeline of scikit-learn."""

from __future__ import annotations

from typing import Any, Literal

Approximation = Literal["fourier", "nystroem"]


def kernel_classifier(
    approximation: Approximation = "fourier",
    n_components: int = 300,
    gamma: float | Literal["scale"] = "scale",
    loss: str = "log_loss",
    alpha: float = 1e-6,
    eta0: float = 1.0,
    random_state: int | None = None,
) -> Any:
    """Make a kernel machine for classes: a pipeline of random features and `SGDClassifier`.

    Parameters
    ----------
    approximation : {"fourier", "nystroem"}
        Random Fourier features of the radial kernel (Rahimi & Recht 2007), or Nystroem's method (Williams & Seeger 2001),
        whose landmarks are rows of the first block.
    n_components : int
        Random features.
    gamma : float or "scale"
        Of the kernel; ``scale`` is one over the number of features times their variance in the first rows.
    loss, alpha, eta0
        Of the linear model. Rows of random features have length 1, hence the large step.
    random_state : int, optional
        Of both steps.
    """
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss=loss, alpha=alpha, eta0=eta0, random_state=random_state, **_STEPS)
    return _on_features(model, approximation, n_components, gamma, random_state)


def kernel_regressor(
    approximation: Approximation = "fourier",
    n_components: int = 300,
    gamma: float | Literal["scale"] = "scale",
    alpha: float = 1e-6,
    eta0: float = 0.1,
    random_state: int | None = None,
) -> Any:
    """Make a kernel machine for numbers: a pipeline of random features and `SGDRegressor`; parameters as of `kernel_classifier`."""
    from sklearn.linear_model import SGDRegressor

    model = SGDRegressor(alpha=alpha, eta0=eta0, random_state=random_state, **_STEPS)
    return _on_features(model, approximation, n_components, gamma, random_state)


# As the other linear models on the stream: rows come mixed, and the weights are averaged.
_STEPS: dict[str, Any] = {"learning_rate": "constant", "average": True, "shuffle": False}


def _on_features(
    model: Any, approximation: Approximation, n_components: int, gamma: Any, random_state: int | None
) -> Any:
    from sklearn.kernel_approximation import Nystroem, RBFSampler
    from sklearn.pipeline import Pipeline

    features: Any
    if approximation == "nystroem":
        # scikit-learn's Nystroem knows no "scale"; one over the number of features is its own default.
        width = None if gamma == "scale" else gamma
        features = Nystroem(gamma=width, n_components=n_components, random_state=random_state)
    else:
        features = RBFSampler(gamma=gamma, n_components=n_components, random_state=random_state)
    return Pipeline([("kernel", features), ("model", model)])
