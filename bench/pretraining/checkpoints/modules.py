"""The encoder and the head of a run: drawn from its seed, or from the checkpoint it continues.

Where the objective has the ordinary token head and the checkpoint has one, the checkpoint's own
head is continued, so that the untouched checkpoint predicts tokens as it did before.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError

from bench.errors import BenchError, RefusedError
from bench.pretraining.checkpoints.adapter import CheckpointEncoder, CheckpointHead, adapted
from bench.pretraining.checkpoints.families import base_model, family_named, masked_model_class
from bench.pretraining.checkpoints.source import ARCHITECTURE, OWN, read_config, sha256_of
from bench.pretraining.encoder import Encoder, SharedEncoder
from bench.pretraining.encoder.initial_weights import initial_head
from bench.pretraining.heads import TokenHead
from bench.pretraining.ledger import encoder_parameters
from bench.pretraining.tensors import load_weights, read_tensors

if TYPE_CHECKING:
    from torch import nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.objective import Objective, Scoring
    from bench.spec import EncoderShape, Init, RunSpec


def initial_modules(
    spec: RunSpec, objective: Objective, vocabulary: Vocabulary
) -> tuple[SharedEncoder, nn.Module]:
    """Encoder and head with the weights that a run starts from.

    Args:
        spec: Specification of the run.
        objective: Its objective.
        vocabulary: The vocabulary of its tokenizer.

    Raises:
        BenchError: The checkpoint cannot be read.
        RefusedError: It is not the one that was submitted.
    """
    head = initial_head(lambda: objective.head(spec.encoder, vocabulary), spec.seed)
    if spec.init is None:
        return Encoder(spec.encoder, spec.seed), head
    encoder, own = load_checkpoint_modules(spec.init, spec.encoder)
    return encoder, _with_token_heads(head, own)


def load_checkpoint_modules(
    init: Init, shape: EncoderShape
) -> tuple[SharedEncoder, nn.Module | None]:
    """The encoder of a checkpoint, and its token head if it has one.

    Args:
        init: The checkpoint.
        shape: Its shape; the maximum length may be smaller than that of the checkpoint.

    Raises:
        BenchError: The checkpoint cannot be read.
        RefusedError: It is not the one that was submitted.
    """
    folder = Path(init.folder)
    if not folder.is_dir():
        raise BenchError(f"the checkpoint {init.name} is no longer at {folder}; bring it back")
    sha256 = sha256_of(folder, init.name)
    if sha256 != init.sha256:
        raise RefusedError(
            f"the checkpoint {init.name} was changed: sha256 {init.sha256[:12]} when it was "
            f"submitted and {sha256[:12]} now; submit again"
        )
    if not (folder / "run.json").is_file():
        return _from_transformers(folder, shape, init)
    encoder, head = empty_modules(folder, shape, init.has_head)
    load_weights(encoder, read_tensors(folder / "encoder.safetensors"), folder)
    tensors = read_tensors(folder / "head.safetensors")
    if head is None or head.state_dict().keys() != tensors.keys():
        return encoder, None  # a head of another kind: of a mixture, of replaced tokens
    load_weights(head, tensors, folder)
    return encoder, head


def run_modules(
    folder: Path,
    shape: EncoderShape,
    objective: Objective,
    vocabulary: Vocabulary,
    has_own_head: bool,
) -> tuple[SharedEncoder, nn.Module]:
    """Encoder and head of a finished run, whose weights are loaded afterwards.

    Args:
        folder: The run's folder.
        shape: The shape of its encoder.
        objective: Its objective.
        vocabulary: The vocabulary of its tokenizer.
        has_own_head: Whether the checkpoint that it continued has a token head.
    """
    encoder, own = empty_modules(folder, shape, has_own_head)
    drawn = objective.head(shape, vocabulary)
    if own is None:
        return encoder, drawn
    # The head of a checkpoint may be of a kind that no run can continue, as that of a mixture.
    head = _with_token_heads(objective.head(shape, vocabulary), own)
    names = read_tensors(folder / "head.safetensors").keys()
    return encoder, head if head.state_dict().keys() == names else drawn


def head_scoring(spec: RunSpec, objective: Objective) -> Scoring | None:
    """How the head of a run predicts tokens; that of an untouched checkpoint as it was trained."""
    if spec.init is None or objective.trains:
        return objective.scoring
    return spec.init.scoring if spec.init.has_head else None


def native_attention(spec: RunSpec, objective: Objective) -> Literal["full", "causal"]:
    """The attention pattern of a run's features; of an untouched checkpoint, its own."""
    is_own = spec.init is None or objective.trains
    return objective.attention if is_own else spec.init.attention  # type: ignore[union-attr]


def keeps_head(spec: RunSpec, objective: Objective, vocabulary: Vocabulary) -> bool:
    """Whether a run goes on with the whole head of its checkpoint and with what that predicts."""
    return (
        spec.init is not None
        and spec.init.has_head
        and spec.init.scoring == objective.scoring
        and _is_ordinary(objective.head(spec.encoder, vocabulary))
    )


def _is_ordinary(head: nn.Module) -> bool:
    """Whether a head consists of ordinary token heads alone."""
    if type(head) is TokenHead:
        return True
    children = list(head.children())
    return (
        bool(children)
        and not list(head.parameters(recurse=False))
        and all(map(_is_ordinary, children))
    )


def write_architecture(encoder: SharedEncoder, folder: Path) -> list[str]:
    """Write what `run_modules` needs to build an encoder of transformers again.

    Returns:
        The names of the files: none for bench's own encoder.
    """
    if not isinstance(encoder, CheckpointEncoder):
        return []
    config = json.loads(encoder.model.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)
    text = json.dumps(config, indent=1, sort_keys=True)
    (folder / ARCHITECTURE).write_text(text, encoding="utf-8")
    return [ARCHITECTURE]


def empty_modules(
    folder: Path, shape: EncoderShape, has_head: bool
) -> tuple[SharedEncoder, nn.Module | None]:
    """The encoder of a run, and a token head like its own, with weights of no meaning.

    Raises:
        RefusedError: The record names a larger encoder than the file of its weights can have.
    """
    with torch.random.fork_rng(devices=[]):
        if not (folder / ARCHITECTURE).is_file():
            _refuse_larger(folder / "encoder.safetensors", encoder_parameters(shape))
            return Encoder(shape), TokenHead(shape) if has_head else None
        config = read_config(folder, folder.name)
        family = family_named(config.get("model_type"), folder.name)
        cls = masked_model_class(family)
        encoder, head = adapted(cls(cls.config_class.from_dict(config)), family, shape)
        return encoder, head if has_head else None


def _refuse_larger(weights: Path, num_parameters: int) -> None:
    size = weights.stat().st_size
    if size < 4 * num_parameters:
        raise RefusedError(
            f"{weights} has {size:,} bytes, but the record names an encoder of {num_parameters:,} "
            "parameters, four bytes each"
        )


def encoder_costs(init: Init, shape: EncoderShape) -> SharedEncoder:
    """An encoder without memory for weights, which knows its FLOPs and its parameters."""
    if init.family == OWN:
        with torch.device("meta"):
            return Encoder(shape)
    config = read_config(Path(init.folder), init.name)
    family = family_named(init.family, init.name)
    cls = masked_model_class(family)
    with torch.device("meta"):
        return adapted(cls(cls.config_class.from_dict(config)), family, shape)[0]


def _from_transformers(
    folder: Path, shape: EncoderShape, init: Init
) -> tuple[CheckpointEncoder, CheckpointHead | None]:
    """Load a checkpoint of transformers; nothing but safetensors is read.

    Raises:
        RefusedError: The weights do not fit the configuration.
    """
    family = family_named(init.family, init.name)
    cls = masked_model_class(family)
    try:
        with torch.random.fork_rng(devices=[]), _quiet():
            model, report = cls.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise RefusedError(
            f"the weights of {init.name} cannot be read ({type(error).__name__}: {error})"
        ) from None
    names = {f"{model.base_model_prefix}.{name}" for name in base_model(model).state_dict()}
    missing = sorted(names & set(report["missing_keys"]))
    missing += sorted(set(report["missing_keys"]) - names) if init.has_head else []
    unknown = [name for name in report["unexpected_keys"] if _layer(name) >= shape.num_layers]
    unfit = [*missing, *sorted(map(str, report["mismatched_keys"])), *sorted(unknown)]
    if unfit:
        raise RefusedError(f"the weights of {init.name} do not fit its config.json: {unfit[0]}")
    encoder, head = adapted(model, family, shape)
    return encoder, head if init.has_head else None


def _layer(name: str) -> int:
    """The layer that a weight belongs to; -1 if its name has none."""
    number = re.search(r"\.layers?\.(\d+)\.", name)
    return int(number[1]) if number else -1


def _quiet() -> Any:
    """No report about the heads that a checkpoint lacks, and no progress bars."""
    import contextlib

    from transformers.utils import logging

    @contextlib.contextmanager
    def quiet() -> Any:
        level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if has_bars:
                logging.enable_progress_bar()

    return quiet()


def _with_token_heads(head: nn.Module, own: nn.Module | None) -> nn.Module:
    """The head, with a copy of the checkpoint's in the place of each ordinary token head."""
    if own is None:
        return head
    if type(head) is TokenHead:
        return copy.deepcopy(own)
    for name, child in head.named_children():
        setattr(head, name, _with_token_heads(child, own))
    return head
