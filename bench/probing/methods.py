"""What a probe fits: logistic or ridge regression, one hidden layer, or nothing (neighbours).

Each has one parameter that is chosen on the dev part, and is then fitted on the whole training
split with it; for the hidden layer that is the number of epochs, so that early stopping needs no
examples kept back from the final fit. Features come standardised: lbfgs on 10,000 x 768 takes 1.2 s
standardised and 146 s unscaled.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.probing.probes import Criterion, ProbeSettings, goodness, ridge, uniform

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from sklearn.linear_model import LogisticRegression
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
"""Epochs without a better dev score after which no more are tried."""
LEARNING_RATE = 3e-3
BATCH = 64
MIN_ITERATIONS = 20
"""Of lbfgs, however many classes there are."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """What answers."""

    predict: Callable[[Float[np.ndarray, "R W"]], np.ndarray]
    """Rows to numbers of classes, or to numbers."""
    report: dict[str, Any] = dataclasses.field(default_factory=dict)


class Method(Protocol):
    """A way of fitting. `y` is integers where classes are asked, floats where a number is."""

    name: str
    parameter: str
    """What its one parameter is called."""

    def choose(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        is_dev: Bool[np.ndarray, " T"],
        noise: Noise,
        protocol: ProbeSettings,
        criterion: Criterion,
    ) -> tuple[float, list[list[float]]]:
        """The parameter, and [parameter, dev score] of all that were tried."""
        ...

    def fit(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        parameter: float,
        noise: Noise,
        protocol: ProbeSettings,
    ) -> Fitted:
        """Fit all rows."""
        ...


def method_of(probe: Probe) -> Method:
    """The method of a reading mode; fine-tuning is none, it has no frozen features."""
    found: dict[str, Method] = {"linear": Linear(), "knn": Neighbours(), "mlp": Perceptron()}
    return found[probe]


class Linear:
    """Logistic regression (multinomial beyond two classes); ridge regression for numbers."""

    name = "linear"
    parameter = "c"

    def choose(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        is_dev: Bool[np.ndarray, " T"],
        noise: Noise,
        protocol: ProbeSettings,
        criterion: Criterion,
    ) -> tuple[float, list[list[float]]]:
        """The inverse regularisation; each fit starts where the one before it ended."""
        tried, model = [], None
        for c in protocol.c_grid:
            fitted, model = self._fitted(x[~is_dev], y[~is_dev], c, protocol, model)
            tried.append([c, goodness(fitted.predict(x[is_dev]), y[is_dev], criterion)])
        return best(tried), tried

    def fit(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        parameter: float,
        noise: Noise,
        protocol: ProbeSettings,
    ) -> Fitted:
        """Until lbfgs has converged, or has done the work it may."""
        return self._fitted(x, y, parameter, protocol, None)[0]

    def _fitted(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        parameter: float,
        protocol: ProbeSettings,
        model: LogisticRegression | None,
    ) -> tuple[Fitted, LogisticRegression | None]:
        """What answers, and the model to go on from where there is one."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if y.dtype.kind == "f":
            answer = ridge(x, y[:, None], 1 / parameter)
            return Fitted(lambda further: answer(further)[:, 0]), None
        if (y == y[0]).all():
            return Fitted(lambda further: np.full(len(further), y[0])), None
        allowed = int(protocol.max_work / (x.size * len(np.unique(y))))
        iterations = max(min(protocol.max_iterations, allowed), MIN_ITERATIONS)
        iterations = min(iterations, protocol.max_iterations)
        model = model or LogisticRegression(warm_start=True)
        model.set_params(C=parameter, max_iter=iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are reported
            warnings.filterwarnings("ignore", "The number of unique classes")  # words are classes
            model.fit(x, y)
        done = int(model.n_iter_.max())
        return Fitted(model.predict, {"iterations": done, "converged": done < iterations}), model


class Neighbours:
    """The label most frequent among the nearest, by cosine; the mean for numbers.

    Of labels equally frequent the one whose neighbours are nearer.
    """

    name = "knn"
    parameter = "k"

    def choose(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        is_dev: Bool[np.ndarray, " T"],
        noise: Noise,
        protocol: ProbeSettings,
        criterion: Criterion,
    ) -> tuple[float, list[list[float]]]:
        """How many neighbours vote."""
        known, asked = x[~is_dev], x[is_dev]
        near, closeness = nearest(known, asked, max(K_GRID))
        tried = []
        for k in K_GRID:
            found = vote(y[~is_dev][near[:, :k]], closeness[:, :k])
            tried.append([float(k), goodness(found, y[is_dev], criterion)])
        return best(tried), tried

    def fit(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        parameter: float,
        noise: Noise,
        protocol: ProbeSettings,
    ) -> Fitted:
        """Remember the rows."""

        def predict(further: Float[np.ndarray, "R W"]) -> np.ndarray:
            near, closeness = nearest(x, further, int(parameter))
            return vote(y[near], closeness)

        return Fitted(predict)


def nearest(
    x: Float[np.ndarray, "T W"], asked: Float[np.ndarray, "R W"], k: int
) -> tuple[Int[np.ndarray, "R K"], Float[np.ndarray, "R K"]]:
    """The rows of `x` of greatest cosine to each asked row, nearest first, and the cosines."""
    k = min(k, len(x))
    x = unit(x)
    near, closeness = np.empty((len(asked), k), dtype=np.int64), np.empty((len(asked), k))
    for start in range(0, len(asked), NEIGHBOUR_ROWS):
        cosine = unit(asked[start : start + NEIGHBOUR_ROWS]) @ x.T
        some = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(cosine, some, axis=1)
        order = np.lexsort((some, -values), axis=1)
        near[start : start + NEIGHBOUR_ROWS] = np.take_along_axis(some, order, axis=1)
        closeness[start : start + NEIGHBOUR_ROWS] = np.take_along_axis(values, order, axis=1)
    return near, closeness


def unit(x: Float[np.ndarray, "T W"]) -> Float[np.ndarray, "T W"]:
    """Rows of length one; a row of zeros stays."""
    scaled: Float[np.ndarray, "T W"] = x / np.maximum(
        np.linalg.norm(x, axis=1, keepdims=True), 1e-12
    )
    return scaled


def vote(labels: np.ndarray, closeness: Float[np.ndarray, "R K"]) -> np.ndarray:
    """One answer from the labels of each row's neighbours."""
    if labels.dtype.kind == "f":
        return np.asarray(labels.mean(1))
    votes = np.zeros((len(labels), labels.max(initial=0) + 1))
    # A vote each; closeness, less than one in all, decides between equal counts.
    weights = 1 + (closeness + 1) / (4 * labels.shape[1])
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    return np.asarray(votes.argmax(1))


class Perceptron:
    """One hidden layer, stopped early."""

    name = "mlp"
    parameter = "epochs"

    def choose(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        is_dev: Bool[np.ndarray, " T"],
        noise: Noise,
        protocol: ProbeSettings,
        criterion: Criterion,
    ) -> tuple[float, list[list[float]]]:
        """How many epochs to train: those after which dev was best."""
        tried: list[list[float]] = []

        def look(epoch: int, fitted: Fitted) -> bool:
            tried.append([float(epoch), goodness(fitted.predict(x[is_dev]), y[is_dev], criterion)])
            return epoch - best(tried) >= PATIENCE

        self._train(x[~is_dev], y[~is_dev], MAX_EPOCHS, noise, look)
        return best(tried), tried

    def fit(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        parameter: float,
        noise: Noise,
        protocol: ProbeSettings,
    ) -> Fitted:
        """Train for so many epochs."""
        return self._train(x, y, int(parameter), noise, lambda epoch, fitted: False)

    def _train(
        self,
        x: Float[np.ndarray, "T W"],
        y: np.ndarray,
        epochs: int,
        noise: Noise,
        look: Callable[[int, Fitted], bool],
    ) -> Fitted:
        import torch

        from bench.pretraining.encoder import initialise

        is_number = y.dtype.kind == "f"
        center, scale = (y.mean(), y.std() or 1.0) if is_number else (0.0, 1.0)
        outputs = 1 if is_number else int(y.max()) + 1
        with torch.random.fork_rng(devices=[]):  # torch draws weights, which are replaced below
            model = torch.nn.Sequential(
                torch.nn.Linear(x.shape[1], HIDDEN),
                torch.nn.GELU(),
                torch.nn.Linear(HIDDEN, outputs),
            )
        for parameter in (model[0].bias, model[2].bias):
            torch.nn.init.zeros_(parameter)  # type: ignore[arg-type]
        initialise(model, noise.seed, "probe.mlp")
        fitted = _answering(model, float(center), float(scale), is_number)
        inputs = torch.from_numpy(x.astype(np.float32))
        targets = torch.from_numpy((y - center) / scale if is_number else y)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
        for epoch in range(1, epochs + 1):
            order = np.argsort(uniform(noise, f"probe.mlp.order.{epoch}", len(x)), kind="stable")
            for rows in torch.split(torch.from_numpy(order), BATCH):
                optimizer.zero_grad()
                loss_of(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
            if look(epoch, fitted):
                break
        return fitted


def loss_of(outputs: Any, targets: Any) -> Any:
    """Cross-entropy for classes, squared error for numbers; the mean over the batch."""
    import torch.nn.functional as F

    if targets.is_floating_point():
        return F.mse_loss(outputs[:, 0], targets.float())
    return F.cross_entropy(outputs, targets)


def _answering(model: nn.Module, center: float, scale: float, is_number: bool) -> Fitted:
    import torch

    def predict(further: Float[np.ndarray, "R W"]) -> np.ndarray:
        with torch.inference_mode():
            outputs = model(torch.from_numpy(further.astype(np.float32))).numpy()
        if is_number:
            return np.asarray(outputs[:, 0] * scale + center, dtype=np.float64)
        return np.asarray(outputs.argmax(1))

    return Fitted(predict)


def best(tried: list[list[float]]) -> float:
    """The first parameter of the greatest score."""
    return max(tried, key=lambda pair: (pair[1], -tried.index(pair)))[0]
