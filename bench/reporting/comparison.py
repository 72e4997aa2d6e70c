"""The comparison that `bench.compare` and `bench.run` return, for notebooks and scripts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.errors import BenchError
from bench.reporting import gates
from bench.reporting.formatting import quoted
from bench.reporting.rendering import dataframes
from bench.reporting.rendering.overview import overview_html, overview_text, verdict_text
from bench.reporting.table_set import TableSet
from bench.reporting.text import render

if TYPE_CHECKING:
    import pandas as pd

DataFrameFormat = Literal["long", "wide"]


class Comparison(TableSet):
    """The comparison of some runs: scores with intervals, differences, letters and a verdict.

    Runs that differ in more than objective, settings and seed are in different tables, because
    their scores are not comparable. Names of objectives and tasks are those that `bench compare`
    shows. Scores are in the unit of their metric; only texts show shares x 100. Intervals have a
    95 % level, over pretraining seeds and test examples. A difference is significant if its paired
    interval excludes zero and it is from two seeds or more.

    Attributes:
        tables: The tables.
        baseline: Name of the row that differences are taken to, or None.
        suites: Suite -> tasks.
        curves: Groups of tables that differ in the budget only.

    Examples:
        >>> import bench
        >>> comparison = bench.compare(out=folder)
        >>> comparison.to_dataframe().columns[:3].tolist()
        ['comparison', 'corpus', 'size']
    """

    def to_dataframe(self, format: DataFrameFormat = "long") -> pd.DataFrame:
        """All scores as a data frame.

        Args:
            format: `"long"`: one line per table, row and column. `"wide"`: one line per table and
                row, one column per task with the means.

        Returns:
            Wide: indexed by `table` (its number) and `display_name`. Long, with these columns:

            - `comparison`: hash of everything that the runs of a table have in common
            - `corpus`, `size`: name of the corpus and size of the encoder
            - `budget_axis`, `budget`: tokens, predictions, flops or seconds, and the amount
            - `objective`, `display_name`, `settings`: the objective, its name with settings in
              tables, and all settings as a dict
            - `attention`: native, or bidirectional for a second evaluation of causal objectives
            - `kind`: trained, untrained, or baseline (needs no encoder)
            - `task`, `column`, `policy`, `metric`: the task, its column in tables, the policy if a
              metric has several, and the metric
            - `chance`: the chance level of the metric, if it has one
            - `status`: ok, not_applicable, missing, or why no run counts (diverged; finished, did
              not learn)
            - `mean`, `low`, `high`: the mean over seeds with its 95 % interval
            - `seeds`, `examples`, `limit`: number of seeds and test examples, and `--limit`
            - `best`: significantly different from every other objective, and above it
            - `letters`: objectives of a column that share a letter are not significantly different
            - `below_best`: significantly below the highest objective of the column
            - `minimum_detectable_difference`: between two objectives of the column (95 % level,
              50 % power)
            - `selectivity`: score minus the score of the same probe on random labels
            - `train_overlap`, `train_overlap_clean_mean`: share of test examples that overlap with
              the training examples, and the mean on the others
            - `corpus_overlap`, `corpus_overlap_clean_mean`: the same for the pretraining corpus
            - `machine`: processor, threads and version of torch of its runs
            - `tokens`, `predictions`, `flops`, `seconds`, `tokens_per_second`: mean cost of one
              pretraining
            - `extra_parameters`: parameters that are discarded after pretraining
            - `excluded`: status -> seeds of the runs that are left out of the mean
            - `run_ids`: the runs behind the mean
            - `crossings`: budgets at which the objective passes another one, as dicts
            - `iqm`, `iqm_low`, `iqm_high`, `rank`, `rank_low`, `rank_high`: interquartile mean of
              normalised scores and mean rank, over all tasks of the table
            - `difference_baseline`, `difference_mean`, `difference_low`, `difference_high`,
              `difference_seeds`: the paired difference to the baseline
            - `difference_significant`, `difference_minimum_detectable_difference`, `difference_p`,
              `difference_holm`: its test; `holm` is corrected over the columns of the table

        Raises:
            BenchError: There is no such format.

        Examples:
            >>> wide = comparison.to_dataframe("wide")
            >>> wide.loc[(1, "span"), ["entities", "word_class"]].round(3).tolist()
            [0.358, 0.707]
        """
        if format not in get_args(DataFrameFormat):
            raise _unknown("format", format, get_args(DataFrameFormat))
        if format == "wide":
            return dataframes.wide_frame(self)
        return dataframes.long_frame(self)

    def table(self, task: str | None = None) -> pd.DataFrame:
        """The scores on one task, or the means on all tasks.

        Args:
            task: Name of a task, or of a column if the task has several; None: all tasks.

        Returns:
            For a task, one line per objective and baseline, indexed by `display_name`: `table` (its
            number), `column`, `mean`, `low`, `high`, `seeds`, `examples`, `letters` (objectives
            that share one are not significantly different) and `best`. If the comparison has a
            baseline: `difference_mean`, `difference_low`, `difference_high` and `significant`. For
            None: the data frame of `to_dataframe("wide")`.

        Raises:
            BenchError: There is no such task.

        Examples:
            >>> entities = comparison.table("entities")
            >>> entities.loc["causal", ["mean", "low", "high"]].astype(float).round(3).tolist()
            [0.651, 0.599, 0.703]
        """
        if task is None:
            return dataframes.wide_frame(self)
        columns = [column for table in self.tables for column in table.columns]
        names = _unique(name for column in columns for name in (column.name, column.task))
        if task not in names:
            raise _unknown("task", task, names)
        return dataframes.task_frame(self, task)

    def difference(self, a: str, b: str) -> pd.DataFrame:
        """The paired differences of two objectives, a - b, on every task.

        Args:
            a: Name of an objective or baseline.
            b: Name of another one.

        Returns:
            One line per column of each table that has both, indexed by `column`: `table` (its
            number), `mean`, `low`, `high` (95 % interval), `p`, `holm` (significant at 5 % over
            all columns of the table together), `significant` (by itself),
            `minimum_detectable_difference` (95 % level, 50 % power) and `seeds` (common ones).
            Without a common score, the numbers are NaN; with one seed, `p` is NaN.

        Raises:
            BenchError: There is no such objective, or no table has both.

        Examples:
            >>> differences = comparison.difference("span", "token")
            >>> differences.loc["sense_right", ["mean", "p"]].astype(float).round(3).tolist()
            [-0.209, 0.007]
            >>> bool(differences.loc["sense_right", "significant"])
            True
        """
        names = _unique(row.name for table in self.tables for row in table.rows)
        for name in (a, b):
            if name not in names:
                raise _unknown("objective", name, names)
        if a == b:
            raise BenchError(f"difference({a!r}, {b!r}): name two different objectives")
        return dataframes.difference_frame(self, a, b)

    @property
    def verdict(self) -> str:
        """The conclusions that the scores support, and the next step with its command and cost.

        One paragraph per table: which objective leads, which are tied with it, which lost, on the
        user's own labels first, and whether it is above the untrained encoder and the baselines.

        Examples:
            >>> comparison.verdict.split(":")[0]
            'Over 5 tasks together'
        """
        return verdict_text(self)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write one self-contained HTML page, with its figures as files beside it.

        `bench report` writes the same page, with examples of what each objective does to a text.

        Args:
            path: The folder; created if it does not exist.

        Returns:
            Path of the HTML file.

        Raises:
            BenchError: There is nothing to report, or the folder cannot be written.
            FailedError: The disk is full.

        Examples:
            >>> comparison.report(folder / "report").name
            'report.html'
        """
        from bench.reporting.page.page import write_report

        if not isinstance(path, str | PathLike) or not str(path):
            raise BenchError(f"report({path!r}): give a folder")
        runs = [run for table in self.tables for row in table.rows for run in row.runs]
        records = str(runs[0].folder.parents[1]) if runs else "results"
        return write_report(self, Path(path), records)[0]

    def fail_if(self, expression: str) -> gates.GateResult:
        """Test a gate, as `bench compare --fail-if` does.

        A gate between objectives fails if the left one is significantly below (for `>`: above) the
        right one, corrected over the tested tasks (Holm). A gate against a number fails if the
        whole interval of the score is below (above) it.

        Args:
            expression: `"span < token"` (any task), `"sense: span < token"` (a task or a suite),
                `"aggregate: span < token"`, `"span.sense < 0.6"`.

        Returns:
            The result; `failed`, and `lines` with the numbers. It is true if the gate failed.

        Raises:
            BenchError: The expression does not have that form, has an unknown name, or there is
                nothing to compare.

        Examples:
            >>> result = comparison.fail_if("agreement: untrained > span")
            >>> result.failed
            False
        """
        return gates.fail_if(self, expression)

    def to_markdown(self) -> str:
        """All tables as Markdown.

        Examples:
            >>> "**scores**" in comparison.to_markdown().splitlines()
            True
        """
        return render(self, "markdown")

    def to_latex(self) -> str:
        r"""All tables as LaTeX with `booktabs`.

        Examples:
            >>> r"\toprule" in comparison.to_latex().splitlines()
            True
        """
        return render(self, "latex")

    def to_text(self, width: int = 100) -> str:
        """All tables as plain text, as `bench compare` prints them.

        Args:
            width: Columns of a line; wider tables are split by tasks.

        Raises:
            BenchError: The width is not a whole number above 0.

        Examples:
            >>> comparison.to_text(width=80).splitlines()[0]
            'corpus micro (628a7633), size tiny, budget 1.6M tokens'
        """
        if not isinstance(width, int) or width < 1:
            raise BenchError(f"width {width!r}: give a whole number above 0")
        return render(self, "table", width)

    def to_json(self) -> str:
        """The long form as JSON: `to_dataframe()` with nested differences and aggregates.

        Examples:
            >>> import json
            >>> sorted(json.loads(comparison.to_json())[0]["difference"])[:3]
            ['baseline', 'high', 'holm']
        """
        return render(self, "json")

    def to_csv(self) -> str:
        """The long form as CSV: `to_dataframe()` as text.

        Examples:
            >>> comparison.to_csv()[:22]
            'comparison,corpus,size'
        """
        return render(self, "csv")

    def __repr__(self) -> str:
        return overview_text(self)

    def _repr_html_(self) -> str:
        return overview_html(self)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _unknown(kind: str, name: Any, names: Sequence[str]) -> BenchError:
    """An error for an unknown name, with the nearest known name and all names."""
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return BenchError(f"no {kind} named {name!r}{hint} (known: {', '.join(map(quoted, names))})")
