"""The specification of a run: encoder, training, budget, seeds, and the identity of a run.

Everything here is plain values. The identity of a run is the canonical JSON of everything that
determines its weights, and of nothing about tasks. Its sha256 names the folder, so the same command
finds finished work.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bench.errors import BenchError
from bench.settings import (
    Fraction,
    PositiveFloat,
    PositiveInt,
    as_mapping,
    from_mapping,
    settings,
    sha256_json,
)

RECIPE = 6
"""The version of the training code: raised when the same settings give other weights."""

Axis = Literal["tokens", "predictions", "flops", "seconds"]
"""The axes of a budget."""
_MAX_SEEDS = 1000


@settings
class EncoderShape:
    """The shape of an encoder."""

    hidden_size: PositiveInt
    """Width of the residual stream."""
    num_layers: PositiveInt
    """Transformer layers."""
    num_heads: PositiveInt
    """Attention heads; divides hidden_size into even parts."""
    mlp_size: PositiveInt
    """Width inside the gated MLP (ModernBERT: 1.5 x hidden_size)."""
    max_length: PositiveInt
    """Positions of a row."""
    vocab_size: PositiveInt
    """Vocabulary size of the tokenizer that is trained; a given tokenizer brings its own."""
    rotary_theta: PositiveFloat = 160_000.0
    """Base of the wavelengths of rotary positions (sizes: 4 x max_length)."""

    @model_validator(mode="after")
    def _heads_fit(self) -> EncoderShape:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} does not divide into {self.num_heads} heads of "
                "even width (rotary positions pair up the entries of a head)"
            )
        if self.max_length < 4:
            raise ValueError(f"max_length {self.max_length} leaves no room for text; 4 at least")
        return self


@settings
class Training:
    """Hyperparameters of pretraining, the same for all objectives."""

    learning_rate: PositiveFloat
    """Peak learning rate of AdamW."""
    batch_tokens: PositiveInt
    """Tokens per step, over all rows."""
    warmup: Fraction = 0.05
    """Share of the budget over which the learning rate rises linearly."""
    decay: Fraction = 0.4
    """Share of the budget, at its end, over which the learning rate falls linearly to zero."""
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.01
    """Decoupled weight decay of matrices."""
    beta1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """AdamW's first moment."""
    beta2: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.98
    """AdamW's second moment."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the outputs of embeddings, attention and MLP that are zero in training."""
    clip_norm: PositiveFloat = 1.0
    """Norm to which larger gradients are scaled down."""
    packing: Literal["joined", "bounded"] = "joined"
    """A row holds several documents: attention is `joined` over them, or `bounded` to each."""
    threads: PositiveInt = 1
    """CPU threads of a run. They change the last bits, so they are part of the identity."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """The amount that a run may spend, on one axis."""

    axis: Axis | Literal["epochs"]
    """Epochs are turned into tokens as soon as the corpus is prepared (`in_tokens`)."""
    amount: float

    _UNITS: ClassVar = {
        "": "tokens",
        "tok": "tokens",
        "pred": "predictions",
        "flop": "flops",
        "s": "seconds",
        "epoch": "epochs",
    }
    _SCALES: ClassVar = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}

    @classmethod
    def parse(cls, budget: str | float | Budget) -> Budget:
        """Read `2M`, `300kpred`, `1e15flop`, `60s` or `10epochs`; a number is an amount of tokens.

        Raises:
            BenchError: Not a budget, or not above 0.
        """
        if isinstance(budget, Budget):
            return budget
        is_number = isinstance(budget, int | float) and not isinstance(budget, bool)
        text = f"{budget!r}" if is_number else budget
        match = re.fullmatch(
            r"\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([kmgbt]?)(tok|pred|flop|s|epoch|)(?:s|ens|ictions)?\s*",
            text.lower() if isinstance(text, str) else "",
        )
        amount = float(match[1]) * cls._SCALES[match[2]] if match else 0.0
        if match is None or not 0 < amount < float("inf"):
            raise BenchError(
                f"budget {budget!r} is not an amount above 0; write 2M (tokens), 300kpred "
                "(predictions), 1e15flop, 60s or 10epochs"
            )
        return cls(cls._UNITS[match[3]], amount)  # type: ignore[arg-type]

    def in_tokens(self, tokens_per_epoch: int) -> Budget:
        """The same budget, with epochs as tokens."""
        if self.axis != "epochs":
            return self
        return Budget("tokens", max(1.0, round(self.amount * tokens_per_epoch)))

    def __str__(self) -> str:
        if self.axis == "epochs":
            return f"{self.amount:g} epochs"
        amount = f"{self.amount:,.0f}" if 1 <= self.amount < 1e12 else f"{self.amount:.4g}"
        return f"{amount} {'FLOPs' if self.axis == 'flops' else self.axis}"


def parse_seeds(seeds: str | int | Iterable[int]) -> list[int]:
    """Read `0`, `0-2` or `0,3,7-9`; a number N gives 0 to N - 1; a list is taken as it is.

    Raises:
        BenchError: Not seeds, or more than 1,000 of them.
    """
    if isinstance(seeds, str):
        return _seeds_of_text(seeds)
    is_count = isinstance(seeds, int) and not isinstance(seeds, bool)
    try:
        count = min(seeds, _MAX_SEEDS + 1) if is_count else 0  # type: ignore[type-var]
        numbers = range(count) if is_count else list(seeds)  # type: ignore[arg-type]
        is_valid = all(type(seed) is int and 0 <= seed < 10**9 for seed in numbers)
    except TypeError:
        numbers, is_valid = [], False
    if not is_valid or not 0 < len(numbers) <= _MAX_SEEDS:
        raise BenchError(
            f"seeds {seeds!r}: give the number of seeds (3), a list ([0, 1]) or text ('0-2')"
        )
    return sorted(set(numbers))


def _seeds_of_text(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last - first >= _MAX_SEEDS:
            raise BenchError(f"seeds {text!r}: write 0, 0-2 or 0,3,7-9 (got {part!r})")
        seeds.extend(range(first, last + 1))
    return sorted(set(seeds))


Overrides = Mapping[str, Mapping[str, Any]]
"""Owner (`encoder`, `training` or an objective) -> setting -> value."""


def parse_overrides(
    settings: Iterable[str] | Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Read `OWNER.SETTING=VALUE` items, or a mapping of mappings, into owner -> setting -> value.

    Raises:
        BenchError: Not of that form.
    """
    overrides: dict[str, dict[str, Any]] = {}
    if isinstance(settings, Mapping):
        for owner, values in settings.items():
            if not isinstance(owner, str) or not isinstance(values, Mapping):
                raise BenchError(
                    f"settings: {owner!r} has {values!r}; give a mapping of settings for each "
                    'owner, as {"encoder": {"num_layers": 6}}'
                )
            overrides[owner.replace("-", "_")] = {str(key): value for key, value in values.items()}
        return overrides
    for item in [settings] if isinstance(settings, str) else settings:
        match = re.fullmatch(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)=(.*)", str(item), re.DOTALL)
        if match is None:
            raise BenchError(f"--set {item!r}: write OWNER.SETTING=VALUE, as span.mean_length=4")
        owner, field = match[1].replace("-", "_"), match[2].replace("-", "_")
        overrides.setdefault(owner, {})[field] = match[3]
    return overrides


@dataclasses.dataclass(frozen=True)
class Init:
    """The checkpoint that a run continues."""

    family: str
    """`bench` for its own encoder, else the architecture in transformers: `bert`."""
    sha256: str
    """Of weights, configuration and tokenizer."""
    name: str
    """The folder's name, the run's id, or `hf:NAME`; not part of the identity."""
    folder: str
    """Where it lies on this machine; not part of the identity."""
    has_head: bool
    """Whether it has a head that predicts tokens."""
    scoring: Literal["masked", "shifted", "causal"] = "masked"
    """How its head predicts them."""
    attention: Literal["full", "causal"] = "full"
    """The attention pattern of its features."""

    def identity(self) -> dict[str, str]:
        """Everything that determines the weights and the scores of the untouched checkpoint."""
        predicts = {"scoring": self.scoring, "attention": self.attention}
        is_usual = predicts == {"scoring": "masked", "attention": "full"}
        return {"family": self.family, "sha256": self.sha256} | ({} if is_usual else predicts)

    @property
    def tag(self) -> str:
        """A part of the name of its scores: another way to predict makes other scores."""
        identity = self.identity()
        return self.sha256[:8] if "scoring" not in identity else sha256_json(identity)[:8]


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """One pretraining, completely specified."""

    objective: str
    settings: Mapping[str, Any]
    objective_code: str
    seed: int
    size: str
    encoder: EncoderShape
    training: Training
    budget: Budget
    corpus_sha256: str
    tokenizer_sha256: str
    device: str
    torch_version: str
    display_name: str
    tuned: tuple[str, ...] = ()
    """The settings that were tuned, with the values tried: `training.learning_rate=1e-3,2e-3`."""
    init: Init | None = None
    """The checkpoint that gives the initial weights; None: they are drawn from the seed."""

    def identity(self) -> dict[str, Any]:
        """Everything that determines the weights, as plain values."""
        return {
            "recipe": RECIPE,
            "objective": self.objective,
            "settings": dict(self.settings),
            "objective_code": self.objective_code,
            "seed": self.seed,
            "size": self.size,
            "encoder": as_mapping(self.encoder),
            "training": _identity_of(self.training),
            "budget": {"axis": self.budget.axis, "amount": self.budget.amount},
            "corpus_sha256": self.corpus_sha256,
            "tokenizer_sha256": self.tokenizer_sha256,
            "device": self.device,
            "torch_version": self.torch_version,
            **({"tuned": list(self.tuned)} if self.tuned else {}),
            **({"init": self.init.identity()} if self.init else {}),
        }

    @property
    def id(self) -> str:
        """The run's folder name."""
        return f"{self._stem()}-{sha256_json(self.identity())[:8]}"

    @property
    def unfinished_id(self) -> str:
        """The name of unfinished work: without the parts that may change between two commands.

        The same command after the corpus was edited, or torch was upgraded, therefore finds the
        unfinished work and can name the change instead of starting over in silence.
        """
        identity = self.identity()
        for key in ("corpus_sha256", "tokenizer_sha256", "torch_version", "objective_code"):
            del identity[key]
        del identity["training"]["threads"]
        return f"{self._stem()}-{sha256_json(identity)[:8]}"

    @property
    def comparison(self) -> str:
        """Equal for runs that may share a table: only objective, tuned settings and seed differ.

        Machines may differ, too; `bench.reporting.conclusions.machines` tests whether they do.
        """
        shared = without_machine(self.identity())
        for label in self.tuned:
            owner, _, name = label.partition("=")[0].partition(".")
            if owner in shared:
                shared[owner][name] = label
        for key in ("objective", "settings", "objective_code", "seed"):
            del shared[key]
        return sha256_json(shared)

    def _stem(self) -> str:
        return f"{self.objective}-{self.size}-s{self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back."""
        plain = self.identity() | {"display_name": self.display_name}
        del plain["recipe"]
        return plain | ({"init": dataclasses.asdict(self.init)} if self.init else {})

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> RunSpec:
        """The inverse of `to_json`."""
        return cls(
            **{
                **plain,
                "encoder": from_mapping(EncoderShape, plain["encoder"], "encoder"),
                "training": from_mapping(Training, plain["training"], "training"),
                "budget": Budget(**plain["budget"]),
                "tuned": tuple(plain.get("tuned", ())),
                "init": Init(**plain["init"]) if plain.get("init") else None,
            }
        )


def _identity_of(training: Training) -> dict[str, Any]:
    """All hyperparameters; of those that came later, only other values than the default."""
    plain = as_mapping(training)
    return {k: v for k, v in plain.items() if (k, v) != ("packing", "joined")}


def without_machine(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run without device, threads and version of torch.

    They change the last bits. Of a budget in seconds they change the tokens, so there they stay.
    """
    if identity["budget"]["axis"] == "seconds":
        return dict(identity)
    shared = {k: v for k, v in identity.items() if k not in ("device", "torch_version")}
    if isinstance(identity.get("training"), Mapping):
        shared["training"] = {k: v for k, v in identity["training"].items() if k != "threads"}
    return shared
