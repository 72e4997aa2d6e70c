"""A user's own search collection: documents, queries, and judgements of what is relevant.

They are three files, or a folder in the layout of BEIR. Ids are compared as text. Everything that
would change a score without a word is refused: an id that occurs twice or nowhere, a text that is
empty, a judgement that is no whole number from 0. Queries without a relevant document have no
score, so they are left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError
from bench.probing.data.collections import judged_queries
from bench.probing.data.datasets import as_splits, cut
from bench.probing.data.label_files.column import Column
from bench.probing.data.label_files.formats import read_rows
from bench.probing.data.label_files.judgements import TABLES, TREC, read_judgements
from bench.probing.data.label_files.values import is_missing, items_of, plain_label
from bench.probing.data.user_files import find_splits
from bench.probing.data.user_kinds import FileSplits, UserTask, column_of
from bench.probing.families.retrieval import Retrieval
from bench.probing.task import DataRoot, Splits
from bench.settings import whole_number

if TYPE_CHECKING:
    import pandas as pd

FILES = ("docs", "queries", "qrels")
STEMS = {"docs": ("corpus", "docs", "documents"), "queries": ("queries",)}
"""The names of a folder's files, without their endings."""
ID = ("_id", "id")
NAMES = {
    "query": ("query-id", "query_id", "qid", "query"),
    "document": ("corpus-id", "corpus_id", "doc_id", "docid", "document"),
    "grade": ("score", "relevance", "grade"),
}
"""The names of the columns of judgements, of which the first that exists is used."""


def documents_first(pieces: Sequence[str]) -> list[str]:
    """The parts of an argument, with the file of `docs=FILE` in the place of other kinds' FILE.

    Raises:
        BenchError: The argument has neither a folder nor `docs=FILE`.
    """
    if not re.match(rf"({'|'.join((*FILES, *SearchFiles.options))})=", pieces[0]):
        return list(pieces)  # a folder, or the file of the documents
    named = [piece for piece in pieces if piece.startswith("docs=")]
    if not named:
        raise _not_given("docs")
    others = [piece for piece in pieces if piece not in named]
    return [named[0].removeprefix("docs="), *others]


def _not_given(role: str) -> BenchError:
    return BenchError(
        f"--task retrieve: {role}=FILE is missing; give docs=FILE,queries=FILE,qrels=FILE, or a "
        "folder with corpus.jsonl, queries.jsonl and qrels/test.tsv"
    )


class SearchFiles(UserTask, Retrieval):
    """Documents, queries and judgements from three files, or from a folder with them."""

    columns: ClassVar[tuple[str, ...]] = FILES
    file_options: ClassVar[tuple[str, ...]] = FILES
    metrics: ClassVar[tuple[str, ...]] = ("ndcg@10",)
    options: ClassVar[tuple[str, ...]] = (
        "name", "metric", "split", "id", "title", "text", "query_text", *NAMES
    )  # fmt: skip

    def require(self, data: DataRoot) -> None:
        """Check that the three files exist, without loading them."""
        self._files()

    def load(self, data: DataRoot) -> Splits:
        """Read the three files; `--limit` cuts the queries and never the documents."""
        import pandas as pd

        notes: list[str] = []
        files = self._files()
        documents = self._documents(files["docs"], notes)
        queries = self._queries(files["queries"], notes)
        judgements = self._judgements(files["qrels"], notes)
        for role, known, where in (
            ("query", queries["id"], files["queries"]),
            ("document", documents["id"], files["docs"]),
        ):
            _check_known(list(judgements[role]), set(known), role, files["qrels"], where)
        test = judged_queries(queries, judgements)
        if not len(test):
            raise BenchError(
                f"{files['qrels']}: none of the {len(judgements)} judgements is above 0, so no "
                "query has a relevant document; relevant documents need a grade of 1 or more"
            )
        if len(test) < len(queries):
            notes.append(
                f"{len(queries) - len(test)} of {len(queries)} queries have no relevant document; "
                "they are left out"
            )
        test = self._without_itself(test, documents, notes)
        test = cut(test.drop(columns="id"), data.limit, "test")
        splits = as_splits(pd.DataFrame(documents[["id", "text"]]), test, DataRoot())
        notes += _few_documents(len(documents))
        return FileSplits(
            splits.train, splits.test, splits.sha256, notes=tuple(dict.fromkeys(notes))
        )

    def _files(self) -> dict[str, Path]:
        """The three files.

        Raises:
            BenchError: One of them is not given, does not exist, or has another format.
        """
        if self.file.path.is_dir():
            return self._files_of_folder(self.file.path)
        files = {"docs": self.file.path}
        for role in FILES[1:]:
            if role not in self.file.options:
                raise _not_given(role)
            files[role] = Path(self.file.options[role])
        for role, path in files.items():
            if not (role == "qrels" and path.is_file() and path.suffix.lower() in TREC):
                _check_file(path)
        return files

    def _files_of_folder(self, folder: Path) -> dict[str, Path]:
        """The files of BEIR's layout; a file that an option names takes precedence."""
        split = self.file.options.get("split", "test")
        stems = {**STEMS, "qrels": (f"qrels/{split}", f"qrels_{split}", "qrels")}
        files = {}
        for role, names in stems.items():
            endings = (*TABLES, *(TREC if role == "qrels" else ()))
            present = [
                path
                for name in names
                for end in endings
                if (path := folder / f"{name}{end}").is_file()
            ]
            if role in self.file.options:
                present = [Path(self.file.options[role])]
                if not (role == "qrels" and present[0].suffix.lower() in TREC):
                    _check_file(present[0])
            if not present:
                looked = ", ".join(
                    f"{name}.jsonl" if role != "qrels" else f"{name}.tsv" for name in names
                )
                raise BenchError(
                    f"the folder {folder} has no file of {role}: looked for {looked} (or another "
                    f"of {' '.join(TABLES)}); add it, or name it with ,{role}=FILE"
                    + (" or another split with ,split=NAME" if role == "qrels" else "")
                )
            if len(present) > 1:
                listed = ", ".join(str(path.relative_to(folder)) for path in present)
                raise BenchError(
                    f"the folder {folder} has several files of {role}: {listed}; name one of them "
                    f"with ,{role}=FILE"
                )
            files[role] = present[0]
        return files

    def _documents(self, path: Path, notes: list[str]) -> pd.DataFrame:
        """`id` and `text` of each document: its title, a space and its text."""
        import pandas as pd

        rows = read_rows(path, notes)
        ids = self._ids(rows, path, "documents")
        texts = column_of(rows, self.file.options.get("text", "text"), path, "text")
        title = self.file.options.get("title")
        if title is not None or "title" in rows.columns:
            titles = column_of(rows, title or "title", path, "title")
            texts = [_titled(*pair) for pair in zip(titles, texts, strict=True)]
        return pd.DataFrame({"id": ids, "text": self._texts(texts, path, "text", notes)})

    def _queries(self, path: Path, notes: list[str]) -> pd.DataFrame:
        """`id` and `text` of each query."""
        import pandas as pd

        rows = read_rows(path, notes)
        options = self.file.options
        name = options.get("query_text") or options.get("text", "text")
        if name not in rows.columns and "query_text" not in options:
            name = "text"
        ids = self._ids(rows, path, "queries")
        texts = column_of(rows, name, path, "query_text")
        return pd.DataFrame({"id": ids, "text": self._texts(texts, path, "query_text", notes)})

    def _texts(self, values: list[Any], path: Path, role: str, notes: list[str]) -> list[str]:
        return Column(path, role, values, range(1, len(values) + 1), notes).texts()

    def _ids(self, rows: pd.DataFrame, path: Path, what: str) -> list[str]:
        """The ids of documents or queries.

        Raises:
            BenchError: An id is missing, or occurs twice.
        """
        name = self.file.options.get("id") or _first(rows, ID)
        if name not in rows.columns and "id" in self.file.options:
            name = _first(rows, ID)
        ids = _plain(column_of(rows, name, path, "id"), path, "id")
        first: dict[str, int] = {}
        for row, one in enumerate(ids, start=1):
            if one in first:
                count = len(ids) - len(set(ids))
                raise BenchError(
                    f"{path}: {count} of {len(ids)} {what} have the id of another row, the first "
                    f"is {one[:60]!r} in rows {first[one]} and {row}; give each an id of its own"
                )
            first[one] = row
        return ids

    def _judgements(self, path: Path, notes: list[str]) -> pd.DataFrame:
        """`query`, `document` and `gain` of each judgement.

        Raises:
            BenchError: A column or a value is missing, a grade is no whole number from 0, or a
                document is judged twice for a query.
        """
        import pandas as pd

        rows = read_judgements(path, notes)
        values = {}
        for role, names in NAMES.items():
            name = self.file.options.get(role) or _first(rows, names)
            values[role] = _plain(column_of(rows, name, path, role), path, role)
        gains = [_grade(one, path, row) for row, one in enumerate(values["grade"], start=1)]
        first: dict[tuple[str, str], int] = {}
        for row, pair in enumerate(zip(values["query"], values["document"], strict=True), start=1):
            if pair in first:
                raise BenchError(
                    f"{path}: the document {pair[1][:60]!r} is judged twice for the query "
                    f"{pair[0][:60]!r}, in rows {first[pair]} and {row}; keep one of both"
                )
            first[pair] = row
        return pd.DataFrame(
            {"query": values["query"], "document": values["document"], "gain": gains}
        )

    def _without_itself(
        self, test: pd.DataFrame, documents: pd.DataFrame, notes: list[str]
    ) -> pd.DataFrame:
        """Exclude the document that is the query itself: the same id, and the text of the query.

        Counterarguments and duplicate questions are such collections; the query would be its own
        best match. A document that is judged relevant is never excluded.
        """
        text_of = dict(zip(documents["id"], documents["text"], strict=True))
        rows = zip(test["id"], test["text"], test["relevant"], strict=True)
        excluded: Any = [
            name
            if name in text_of and name not in own and text_of[name].endswith(text.strip())
            else None
            for name, text, own in rows
        ]
        count = sum(name is not None for name in excluded)
        if not count:
            return test
        notes.append(
            f"{count} of {len(test)} queries are documents too (the same id and text); each is "
            "left out of its own ranking"
        )
        return test.assign(excluded=excluded)


def _check_file(path: Path) -> None:
    """Check that a file of the collection exists and has a known format."""
    if path.is_dir():
        raise BenchError(f"{path} is a folder; name the file")
    find_splits(path)
    if path.suffix.lower() not in TABLES:
        raise BenchError(f"{path} has an unknown format; the formats are {' '.join(TABLES)}")


def _check_known(names: Sequence[str], known: set[str], role: str, path: Path, where: Path) -> None:
    """Refuse judgements about ids that are in no row.

    Raises:
        BenchError: Names the first one and its row.
    """
    unknown = [(row, name) for row, name in enumerate(names, start=1) if name not in known]
    if unknown:
        row, name = unknown[0]
        raise BenchError(
            f"{path}: {len(unknown)} of {len(names)} judgements are about a {role} that is not in "
            f"{where}, the first is {name[:60]!r} in row {row}; add it there, or remove the "
            "judgements"
        )


def _first(rows: pd.DataFrame, names: Sequence[str]) -> str:
    """The first of some names that is a column; the first name where none is."""
    return next((name for name in names if name in rows.columns), names[0])


def _titled(title: Any, text: Any) -> Any:
    """A title, a space and a text; a list in place of one of them, which is refused later."""
    parts = [part for part in (title, text) if not is_missing(part)]
    unusable = [part for part in parts if items_of(part) is not None or isinstance(part, Mapping)]
    return unusable[0] if unusable else " ".join(str(part).strip() for part in parts)


def _plain(values: Sequence[Any], path: Path, role: str) -> list[str]:
    """Ids or grades as text, without invisible differences.

    Raises:
        BenchError: One is missing.
    """
    missing = [row for row, value in enumerate(values, start=1) if is_missing(value)]
    if missing:
        raise BenchError(
            f"{path}: {len(missing)} of {len(values)} rows have no {role}, the first is row "
            f"{missing[0]}; remove or complete them"
        )
    return [plain_label(str(value)) for value in values]


def _grade(text: str, path: Path, row: int) -> int:
    """A grade of relevance.

    Raises:
        BenchError: It is negative, or no whole number.
    """
    grade = whole_number(text.removeprefix("+"))
    if grade is None:
        raise BenchError(
            f"{path}, row {row}: the grade {text[:40]!r} is not a whole number from 0 (not "
            "relevant); write 0 for documents that are not relevant, and 1 or more for others"
        )
    return grade


def _few_documents(count: int) -> list[str]:
    """Says that recall at 100 is 1 whatever the order is."""
    if count > 100:
        return []
    return [f"recall@100 says nothing, because there are only {count} documents"]
