from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from bench import api
from bench.cli import app, main
from bench.cli.experiments import show_result
from bench.errors import BenchError
from bench.storage import exclusive
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT
from tests.records.test_store import make_run, make_score

BLOCK_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise OSError("network is blocked in this test")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""
SMALL = [
    "--corpus", "text.txt", "--budget", "20k", "--seeds", "0", "--limit", "120",
    "--set", "encoder.hidden_size=32", "--set", "encoder.num_layers=2",
    "--tasks", "sense_left,agreement",
]  # fmt: skip


def bench(
    *arguments: str, cwd: Path, check: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as a person runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert done.returncode == check, done.stderr
    assert "Traceback" not in done.stderr
    return done


def said(*arguments: str, cwd: Path, check: int = 0, answer: str = "") -> tuple[str, str]:
    """What a command says on standard output and error, without the seconds a process takes."""
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd):
        patch.setattr(sys, "argv", ["bench", *arguments])
        patch.setattr(sys, "stdin", io.StringIO(answer))
        with (
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.redirect_stderr(io.StringIO()) as errors,
            pytest.raises(SystemExit) as end,
        ):
            main()
    assert (end.value.code or 0) == check, errors.getvalue()
    return output.getvalue(), errors.getvalue()


@pytest.fixture(scope="session")
def finished(shared: Path) -> Path:
    """The output of one small comparison, made with the network blocked, once for all tests."""
    folder = shared / "finished run é"  # a space and an accent in the path
    with exclusive(shared / "finished.lock"):
        if not (folder / "stderr.txt").exists():
            folder.mkdir(exist_ok=True)
            (folder / "sitecustomize.py").write_text(BLOCK_NETWORK)
            write_text(folder)
            path = f"{folder}{os.pathsep}{ROOT}"
            done = bench("run", "--objective", "span", *SMALL, cwd=folder, PYTHONPATH=path,
                         LC_ALL="C")  # fmt: skip
            (folder / "stdout.txt").write_text(done.stdout)
            (folder / "stderr.txt").write_text(done.stderr)
    return folder


def test_compare_json_is_a_list_of_objects(finished: Path) -> None:
    rows = json.loads(said("compare", "--format", "json", cwd=finished)[0])
    keys = {
        "objective", "task", "metric", "mean", "low", "high", "seeds", "chance",
        "tokens", "predictions", "flops", "seconds",
    }  # fmt: skip
    assert all(keys <= row.keys() for row in rows)
    span = [row for row in rows if row["objective"] == "span"]
    assert {row["task"] for row in span} == {"sense_left", "agreement"}
    assert all(row["seeds"] == 1 and row["low"] <= row["mean"] <= row["high"] for row in span)
    assert all(row["tokens"] >= 20_000 for row in span)
    assert {row["objective"] for row in rows} >= {"untrained", "majority", "bag_of_words"}


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "csv"])
def test_compare_formats(finished: Path, format: str) -> None:
    found, _ = said("compare", "--format", format, "--baseline", "untrained", cwd=finished)
    assert "span" in found
    assert "untrained" in found


@pytest.mark.slow
def test_the_same_command_again_does_nothing_twice(finished: Path) -> None:
    def records() -> dict[Path, int]:
        files = (finished / "results").rglob("*.json")
        return {file: file.stat().st_mtime_ns for file in files if file.parent.name != "jobs"}

    before = records()
    done = bench("run", "--objective", "span", *SMALL, "--json", cwd=finished)
    assert before == records()
    assert json.loads(done.stdout)[0]["objective"]


def test_a_gate_decides_the_exit_code(finished: Path) -> None:
    said("compare", "--fail-if", "span.sense_left > 0.0", cwd=finished, check=1)
    said("compare", "--fail-if", "span.sense_left < 0.01", cwd=finished, check=0)
    said("compare", "--fail-if", "span ~ token", cwd=finished, check=2)


@pytest.mark.slow
def test_a_new_task_on_old_runs_costs_its_probing_alone(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    flags = [*SMALL[:-1], "word_class"]
    done = bench("run", "--objective", "span", *flags, cwd=tmp_path)
    assert "loss" not in done.stderr  # nothing was trained
    assert "word_class" in done.stdout


def test_sigterm_before_the_engine_starts_is_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bench.engines.running.run_experiment",
        lambda *args, **options: os.kill(os.getpid(), signal.SIGTERM),
    )
    _, errors = said("run", "--objective", "token", "--tasks", "none", cwd=tmp_path, check=75)
    assert errors == "bench: stopped; nothing is lost, and the same command goes on from here\n"


def test_plan_takes_every_flag_of_run() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    flags = {
        name: {(p.name, tuple(p.opts), str(p.default), p.required) for p in commands[name].params}
        for name in ("run", "plan")
    }
    assert flags["plan"] == flags["run"]


def test_plan_says_what_is_done_already(finished: Path) -> None:
    found = json.loads(said("plan", "--objective", "span", *SMALL, "--json", cwd=finished)[0])
    assert found["finished_runs"] == 2
    assert found["tokens_per_run"] == 20_000
    text, _ = said("plan", "--objective", "span", *SMALL, cwd=finished)
    assert "2 finished already" in text


@pytest.mark.slow
def test_a_flipped_byte_in_a_result_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (run,) = (tmp_path / "results" / "runs").glob("span-tiny-s0-*")
    shutil.rmtree(run / "scores")
    weights = run / "encoder.safetensors"
    payload = bytearray(weights.read_bytes())
    payload[-7] ^= 1
    weights.write_bytes(payload)
    done = bench("run", "--objective", "span", *SMALL, cwd=tmp_path, check=3)
    assert "encoder.safetensors was changed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_damaged_score_is_left_out_and_named(
    finished: Path, tmp_path: Path, command: str
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (score,) = (tmp_path / "results" / "runs").glob("span-*/scores/sense_left-*.json")
    score.write_text(score.read_text().replace('"chance": ', '"chance": 0'))
    arguments = ["run", "--objective", "span", *SMALL] if command == "run" else ["compare"]
    _, errors = said(*arguments, cwd=tmp_path, check=4)
    assert f"left out: results/runs/{score.parent.parent.name}/scores/{score.name}" in errors


@pytest.mark.parametrize("code", [4, 75, 130])
def test_a_stop_before_the_first_score_keeps_its_code(
    code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    result = SimpleNamespace(is_done=True, run_ids=[run.name], tasks=("sense",), exit_code=code)
    with pytest.raises(typer.Exit) as end:
        show_result(result, tmp_path, as_json=False)
    assert end.value.exit_code == code
    assert "no run has a score" in capsys.readouterr().err
    result.exit_code = 0
    with pytest.raises(BenchError, match="no run has a score"):
        show_result(result, tmp_path, as_json=False)


@pytest.mark.parametrize("what", ["objectives", "tasks", "suites", "corpora", "sizes"])
def test_list(what: str, tmp_path: Path) -> None:
    found = json.loads(said("list", what, "--json", cwd=tmp_path)[0])
    assert [row["name"] for row in found[what]]
    assert all(row["summary"] for row in found[what])


@pytest.mark.parametrize("name", ["span", "sst2", "micro", "tiny", "training", "whole-word"])
def test_describe(name: str, tmp_path: Path) -> None:
    text, _ = said("describe", name, cwd=tmp_path)
    assert name.replace("-", "_") in text
    if name == "span":
        assert "span.mean_length" in text
        assert "span.rate" in text
        assert "Differs:" in text


def test_a_finished_run_fills_in_and_is_described(finished: Path) -> None:
    found = api.fill("span", "the [MASK] was near the [MASK] .", k=3, out=finished / "results")
    assert [len(place) for place in found.places] == [3, 3]
    assert all(0 < p < 1 for place in found.places for _, p in place)
    text, _ = said("describe", "span-tiny-s0", cwd=finished)
    assert "sense_left (linear): accuracy" in text
    assert text.count("embeddings") == 1  # the grid of the task that fits a probe


@pytest.mark.parametrize(
    "command",
    [
        ["--help"], ["list"], ["describe", "span"], ["compare"],
        ["plan", "--objective", "span", "--device", "cpu"],
        pytest.param(
            ["plan", "--objective", "span"],
            marks=pytest.mark.skipif(
                not version("torch").endswith("+cpu"), reason="this torch has to look for a GPU"
            ),
        ),
    ],
)  # fmt: skip
def test_light_commands_import_nothing_heavy(command: list[str], tmp_path: Path) -> None:
    heavy = ["torch._C", "sklearn.base", "seaborn.utils", "scipy.stats", "pandas.core"]
    if command == ["compare"]:
        heavy.remove("pandas.core")  # it reads outcomes that are not in the cache
        make_score(make_run(tmp_path / "results"))
    code = (
        "import sys; sys.argv = ['bench', *sys.argv[1:]]\n"
        "from bench import cli\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = [m for m in {heavy} if m in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--objective", "spam"], "did you mean 'span'"),
        (["run", "--objective", "span", "--size", "tinny"], "did you mean 'tiny'"),
        (["run", "--objective", "span", "--budget", "lots"], "2M (tokens)"),
        (["run", "--objective", "span", "--seeds", "x"], "seeds 'x'"),
        (["run", "--objective", "span", "--set", "span.rate=2"], "span.rate"),
        (
            ["run", "--objective", "span", "--set", "token.rate=0.2"],
            "nothing in this command is named 'token'",
        ),
        (["run", "--objective", "span", "--tasks", "sst3"], "did you mean 'sst2'"),
        (["run", "--objective", "span", "--tasks", "sst2", "--data", "."], "glue/sst2"),
        (["run", "--objective", "span", "--data", "nowhere"], "no such folder"),
        (["run", "--objective", "span", "--corpus", "no.txt", "--tasks", "none"], "no.txt"),
        (["run", "--objective", "span", "--corpus", "empty.txt", "--tasks", "none"], "no text"),
        (["run", "--objective", "span", "--corpus", "empty.txt"], "--tasks says"),
        (["run", "--objective", "span", "--device", "tpu"], "none of auto, cpu, cuda, mps"),
        (["run", "--objective", "span", "--tokenizer", "none.json"], "no such file"),
        (["run", "--objective", ""], "name an objective"),
        (["describe", "../../etc/passwd"], "bench list"),
        (["compare"], "no finished runs"),
        (["compare", "span"], "no run named 'span'"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    output, errors = said(*arguments, cwd=tmp_path, check=2)
    assert message in errors
    assert output == ""
    assert not (tmp_path / "results" / "runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_without_room_is_one_line(tmp_path: Path) -> None:
    make_score(make_run(tmp_path / "results"))
    for arguments in (["list"], ["compare"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "bench", *arguments],
                cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert "could not be written completely" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
def test_a_closed_output_is_no_error(tmp_path: Path) -> None:
    make_score(make_run(tmp_path / "results"))
    for arguments in ("list", "compare"):
        script = f"exec {sys.executable} -m bench {arguments} >&-"
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_corpus_takes_several_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"some text of {name}, and more of it\n" * 40)
    flags = ["--tasks", "none", "--json", "--corpus", "a.txt", "b.txt", "--objective", "span"]
    assert "a.txt" in json.loads(said("plan", *flags, cwd=tmp_path)[0])["corpus"]
    said("plan", *flags[:-2], "c.txt", *flags[-2:], cwd=tmp_path, check=2)


def test_show_keeps_the_text_apart_from_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text of a.txt, and more of it\n" * 40)
    words = "a few words of it"
    for arguments in (
        ["show", "token", words, "--corpus", "a.txt"],
        ["show", "token", "--corpus", "a.txt", words],
        ["show", "--corpus", "a.txt", "token", words],
    ):
        text, _ = said(*arguments, "--sample", "4", cwd=tmp_path)
        assert "words" in text
        assert "of the text" not in text or "epoch" in text


def test_list_runs(finished: Path) -> None:
    found = json.loads(said("list", "runs", "--json", cwd=finished)[0])["runs"]
    assert {row["name"].split("-")[0] for row in found} == {"span", "untrained"}
    assert "2 scores" in found[0]["summary"] or "scores" in found[0]["summary"]


@pytest.fixture
def three_runs(tmp_path: Path) -> Path:
    """A working folder with two runs of `span`, one of `token`, and a baseline."""
    out = tmp_path / "results"
    for objective, seed in (("span", 0), ("span", 1), ("token", 0)):
        make_score(make_run(out, objective, seed))
    make_score(out, baseline="majority")
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_remove_takes_a_run_with_its_scores_and_nothing_else(three_runs: Path) -> None:
    before = files_of(three_runs)
    (run,) = (path.name for path in (three_runs / "results" / "runs").glob("span-tiny-s0-*"))
    output, _ = said("remove", "span-tiny-s0", "--yes", cwd=three_runs)
    assert output == f"removed {run}\n"
    kept = {path: content for path, content in before.items() if run not in path}
    assert 0 < len(kept) < len(before)
    assert files_of(three_runs) == kept


def test_remove_takes_the_folder_of_a_run(three_runs: Path) -> None:
    (run,) = (three_runs / "results" / "runs").glob("token-*")
    said("remove", str(run), "--yes", cwd=three_runs)
    assert not run.exists()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_remove_asks_first_and_only_yes_removes(three_runs: Path, answer: str, code: int) -> None:
    (run,) = (three_runs / "results" / "runs").glob("token-*")
    output, _ = said("remove", "token", cwd=three_runs, check=code, answer=answer)
    assert f"Remove {run.relative_to(three_runs)} with 1 scores? [y/N]" in output
    assert run.exists() == (code != 0)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("spam", "no run named 'spam'; did you mean 'span-tiny-s0-"),
        ("token-tiny-s7", "no run named 'token-tiny-s7'; did you mean 'token-tiny-s0-"),
        ("nothing", "no run named 'nothing' (results/runs contains all 3)"),
        ("span", "'span' is the beginning of 2 runs: span-tiny-s0-"),
        ("", "no run named ''"),
        ("results", "no run named 'results'"),
        ("results/runs", "no run named 'results/runs'"),
    ],
)
def test_a_name_that_is_not_of_one_run_removes_nothing(
    three_runs: Path, run: str, message: str
) -> None:
    before = files_of(three_runs)
    _, errors = said("remove", run, "--yes", cwd=three_runs, check=2)
    assert message in errors
    assert errors.count("\n") == 1
    assert files_of(three_runs) == before


@pytest.mark.parametrize("name", ["", ".", "elsewhere"])
def test_a_folder_of_runs_is_not_the_name_of_its_only_run(tmp_path: Path, name: str) -> None:
    for out in (tmp_path, tmp_path / "elsewhere"):
        make_score(make_run(out))
    before = files_of(tmp_path)
    said("remove", name, "--out", name or ".", "--yes", cwd=tmp_path, check=2)
    assert files_of(tmp_path) == before


def test_a_run_of_another_output_root_is_not_removed(three_runs: Path) -> None:
    other = make_run(three_runs / "elsewhere", "causal")
    _, errors = said("remove", str(other), "--yes", cwd=three_runs, check=2)
    assert "is not under results/runs; name its folder with --out" in errors
    assert other.exists()
    said("remove", "causal", "--out", "elsewhere", "--yes", cwd=three_runs)
    assert not other.exists()


def test_remove_without_any_run_is_one_line(tmp_path: Path) -> None:
    _, errors = said("remove", "span", "--yes", cwd=tmp_path, check=2)
    assert errors == "bench: no run named 'span' (results/runs contains all 0)\n"


def test_variants_are_rows_of_one_command(tmp_path: Path) -> None:
    flags = ["--objective", "span(rate=0.15|0.3|0.4)", "--tasks", "none", "--json"]
    found = json.loads(said("plan", *flags, cwd=tmp_path)[0])
    assert found["runs"] == ["span", "span[rate=0.3]", "span[rate=0.4]", "untrained"]
