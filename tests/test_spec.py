from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.sizes import SIZES, shape_and_training, size_named
from bench.spec import (
    Budget,
    RunSpec,
    parse_overrides,
    parse_seeds,
)


@pytest.mark.parametrize(
    ("text", "axis", "amount"),
    [
        ("2M", "tokens", 2e6),
        ("2m", "tokens", 2e6),
        ("1500", "tokens", 1500),
        ("0.5Gtok", "tokens", 5e8),
        ("300kpred", "predictions", 3e5),
        ("1e15flop", "flops", 1e15),
        ("60s", "seconds", 60),
        ("1.5s", "seconds", 1.5),
        ("10epochs", "epochs", 10),
        ("1epoch", "epochs", 1),
        ("0.5 epochs", "epochs", 0.5),
    ],
)
def test_budgets(text: str, axis: str, amount: float) -> None:
    assert Budget.parse(text) == Budget(axis, amount)  # type: ignore[arg-type]


def test_epochs_become_tokens() -> None:
    assert Budget.parse("2.5epochs").in_tokens(1000) == Budget("tokens", 2500)
    assert Budget.parse("2M").in_tokens(1000) == Budget("tokens", 2e6)
    assert str(Budget.parse("10epochs")) == "10 epochs"


@pytest.mark.parametrize("text", ["", "0", "-3", "2X", "M", "1e999", "nan", "inf", "2M 3M", "1_0"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="2M \\(tokens\\)"):
        Budget.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_budget_or_an_error(text: str) -> None:
    with contextlib.suppress(BenchError):
        assert 0 < Budget.parse(text).amount < float("inf")


def test_seeds() -> None:
    assert parse_seeds("0-2") == [0, 1, 2]
    assert parse_seeds("7,0,3-4,3") == [0, 3, 4, 7]


@pytest.mark.parametrize("text", ["", "a", "2-0", "-1", "0-99999", "1,,2", "0;1"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="0,3,7-9"):
        parse_seeds(text)


def test_a_huge_number_of_seeds_is_refused_at_once() -> None:
    with pytest.raises(BenchError, match="give the number of seeds"):
        parse_seeds(10**15)


def test_overrides() -> None:
    items = ["span.mean-length=4", "encoder.num_layers=6", "whole-word.rate=0.2"]
    assert parse_overrides(items) == {
        "span": {"mean_length": "4"},
        "encoder": {"num_layers": "6"},
        "whole_word": {"rate": "0.2"},
    }
    with pytest.raises(BenchError, match=r"OWNER\.SETTING=VALUE"):
        parse_overrides(["rate=3"])


@pytest.mark.parametrize(
    ("owner", "field", "value", "message"),
    [
        ("encoder", "num_heads", "5", "even width"),
        ("encoder", "hidden_sise", "64", "did you mean 'hidden_size'"),
        ("encoder", "num_layers", "0", "encoder.num_layers"),
        ("encoder", "max_length", "3", "no room for text"),
        ("training", "learning_rate", "-1", "training.learning_rate"),
        ("training", "learning_rate", "fast", "training.learning_rate"),
        ("training", "batch_tokens", "16", "smaller than one row"),
        ("training", "batch_tokens", "9" * 400, "up to 18 digits"),
        ("training", "learning_rate", "1" * 19, "up to 18 digits"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    owner: str, field: str, value: str, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        shape_and_training(SIZES["tiny"], {owner: {field: value}}, None)


def test_overrides_win_over_corpus_and_size() -> None:
    shape, _ = shape_and_training(SIZES["tiny"], {}, 800)
    assert shape.vocab_size == 800
    shape, _ = shape_and_training(
        SIZES["tiny"], {"encoder": {"vocab_size": "99", "hidden_size": "128"}}, 800
    )
    assert (shape.vocab_size, shape.hidden_size, shape.mlp_size) == (99, 128, 192)
    with pytest.raises(BenchError, match="did you mean 'tiny'"):
        size_named("tiney")


MakeSpec = Callable[..., tuple[RunSpec, Any]]


def test_identity_names_the_run(make_spec: MakeSpec) -> None:
    spec, _ = make_spec("span", seed=3)
    assert RunSpec.from_json(spec.to_json()) == spec
    assert spec.id.startswith("span-tiny-s3-")
    assert make_spec("span", seed=3)[0].id == spec.id
    others = [
        make_spec("span", seed=4)[0],
        make_spec("token", seed=3)[0],
        make_spec("span", seed=3, mean_length=2)[0],
        make_spec("span", seed=3, budget="8192")[0],
        dataclasses.replace(spec, corpus_sha256="1" * 64),
        dataclasses.replace(spec, torch_version="0"),
        dataclasses.replace(spec, objective_code="1" * 64),
    ]
    assert len({spec.id, *(other.id for other in others)}) == len(others) + 1


def test_only_objective_settings_and_seed_may_differ_in_a_table(make_spec: MakeSpec) -> None:
    spec, _ = make_spec("span")
    for same in (
        make_spec("token")[0],
        make_spec("span", seed=9)[0],
        make_spec("span", rate=0.3)[0],
        dataclasses.replace(spec, device="cuda"),
        dataclasses.replace(spec, torch_version="0"),
        dataclasses.replace(spec, training=dataclasses.replace(spec.training, threads=2)),
    ):
        assert same.comparison == spec.comparison
    for other in (
        make_spec("span", budget="8192")[0],
        dataclasses.replace(spec, corpus_sha256="1" * 64),
        dataclasses.replace(spec, training=dataclasses.replace(spec.training, learning_rate=1e-3)),
    ):
        assert other.comparison != spec.comparison


def test_a_budget_in_seconds_is_that_of_one_machine(make_spec: MakeSpec) -> None:
    """Another machine reads another number of tokens in the same time."""
    spec, _ = make_spec("span", budget="60s")
    assert dataclasses.replace(spec, device="cuda").comparison != spec.comparison


def test_unfinished_work_is_found_after_the_corpus_changed(make_spec: MakeSpec) -> None:
    spec, _ = make_spec("span")
    assert dataclasses.replace(spec, corpus_sha256="1" * 64).unfinished_id == spec.unfinished_id
    assert dataclasses.replace(spec, torch_version="0").unfinished_id == spec.unfinished_id
    assert make_spec("span", seed=1)[0].unfinished_id != spec.unfinished_id


def test_the_modules_that_a_plugin_imports_are_part_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib
    import sys

    from bench.settings import code_sha256

    package = tmp_path / "plugin_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("from .help import RATE\nclass Mine:\n    rate = RATE\n")
    (package / "help.py").write_text("from plugin_of_a_test import deep\nRATE = 1\n")
    (package / "deep.py").write_text("import json\nDEEP = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("plugin_of_a_test.mine")
    hashes = [code_sha256([mine.Mine])]
    for name in ("deep", "help"):
        file = package / f"{name}.py"
        file.write_text(file.read_text() + "# a comment\n")
        assert code_sha256([mine.Mine]) == hashes[-1]
        file.write_text(file.read_text() + "CHANGED = 2\n")
        hashes.append(code_sha256([mine.Mine]))
    assert len({*hashes}) == 3
    for module in [one for one in sys.modules if one.startswith("plugin_of_a_test")]:
        monkeypatch.delitem(sys.modules, module)
