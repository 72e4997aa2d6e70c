"""The probes of frozen features: logistic or ridge regression, one hidden layer, neighbours.

Each method has one parameter. It is chosen on the dev part, and the method is then fitted with it
on the whole training split. For the hidden layer the parameter is the number of epochs, so early
stopping needs no examples outside the final fit. Features are standardised before: lbfgs on
10,000 x 768 takes 1.2 s standardised and 146 s unscaled.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.machine import beat
from bench.probing.protocol import Criterion, ProbeSettings, criterion_score
from bench.probing.sampling import uniform
from bench.probing.targets import is_number, loss_of, num_outputs

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import nn

    from bench.pretraining.noise import Noise
    from bench.probing.task import Probe

K_GRID = (1, 3, 10, 30, 100)
"""Numbers of neighbours tried."""
NEIGHBOUR_ROWS = 1_024
"""Rows compared with all others at a time: 40 MB of similarities for 5,000 of them."""
HIDDEN = 128
"""Width of the hidden layer (Hewitt & Liang 2019 recommend few units for selectivity)."""
MAX_EPOCHS = 40
PATIENCE = 5
"""Training stops after this number of epochs without a better dev score."""
LEARNING_RATE = 3e-3
BATCH = 64
SEARCH_ITERATIONS = 60
"""Maximum number of lbfgs iterations for each regularisation that is tried; each continues from the
weights of the one before, so the last ones have had several times as many."""
MIN_ITERATIONS = 20
"""Minimum number of lbfgs iterations, for any number of classes."""

Predict = Callable[["Float[np.ndarray, 'R W']"], np.ndarray]
"""Rows to numbers of classes, or to numbers."""


@dataclasses.dataclass(frozen=True, eq=False)
class ProbeData:
    """Everything that a method chooses its parameter by and is fitted on. T labels, W features."""

    x: Float[np.ndarray, "T W"]
    """Standardised features."""
    y: np.ndarray
    """Integers for classes, floats for numbers."""
    is_dev: Bool[np.ndarray, " T"]
    """The dev part, on which choices are made."""
    noise: Noise
    settings: ProbeSettings
    criterion: Criterion = "accuracy"


@dataclasses.dataclass(frozen=True, eq=False)
class FittedProbe:
    """A probe after its fit."""

    predict: Predict
    report: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON values for the details of the score."""


class Method(Protocol):
    """A kind of probe."""

    name: str
    parameter: str
    """The name of its one parameter."""

    def choose(self, data: ProbeData) -> tuple[float, list[list[float]]]:
        """The parameter, and [parameter, dev score] of all that were tried."""
        ...

    def fit(self, data: ProbeData, parameter: float) -> FittedProbe:
        """Fit all rows, dev included."""
        ...


def method_of(probe: Probe) -> Method:
    """The method of a probe; fine-tuning has none, because it has no frozen features."""
    methods: dict[str, Method] = {"linear": Linear(), "knn": Neighbours(), "mlp": Perceptron()}
    return methods[probe]


class Linear:
    """Logistic regression (multinomial beyond two classes); ridge regression for numbers."""

    name = "linear"
    parameter = "c"

    def choose(self, data: ProbeData) -> tuple[float, list[list[float]]]:
        """The inverse regularisation; each fit starts from the weights of the one before."""
        x, y, is_dev = data.x, data.y, data.is_dev
        tried, model = [], None
        most = min(data.settings.max_iterations, SEARCH_ITERATIONS)
        short = dataclasses.replace(data.settings, max_iterations=most)
        for c in data.settings.c_grid:
            fitted, model = self._fit(x[~is_dev], y[~is_dev], c, short, model)
            score = criterion_score(fitted.predict(x[is_dev]), y[is_dev], data.criterion)
            tried.append([c, score])
            if [pair[1] < best_score(tried) for pair in tried[-2:]] == [True, True]:
                break
        return best(tried), tried

    def fit(self, data: ProbeData, parameter: float) -> FittedProbe:
        """Fit until lbfgs has converged or has done its maximum work."""
        return self._fit(data.x, data.y, parameter, data.settings, None)[0]

    def _fit(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        parameter: float,
        settings: ProbeSettings,
        model: Any,
    ) -> tuple[FittedProbe, Any]:
        """The fitted probe, and the model for a warm start of the next fit, where there is one."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if is_number(y):
            predict = ridge(x, y[:, None], 1 / parameter)
            return FittedProbe(lambda further: predict(further)[:, 0]), None
        if y.ndim == 1 and (y == y[0]).all():
            return FittedProbe(lambda further: np.full(len(further), y[0])), None
        num_classes = y.shape[1] if y.ndim == 2 else len(np.unique(y))
        allowed = int(settings.max_work / (x.size * num_classes))
        iterations = max(min(settings.max_iterations, allowed), MIN_ITERATIONS)
        iterations = min(iterations, settings.max_iterations)
        if y.ndim == 2:
            return _fit_labels(x, y, parameter, iterations, model)
        model = model or LogisticRegression(warm_start=True)
        model.set_params(C=parameter, max_iter=iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are reported
            warnings.filterwarnings("ignore", "The number of unique classes")  # words are classes
            model.fit(x, y)
        done = int(model.n_iter_.max())
        report = {"iterations": done, "converged": done < iterations}
        return FittedProbe(model.predict, report), model


def _fit_labels(
    x: Float[np.ndarray, "T W"],
    y: Float[np.ndarray, "T K"],
    c: float,
    iterations: int,
    start: Float[np.ndarray, " P"] | None,
) -> tuple[FittedProbe, Float[np.ndarray, " P"]]:
    """A logistic regression for each label, all in one fit, and its weights."""
    from scipy.optimize import minimize
    from scipy.special import expit

    signs, shape = 2 * y - 1, (x.shape[1] + 1, y.shape[1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        margins = signs * (x @ weights[:-1] + weights[-1])
        slopes = -signs * expit(-margins)
        gradient = np.vstack((c * (x.T @ slopes) + weights[:-1], c * slopes.sum(0)))
        penalty = (weights[:-1] ** 2).sum() / 2
        return float(c * np.logaddexp(0, -margins).sum() + penalty), gradient.ravel()

    first = np.zeros(shape).ravel() if start is None else start
    result = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    weights = result.x.reshape(shape)
    report = {"iterations": int(result.nit), "converged": int(result.nit) < iterations}
    fitted = FittedProbe(lambda further: expit(further @ weights[:-1] + weights[-1]), report)
    return fitted, result.x


def ridge(x: Float[np.ndarray, "T W"], targets: Float[np.ndarray, "T K"], penalty: float) -> Any:
    """Least squares with an intercept, as a function of further rows.

    It solves the smaller of the two systems, W x W or T x T.
    """
    mean_x, mean = x.mean(0), targets.mean(0)
    x, targets = x - mean_x, targets - mean
    rows, width = x.shape
    if rows >= width:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(width), x.T @ targets)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(rows), targets)
    return lambda further: (further - mean_x) @ weights + mean


class Neighbours:
    """The label most frequent among the nearest, by cosine; their mean for numbers.

    Of equally frequent labels, the one whose neighbours are nearer wins.
    """

    name = "knn"
    parameter = "k"

    def choose(self, data: ProbeData) -> tuple[float, list[list[float]]]:
        """The number of neighbours that vote."""
        x, y, is_dev = data.x, data.y, data.is_dev
        near, closeness = nearest(x[~is_dev], x[is_dev], max(K_GRID))
        tried = []
        for k in K_GRID:
            predicted = vote(y[~is_dev][near[:, :k]], closeness[:, :k])
            tried.append([float(k), criterion_score(predicted, y[is_dev], data.criterion)])
        return best(tried), tried

    def fit(self, data: ProbeData, parameter: float) -> FittedProbe:
        """Store the rows."""

        def predict(further: Float[np.ndarray, "R W"]) -> np.ndarray:
            near, closeness = nearest(data.x, further, int(parameter))
            return vote(data.y[near], closeness)

        return FittedProbe(predict)


def nearest(
    x: Float[np.ndarray, "T W"], queries: Float[np.ndarray, "R W"], k: int
) -> tuple[Int[np.ndarray, "R K"], Float[np.ndarray, "R K"]]:
    """The rows of `x` of greatest cosine to each query, nearest first, and the cosines."""
    k = min(k, len(x))
    x = unit(x)
    near, closeness = np.empty((len(queries), k), dtype=np.int64), np.empty((len(queries), k))
    for start in range(0, len(queries), NEIGHBOUR_ROWS):
        cosine = unit(queries[start : start + NEIGHBOUR_ROWS]) @ x.T
        top = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(cosine, top, axis=1)
        order = np.lexsort((top, -values), axis=1)
        near[start : start + NEIGHBOUR_ROWS] = np.take_along_axis(top, order, axis=1)
        closeness[start : start + NEIGHBOUR_ROWS] = np.take_along_axis(values, order, axis=1)
    return near, closeness


def unit(x: Float[np.ndarray, "T W"]) -> Float[np.ndarray, "T W"]:
    """Rows scaled to length one; a row of zeros does not change."""
    scaled: Float[np.ndarray, "T W"] = x / np.maximum(
        np.linalg.norm(x, axis=1, keepdims=True), 1e-12
    )
    return scaled


def vote(labels: np.ndarray, closeness: Float[np.ndarray, "R K"]) -> np.ndarray:
    """One prediction from the labels of each row's neighbours."""
    if labels.dtype.kind == "f":
        return np.asarray(labels.mean(1))
    votes = np.zeros((len(labels), labels.max(initial=0) + 1))
    # Each neighbour has one vote; closeness, less than one in all, decides between equal counts.
    weights = 1 + (closeness + 1) / (4 * labels.shape[1])
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    return np.asarray(votes.argmax(1))


class Perceptron:
    """One hidden layer, with early stopping."""

    name = "mlp"
    parameter = "epochs"

    def choose(self, data: ProbeData) -> tuple[float, list[list[float]]]:
        """The number of epochs with the best dev score."""
        x, y, is_dev = data.x, data.y, data.is_dev
        tried: list[list[float]] = []

        def is_done(epoch: int, fitted: FittedProbe) -> bool:
            score = criterion_score(fitted.predict(x[is_dev]), y[is_dev], data.criterion)
            tried.append([float(epoch), score])
            return epoch - best(tried) >= PATIENCE

        self._train(x[~is_dev], y[~is_dev], MAX_EPOCHS, data.noise, is_done)
        return best(tried), tried

    def fit(self, data: ProbeData, parameter: float) -> FittedProbe:
        """Train for this number of epochs."""
        return self._train(data.x, data.y, int(parameter), data.noise, lambda epoch, fitted: False)

    def _train(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        epochs: int,
        noise: Noise,
        is_done: Callable[[int, FittedProbe], bool],
    ) -> FittedProbe:
        import torch

        from bench.pretraining.encoder.initial_weights import initialise

        center, scale = (y.mean(), y.std() or 1.0) if is_number(y) else (0.0, 1.0)
        with torch.random.fork_rng(devices=[]):  # torch draws weights, which are replaced below
            model = torch.nn.Sequential(
                torch.nn.Linear(x.shape[1], HIDDEN),
                torch.nn.GELU(),
                torch.nn.Linear(HIDDEN, num_outputs(y)),
            )
        for parameter in (model[0].bias, model[2].bias):
            torch.nn.init.zeros_(parameter)  # type: ignore[arg-type]
        initialise(model, noise.seed, "probe.mlp", None)
        fitted = FittedProbe(_network_predictor(model, y, float(center), float(scale)))
        inputs = torch.from_numpy(x.astype(np.float32))
        targets = torch.from_numpy((y - center) / scale if is_number(y) else y)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
        for epoch in range(1, epochs + 1):
            beat()
            order = np.argsort(uniform(noise, f"probe.mlp.order.{epoch}", len(x)), kind="stable")
            for rows in torch.split(torch.from_numpy(order), BATCH):
                optimizer.zero_grad()
                loss_of(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
            if is_done(epoch, fitted):
                break
        return fitted


def _network_predictor(model: nn.Module, y: np.ndarray, center: float, scale: float) -> Predict:
    import torch

    from bench.probing.targets import predictions

    def predict(further: Float[np.ndarray, "R W"]) -> np.ndarray:
        with torch.inference_mode():
            outputs = model(torch.from_numpy(further.astype(np.float32))).numpy()
        return predictions(outputs, y, center, scale)

    return predict


def best(tried: list[list[float]]) -> float:
    """The first parameter of the greatest score."""
    return max(tried, key=lambda pair: (pair[1], -tried.index(pair)))[0]


def best_score(tried: list[list[float]]) -> float:
    """The greatest score."""
    return max(score for _, score in tried)


def layer_weights(
    layers: Sequence[Float[np.ndarray, "T W"]], y: np.ndarray, steps: int = 100
) -> tuple[float, ...]:
    """The weights of a mean of layers, learned with a linear probe (Peters et al. 2018).

    Weights are a softmax of one number for each layer; they and the probe are fitted together by
    L-BFGS with a small penalty on the probe.
    """
    import torch

    x = torch.from_numpy(np.stack(layers))
    targets = torch.from_numpy(y).float() if y.dtype.kind == "f" else torch.from_numpy(y)
    if is_number(y):
        targets = (targets - targets.mean()) / targets.std().clamp(min=1e-6)
    logits = torch.zeros(len(x), requires_grad=True)
    weights = torch.zeros(x.shape[2], num_outputs(y), requires_grad=True)
    bias = torch.zeros(num_outputs(y), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits, weights, bias], max_iter=steps, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        mixed = torch.einsum("s,stw->tw", logits.softmax(0), x)
        value: torch.Tensor = loss_of(mixed @ weights + bias, targets)
        value = value + 1e-3 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return tuple(logits.detach().softmax(0).tolist())
