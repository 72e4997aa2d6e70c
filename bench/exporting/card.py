"""The model card of an export: README.md with YAML front matter, from the records alone.

YAML includes JSON, so the values of the front matter are written as JSON. Names of models and their
revisions stand there because mteb stores scores by them: two folders without a name would share the
scores of the first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.api import compare
from bench.exporting.architecture import scored_attention
from bench.reporting.formatting import decimal, printable
from bench.reporting.long_form import long_form
from bench.settings import as_mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.api import Run
    from bench.exporting.model import ExportedModel

_TASKS = {"ForMaskedLM": "fill-mask", "ForCausalLM": "text-generation"}


def model_card(model: ExportedModel, folder: str, text_license: str | None) -> str:
    """The card as Markdown.

    Args:
        model: The exported model.
        folder: Name of the export's folder, for the example.
        text_license: Licence of the text, if the user gave it.
    """
    shape, objective = model.run.encoder.shape, model.run.objective
    parts = [
        _front_matter(model, text_license),
        f"# {model.name}\n",
        f"`{model.architecture.class_name}` with {shape.num_layers} layers x {shape.hidden_size}, "
        f"{'continued' if model.run.record.continues else 'pretrained'} with the objective "
        f"`{objective.display_name}`: {objective.summary} "
        f"({objective.source}). The weights are those of a run of `bench`, which compares "
        "pretraining objectives.\n",
        "".join(f"- {note}\n" for note in model.notes),
        "## How to load it\n",
        f"```python\n{loading_code(model, folder)}```\n",
        "## How it was trained\n",
        _table(("", ""), _training_rows(model.run)),
        *_scores(model.run, scored_attention(model.run, model.architecture)),
    ]
    if text_license:
        parts += ["## Licence of the text\n", f"{printable(text_license)}\n"]
    return "\n".join(parts)


def loading_code(model: ExportedModel, folder: str) -> str:
    """Python that loads the export and uses it."""
    place = json.dumps(folder)
    if model.embedding is not None:
        return (
            "from sentence_transformers import SentenceTransformer\n\n"
            f"model = SentenceTransformer({place})\n"
            "# mteb stores scores by these two; without them two folders share one score\n"
            f"model.model_card_data.model_name = {json.dumps(model.name)}\n"
            f"model.model_card_data.base_model_revision = {json.dumps(model.revision)}\n"
            'embeddings = model.encode(["the old gate", "a red wall"])\n'
        )
    if not model.architecture.has_head:
        return (
            "from transformers import AutoModel, AutoTokenizer\n\n"
            f"tokenizer = AutoTokenizer.from_pretrained({place})\n"
            f"model = AutoModel.from_pretrained({place})\n"
            'texts = tokenizer(["the old gate", "a red wall"], padding=True, return_tensors="pt")\n'
            "hidden = model(**texts).last_hidden_state\n"
        )
    if model.architecture.is_causal:
        return (
            "from transformers import pipeline\n\n"
            f'generate = pipeline("text-generation", model={place})\n'
            'print(generate("the old gate", max_new_tokens=12, do_sample=False))\n'
        )
    return (
        "from transformers import pipeline\n\n"
        f'fill = pipeline("fill-mask", model={place})\n'
        'print(fill(f"the {fill.tokenizer.mask_token} was old ."))\n'
    )


def _front_matter(model: ExportedModel, text_license: str | None) -> str:
    data, embedding = model.run.record.data, model.embedding
    ending = model.architecture.class_name.partition("For")
    task = _TASKS.get("".join(ending[1:]), "feature-extraction")
    facts = {
        "name": model.name,
        "revision": model.revision,
        "run": model.run.id,
        "attention": model.attention,
        **({"layer": embedding.layer, "pooling": embedding.pooling} if embedding else {}),
        **{key: data[key] for key in ("objective", "settings", "seed", "size", "budget")},
        **{key: data[key] for key in ("corpus_sha256", "tokenizer_sha256")},
    }
    values: dict[str, Any] = {
        "library_name": "sentence-transformers" if embedding else "transformers",
        "pipeline_tag": "sentence-similarity" if embedding else task,
        "tags": ["bench", "modernbert", model.run.objective.name],
        **({"license": text_license} if text_license else {}),
        **_base_model(model.run.record.continues),
        "bench": facts,
    }
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return "\n".join(["---", *lines, "---", ""])


def _base_model(continues: str | None) -> dict[str, str]:
    """The model of the hub that was continued."""
    if continues is None or not continues.startswith("hf:"):
        return {}
    return {"base_model": continues.removeprefix("hf:").partition(" ")[0].partition("@")[0]}


def _training_rows(run: Run) -> list[tuple[str, str]]:
    data, training = run.record.data, run.record.data["spec"]["training"]
    spent, budget = data["spent"], data["budget"]
    rows = []
    if run.record.continues:
        only = "what it was trained on before is not among the figures below"
        rows.append(("continues", f"{run.record.continues}; {only}"))
    rows += [
        ("corpus", f"{data.get('corpus', 'unknown')} (sha256 {data['corpus_sha256'][:16]})"),
        ("objective", run.objective.display_name),
        ("settings", _pairs(as_mapping(run.objective)) or "none"),
        ("budget", f"{budget['amount']:,.12g} {budget['axis']}"),
        (
            "spent",
            f"{spent['tokens']:,.0f} tokens, {spent['predictions']:,.0f} predictions, "
            f"{spent['flops']:.3g} FLOPs, {spent['seconds']:,.0f} seconds",
        ),
        ("seed", str(data["seed"])),
        ("encoder", _pairs(as_mapping(run.encoder.shape))),
        ("training", _pairs(training)),
        ("parameters", f"{data['parameters']['encoder']:,} of the encoder"),
        ("machine", run.record.machine),
        ("versions", _pairs(data.get("versions", {}))),
    ]
    if data.get("git_commit"):
        rows.append(("commit of bench", data["git_commit"]))
    if data.get("validation_loss") is not None:
        rows.append(("validation loss", f"{data['validation_loss']:.3f} nats per prediction"))
    return rows


def _scores(run: Run, attention: str) -> Iterator[str]:
    """The scores: means with intervals where other seeds were run, else values with errors."""
    own = [
        score.data
        for score in run.record.scores
        if score.data["attention"] == attention and score.data["status"] == "ok"
    ]
    if not own:
        return
    yield "## Scores\n"
    records = [
        record
        for record in long_form(compare(out=run.record.folder.parents[1]))
        if run.id in record["run_ids"] and record["attention"] == attention and record["seeds"] > 1
    ]
    if records:
        seed = run.record.data["seed"]
        yield f"Means over pretraining seeds with 95 % intervals; this is seed {seed}.\n"
        head = ["task", "metric", "mean", "95 % interval", "seeds", "chance"]
        yield _table(head, map(_mean_row, records))
        return
    yield "Values of this seed with their standard errors over test examples.\n"
    head = ["task", "probe", "metric", "value", "standard error", "chance"]
    yield _table(head, (row for score in sorted(own, key=_order) for row in _value_rows(score)))


def _mean_row(record: dict[str, Any]) -> list[str]:
    """A cell of a comparison."""
    low, high = decimal(record["low"], 3), decimal(record["high"], 3)
    numbers = [decimal(record["mean"], 3), f"{low} to {high}", str(record["seeds"])]
    return [record["column"], record["metric"], *numbers, _chance(record["chance"])]


def _value_rows(score: dict[str, Any]) -> Iterator[list[str]]:
    """Every metric of one score."""
    metrics = score["metrics"] or {score["metric"]: (score["value"], score["stderr"])}
    probe = str(score["probe_settings"].get("probe", "none"))
    for metric, (value, error) in metrics.items():
        numbers = [decimal(value, 3), decimal(error, 3), _chance(score["chance"])]
        yield [score["task"], probe, metric, *numbers]


def _order(score: dict[str, Any]) -> tuple[str, str]:
    return score["task"], str(score["probe_settings"].get("probe"))


def _chance(value: float | None) -> str:
    return "none" if value is None else decimal(value, 3)


def _pairs(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in mapping.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; names may come from other people."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([printable(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
