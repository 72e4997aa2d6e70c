"""A checkpoint to start from: its files, its shape and its identity, without its weights.

    DIR         a folder of transformers: config.json, *.safetensors, tokenizer.json
    hf:NAME     the same from the Hugging Face hub, downloaded only if it is asked for
    DIR of RUN  a finished run of bench

Weights are read from safetensors alone: a pickle can run code. The classes are those of the
installed transformers; code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus.hub import require_network
from bench.corpus.tokenizer import TextTokenizer
from bench.errors import BenchError, RefusedError
from bench.pretraining.checkpoints.families import FAMILIES, family_named, masked_model_class
from bench.settings import from_mapping, sha256_json
from bench.sizes import rotary_theta
from bench.spec import EncoderShape, Init
from bench.storage import file_sha256, open_regular, verify_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

HUB_PREFIX = "hf:"
ARCHITECTURE = "architecture.json"
"""The file of a run that says which encoder of transformers it has."""
OWN = "bench"
"""The family of bench's own encoder."""
_PATTERNS = ("config.json", "tokenizer.json", "*.safetensors", "model.safetensors.index.json")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that runs can continue."""

    init: Init
    shape: EncoderShape
    """Its shape; the MLP width is that of a gated MLP with as many weights."""
    tokenizer: Path
    size: str
    """Its name among the sizes."""

    @property
    def folder(self) -> Path:
        """Where it lies on this machine."""
        return Path(self.init.folder)


def open_checkpoint(text: str) -> Checkpoint:
    """The checkpoint of `DIR` or `hf:NAME[@REVISION]`.

    Raises:
        BenchError: No such folder or model, or no encoder that bench can continue.
        RefusedError: A file of a run was changed.
    """
    if text.startswith(HUB_PREFIX):
        return _of_transformers(_download(text), text)
    folder = Path(text).expanduser()
    if (folder / "run.json").is_file():
        return _of_run(folder.resolve())
    if not folder.is_dir():
        is_name = re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not text.startswith(".")
        hint = f"; did you mean {HUB_PREFIX}{text}?" if is_name else ""
        raise BenchError(
            f"no checkpoint {text!r} (relative to {Path.cwd()}){hint}; give a folder with "
            "config.json, the id or the folder of a run, or hf:NAME"
        )
    if (folder / "runs").is_dir():
        raise BenchError(f"{text} is a folder of runs; give one run, as {text}/runs/ID")
    return _of_transformers(folder.resolve(), _name_of(folder.resolve()))


def read_config(folder: Path, origin: str) -> dict[str, Any]:
    """The configuration of a checkpoint of transformers, or of a run that continued one.

    Raises:
        BenchError: There is none.
        RefusedError: It is not JSON.
    """
    path = folder / ARCHITECTURE if (folder / ARCHITECTURE).is_file() else folder / "config.json"
    try:
        with open_regular(path) as file:
            config = json.loads(file.read())
    except OSError:
        raise BenchError(f"{origin} has no config.json; it is no checkpoint") from None
    except ValueError as error:
        raise RefusedError(f"{path} is damaged: not JSON ({error})") from None
    if not isinstance(config, dict):
        raise RefusedError(f"{path} is damaged: not a JSON object")
    return config


def weight_files(folder: Path, origin: str) -> list[Path]:
    """The files with the weights.

    Raises:
        BenchError: There are none in safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        with open_regular(index) as file:
            names = set(json.loads(file.read()).get("weight_map", {}).values())
        lacking = sorted(names - {path.name for path in files})
        if lacking:
            raise RefusedError(f"{origin} lacks {lacking[0]}, which {index.name} names")
    if not files:
        raise BenchError(
            f"{origin} has no weights in safetensors; a pickle (pytorch_model.bin) can run code "
            "and is not read: save it again with save_pretrained of transformers"
        )
    return files


def sha256_of(folder: Path, origin: str) -> str:
    """One sha256 of weights, configuration and tokenizer."""
    if (folder / "run.json").is_file():
        files = verify_manifest(folder)["files"]
        names = ("encoder.safetensors", "head.safetensors", "tokenizer.json", ARCHITECTURE)
        return sha256_json({name: files[name]["sha256"] for name in names if name in files})
    paths = [*weight_files(folder, origin), folder / "config.json", folder / "tokenizer.json"]
    return sha256_json({path.name: file_sha256(path) for path in paths})


def _name_of(folder: Path) -> str:
    """The folder's name, after that of its parent where it says little."""
    says_little = folder.name.lower() in ("model", "checkpoint", "best", "final", "output")
    return f"{folder.parent.name}/{folder.name}" if says_little else folder.name


def _of_transformers(folder: Path, name: str) -> Checkpoint:
    config = read_config(folder, name)
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise BenchError(
            f"{name} has no tokenizer.json; AutoTokenizer.from_pretrained(...).save_pretrained(...)"
            " of transformers writes it"
        )
    shape = _shape(config, _vocabulary_size(tokenizer, name), name)
    return Checkpoint(
        Init(
            family=str(config["model_type"]),
            sha256=sha256_of(folder, name),
            name=name,
            folder=str(folder),
            has_head=_has_head(config, folder, name),
        ),
        shape,
        tokenizer,
        _size_name(str(config["model_type"]), shape),
    )


def _vocabulary_size(tokenizer: Path, name: str) -> int:
    """Number of tokens, with those for the roles.

    Raises:
        BenchError: Its encoder has never seen a [MASK].
    """
    from tokenizers import Tokenizer

    text_tokenizer = TextTokenizer.from_file(tokenizer)
    if text_tokenizer.mask_spelling not in Tokenizer.from_file(str(tokenizer)).get_vocab():
        raise BenchError(
            f"{name}: its tokenizer.json has no [MASK], so its encoder has never seen one; bench "
            "continues masked encoders"
        )
    return text_tokenizer.vocabulary.size


def _of_run(folder: Path) -> Checkpoint:
    sha256 = sha256_of(folder, folder.name)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if record["status"] != "finished":
        raise BenchError(f"{folder.name} cannot be continued: it is {record['status']}")
    family = OWN
    if (folder / ARCHITECTURE).is_file():
        family = str(read_config(folder, folder.name)["model_type"])
    scoring = record["scoring"]
    return Checkpoint(
        Init(
            family=family,
            sha256=sha256,
            name=folder.name,
            folder=str(folder),
            has_head=scoring is not None and _has_ordinary_head(folder),
            scoring=scoring or "masked",
            attention=record.get("attention", "full"),
        ),
        from_mapping(EncoderShape, record["spec"]["encoder"], "encoder"),
        folder / "tokenizer.json",
        str(record["size"]),
    )


def _shape(config: Mapping[str, Any], vocab_size: int, name: str) -> EncoderShape:
    """The shape of a checkpoint of transformers.

    Raises:
        BenchError: The tokenizer does not fit, or the encoder has parts that would leak.
    """
    family = family_named(config.get("model_type"), name)
    try:
        full = masked_model_class(family).config_class.from_dict(dict(config))
        full.hidden_size, full.num_hidden_layers, full.intermediate_size  # noqa: B018
    except BenchError:
        raise
    except Exception as error:  # transformers has many
        raise BenchError(
            f"config.json of {name} is no configuration of {config.get('model_type')} "
            f"({type(error).__name__}: {error})"
        ) from None
    if vocab_size > full.vocab_size:
        raise BenchError(
            f"{name}: its tokenizer.json has {vocab_size} tokens with those for the roles [CLS], "
            f"[SEP], [MASK], [PAD] and [UNK], and its encoder knows {full.vocab_size}"
        )
    if getattr(full, "conv_kernel_size", 0):
        raise BenchError(
            f"{name} has a convolution over its neighbours, through which a causal objective would "
            "see the tokens that it predicts; bench cannot continue it"
        )
    if getattr(full, "position_embedding_type", "absolute") not in (None, "absolute"):
        raise BenchError(f"{name}: bench knows no positions of {full.position_embedding_type!r}")
    max_length = full.max_position_embeddings - family.reserved_positions(full)
    mlp_size = full.intermediate_size
    if full.hidden_size % full.num_attention_heads or max_length < 1:
        raise BenchError(
            f"config.json of {name}: {full.hidden_size} states over {full.num_attention_heads} "
            f"heads and {max_length} positions fit no encoder"
        )
    values = {
        "hidden_size": full.hidden_size,
        "num_layers": full.num_hidden_layers,
        "num_heads": full.num_attention_heads,
        "mlp_size": mlp_size if family.is_gated else max(1, round(2 * mlp_size / 3)),
        "max_length": max_length,
        "vocab_size": vocab_size,
        "rotary_theta": rotary_theta(max_length),
    }
    return from_mapping(EncoderShape, values, f"config.json of {name}")


def _has_head(config: Mapping[str, Any], folder: Path, name: str) -> bool:
    """Whether the weights contain the head that predicts tokens, tied and as wide as the layers."""
    names = set[str]().union(*(_tensor_names(path) for path in weight_files(folder, name)))
    width = config.get("hidden_size")  # without it the family's default, which has no other width
    narrow = config.get("embedding_size", width) != width
    is_tied = config.get("tie_word_embeddings", True)
    return FAMILIES[config["model_type"]].head_weight in names and is_tied and not narrow


def _has_ordinary_head(folder: Path) -> bool:
    """Whether the head of a run is one token head, which alone can be continued."""
    parts = {name.partition(".")[0] for name in _tensor_names(folder / "head.safetensors")}
    return parts == {"dense", "norm", "bias"}


def _tensor_names(path: Path) -> set[str]:
    """The names of the tensors of a file.

    Raises:
        RefusedError: It is cut off, or no safetensors file.
    """
    with open_regular(path) as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(size, 1 << 27)))
            header.pop("__metadata__", None)
            end = max((one["data_offsets"][1] for one in header.values()), default=0)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise RefusedError(f"{path} is no safetensors file") from None
    if path.stat().st_size < 8 + size + end:
        raise RefusedError(f"{path} is cut off: it has {path.stat().st_size:,} bytes")
    return set(header)


def _size_name(model_type: str, shape: EncoderShape) -> str:
    return f"{model_type.replace('-', '_')}_{shape.num_layers}x{shape.hidden_size}"


def _is_whole(folder: Path) -> bool:
    """Whether a folder of the hub's cache has all files: other programs may have fetched some."""
    index = folder / "model.safetensors.index.json"
    shards = {"model.safetensors"}
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    elif any(folder.glob("*.safetensors")):
        shards = set()
    return all((folder / name).is_file() for name in {"config.json", "tokenizer.json", *shards})


def _download(text: str) -> Path:
    """The files of a model of the hub, in the hub's own cache.

    Raises:
        BenchError: No network, or no such model.
    """
    name, _, revision = text.removeprefix(HUB_PREFIX).partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise BenchError(f"{text} names no model; write hf:NAME[@REVISION]")
    from huggingface_hub import snapshot_download

    options: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(_PATTERNS)}
    with contextlib.suppress(Exception):  # the library has many; none of its files is in the cache
        folder = Path(snapshot_download(name, local_files_only=True, **options))
        if _is_whole(folder):
            return folder
    require_network(text, "download the model where there is a network and give its folder")
    try:
        return Path(snapshot_download(name, **options))
    except Exception as error:
        raise BenchError(f"{text} cannot be downloaded ({type(error).__name__}: {error})") from None
