"""The kinds of hostile input: each makes one case from a random generator, in an empty folder."""

from __future__ import annotations

import copy
import functools
import gzip
import json
import random
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.corpus.opening import open_corpus
from bench.corpus.tokenizer import TextTokenizer
from bench.experiment import resolve
from bench.probing.data.user_tasks import KINDS as TASKS
from bench.probing.data.user_tasks import user_task
from bench.probing.task import DataRoot
from bench.registry import Registry

WORDS = [
    "", " ", "0", "-1", "1e999", "NaN", "inf", "½", "²", "1_000", "0x10", "9" * 400, "True", "null",
    "[]", "{}", "\x00", "\ud800", "\u202e", "\ufeff", "é", "中文", "🙂", "a" * 5000, "../../x", "/",
    "~", "-", "--", "=", "%s", "{0}", "$(id)", "<b>", "'", '"', "\\", "\n", "\t", ",", ";", ":",
    "|", "(", ")", "span", "token", "causal", "0.15", "3", "0-2", "1,2", "2M", "60s", "1e15flop",
    "10epochs", "micro",
]  # fmt: skip


def text(rng: random.Random, longest: int = 12) -> str:
    """Random text: words of people, of attackers, and of no one."""
    parts = []
    for _ in range(rng.randint(0, longest)):
        if rng.random() < 0.7:
            parts.append(rng.choice(WORDS[:20] if rng.random() < 0.1 else WORDS[20:]))
        else:
            parts.append(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x10FFFF)])))
    return rng.choice(["", " "]).join(parts)


def mutated(rng: random.Random, payload: bytes, changes: int = 6) -> bytes:
    """Bytes with a few of them changed, cut, doubled or inserted."""
    data = bytearray(payload)
    for _ in range(rng.randint(1, changes)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0 if data:
                data[place % len(data)] = rng.randrange(256)
            case 1:
                del data[place : place + rng.randint(1, 40)]
            case 2:
                data[place:place] = data[max(0, place - rng.randint(1, 40)) : place]
            case 3:
                data[place:place] = rng.randbytes(rng.randint(1, 8))
            case 4:
                data[place:place] = rng.choice(WORDS).encode("utf-8", "surrogatepass")
            case _:
                data[place:place] = rng.choice(
                    [b"\n", b"\r\n", b"\x00", b'"', b",", b"\t", b"\xff\xfe"]
                )
    return bytes(data)


def mutated_json(rng: random.Random, value: Any) -> Any:
    """A copy of a JSON value with one to three places changed."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        inner = value
        while isinstance(inner, dict | list) and inner:
            key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            if not isinstance(inner[key], dict | list) or not inner[key] or rng.random() < 0.25:
                break
            inner = inner[key]
        else:
            continue
        strange = [
            None,
            -1,
            2**40,
            10**400,
            1e308,
            True,
            [],
            {},
            [[]] * 3,
            {"a": 1},
            rng.choice(WORDS),
        ]
        match rng.randrange(4):
            case 0:
                del inner[key]
            case 1 if isinstance(inner, dict):
                inner[rng.choice(WORDS)] = inner.pop(key)
            case _:
                inner[key] = rng.choice(strange)
    return value


@functools.cache
def registry() -> Registry:
    return Registry()


def expression(rng: random.Random) -> str:
    """An objective with settings, mostly nearly right."""
    names = [*sorted(registry().of("objective")), "spam", *WORDS[:12]]
    knobs = ["rate", "mean_length", "mask_fraction", "draw", "generator_width", "weights", "x", ""]
    equals, more = ["=", "=", "", "=="], ["", "", "|0.3"]
    arguments = ",".join(
        f"{rng.choice(knobs)}{rng.choice(equals)}{rng.choice(WORDS)}{rng.choice(more)}"
        for _ in range(rng.randint(0, 3))
    )
    name = rng.choice(names)
    return rng.choice(
        [
            name,
            name,
            name,
            f"{name}({arguments})",
            f"{name}({arguments}",
            text(rng, 4),
            f"{name},{name}",
        ]
    )


def settings(rng: random.Random, folder: Path) -> None:
    """Arguments of `bench run`, up to where a corpus is read."""
    owners = ["encoder", "training", "span", "probe", "encoder", "training", "x", text(rng, 2)]
    knobs = [
        "hidden_size", "num_heads", "learning_rate", "batch_tokens", "rate", "warmup", "max_length",
        "vocab_size", "threads", "rotary_theta", "dropout", "x",
    ]  # fmt: skip
    sets = [
        f"{rng.choice(owners)}{rng.choice(['.'] * 8 + ['', '..'])}{rng.choice(knobs)}="
        f"{rng.choice([*WORDS, '64', '0.1', '128', '2e-3'])}"
        for _ in range(rng.choice([0, 0, 1, 2]))
    ]
    wild: dict[str, Callable[[], Any]] = {
        "budget": lambda: rng.choice([*WORDS, text(rng, 3), 0, -1.0, 1e300, float("nan")]),
        "seeds": lambda: rng.choice([*WORDS, text(rng, 3), 0, -1, 10**9, [0, 0], ["a"]]),
        "tasks": lambda: rng.choice([*WORDS, text(rng, 3), "micro,sst2", "glue", "none"]),
        "size": lambda: rng.choice(["tiny", "mini", *WORDS]),
        "device": lambda: rng.choice(["auto", "cpu", "cuda", "mps", *WORDS]),
        "limit": lambda: rng.choice([0, -1, 1, 10**30, 2.5, "3"]),
        "probe": lambda: rng.choice(["linear", "mlp", "linear,knn", *WORDS]),
        "curve": lambda: rng.choice([0, 1, 4, -3, 10**9]),
        "words": lambda: rng.choice(["auto", "spaces", "icu", "characters", *WORDS]),
        "documents": lambda: rng.choice(["auto", "lines", "files", *WORDS]),
        "tune": lambda: rng.choice(["training.learning_rate=1e-3,2e-3", *WORDS, text(rng, 3)]),
        "corpus": lambda: rng.choice(["micro", "hf:x", "hf:", *WORDS]),
        "tokenizer": lambda: rng.choice(["char", *WORDS]),
        "data": lambda: rng.choice([".", *WORDS]),
        "ladder": lambda: rng.choice(["tiny,mini", *WORDS]),
    }
    chosen = rng.sample(sorted(wild), rng.randint(0, 3))
    resolve(expression(rng), registry(), settings=sets, **{name: wild[name]() for name in chosen})


_COMMANDS = """
list
list objectives
describe span
describe token
compare
verify
show token 'The cat sat' --corpus t.txt
show span --corpus t.txt
status
remove x
fill x 'The [MASK]'
new objective mine
new task mine
export x y
merge a b
check nobody
plan --objective token --budget 10k
plan --objective span(rate=0.15|0.3) --seeds 0-2
grid x.toml
work x.json
--version
""".strip().splitlines()
_OPTIONS = """
--objective --corpus --tasks --task --size --budget --seeds --set --out --json --format --baseline
--only --fail-if --transpose --limit --data --device --engine --words --documents --tokenizer --init
--encoder --curve --ladder --tune --race --detect --for --verify --help -h --gpus-per-run --probe
--shard --spam -x
""".split()  # noqa: SIM905


def commands(rng: random.Random, folder: Path) -> None:
    """A command line; nothing that trains."""
    from bench import cli

    arguments = shlex.split(rng.choice(_COMMANDS))
    for _ in range(rng.randint(0, 4)):
        match rng.randrange(4):
            case 0:
                arguments.insert(rng.randint(1, len(arguments)), rng.choice(_OPTIONS))
            case 1:
                arguments += [rng.choice(_OPTIONS), rng.choice([*WORDS, text(rng, 3)])]
            case 2:
                arguments[rng.randrange(len(arguments))] = rng.choice([*WORDS, text(rng, 3)])
            case _:
                arguments.insert(rng.randint(1, len(arguments)), rng.choice([*WORDS, text(rng, 3)]))
    if arguments[0] in ("run", "prepare", "report"):
        return
    if arguments[0] == "show" and "t.txt" not in arguments:
        return  # it would prepare the generated corpus
    (folder / "t.txt").write_text("the cat sat on the mat\n\n" * 60)
    if arguments[0] == "check" and {"objectives", "tasks", "token", "span", "causal"} & set(
        arguments
    ):
        return  # the whole kit
    before = sys.argv
    sys.argv = ["bench", *(argument.replace("\x00", "") for argument in arguments)]
    try:
        cli.main()
    finally:
        sys.argv = before


_ENDINGS = [
    ".txt",
    ".jsonl",
    ".csv",
    ".tsv",
    ".json",
    ".parquet",
    ".md",
    ".py",
    ".log",
    ".txt.gz",
    ".zip",
    "",
]


def corpora(rng: random.Random, folder: Path) -> None:
    """Files of text in all formats, damaged, read to their end."""
    for number in range(rng.randint(1, 3)):
        ending = rng.choice(_ENDINGS)
        rows = [{"text": text(rng), "other": rng.choice(WORDS)} for _ in range(rng.randint(0, 6))]
        lines = [json.dumps(row) for row in rows]
        plain = "\n".join(rng.choice(["", "\n"]) + row["text"] for row in rows)
        table = "text,other\n" + "\n".join(f"{row['text']},{row['other']}" for row in rows)
        body = {
            ".jsonl": "\n".join(lines), ".json": f"[{','.join(lines)}]", ".csv": table,
            ".tsv": table.replace(",", "\t"),
        }.get(ending, plain)  # fmt: skip
        encoding = rng.choice(["utf-8"] * 8 + ["utf-16", "utf-32"])
        payload = body.encode(encoding, "surrogatepass")
        if ending == ".parquet":
            payload = _parquet(rows)
        if rng.random() < 0.7:
            payload = mutated(rng, payload)
        if ending == ".txt.gz":
            payload = gzip.compress(payload)
            payload = mutated(rng, payload, 2) if rng.random() < 0.5 else payload
        (folder / f"{number}{ending}").write_bytes(payload)
    names = [str(path) for path in folder.iterdir()] if rng.random() < 0.5 else [str(folder)]
    column = rng.choice(["text", "text", "other", rng.choice(WORDS)])
    documents = rng.choice(["auto", "auto", "lines", "files", "blank-lines"])
    corpus = open_corpus(names, {}, text_column=column, documents=documents)
    corpus.fingerprint()
    for _ in corpus.documents():
        pass
    str(corpus.note)


def _parquet(rows: list[dict[str, str]]) -> bytes:
    import io

    import pandas as pd

    buffer = io.BytesIO()
    clean = [{k: v.encode("utf-8", "ignore").decode() for k, v in row.items()} for row in rows]
    pd.DataFrame(clean).to_parquet(buffer)
    return buffer.getvalue()


_OTHER_COLUMNS = ["split", "group", "title", "id", "comment"]
_LABELS = [
    "0",
    "1",
    "pos",
    "neg",
    "-1",
    "-100",
    "0.0",
    "1e400",
    "9" * 5000,
    "²",
    "\ud800",
    "nan",
    "",
    "B-PER",
    "O",
    "I-",
]


def labels(rng: random.Random, folder: Path) -> None:
    """A file of labelled examples for each kind of `--task`, damaged, and loaded."""
    kind = rng.choice(sorted(TASKS))
    sane = rng.random() < 0.6
    own = list(TASKS[kind].columns)
    wide = own + (rng.sample(_OTHER_COLUMNS, 2) if rng.random() < 0.3 else [])
    if not sane:
        wide = rng.sample(wide, rng.randint(1, len(wide))) if wide else ["text"]
    wide = wide or ["text", "label"]

    def cell(column: str) -> Any:
        if not sane and rng.random() < 0.3:
            return rng.choice([text(rng, 4), rng.choice(WORDS), None, 3, [1], {"a": 1}])
        match column:
            case "label" | "score":
                return rng.choice(_LABELS[:2] if sane else _LABELS)
            case "labels":
                few = ["O", "B-PER", "O"] if sane else [rng.choice(_LABELS) for _ in range(3)]
                return few if ending in (".jsonl", ".json") else " ".join(few)
            case "words":
                return ["a", "b", "c"] if ending in (".jsonl", ".json") else "a b c"
            case "answers":
                return rng.choice([{"text": ["a"], "answer_start": [0]}, [], "a", {"text": []}])
        return f"some words {rng.randrange(50)}"

    ending = rng.choice(
        [".csv", ".tsv", ".jsonl", ".jsonl", ".json", ".parquet", ".txt", ".conllu", ".conll"]
    )
    rows = [
        {column: cell(column) for column in wide} for _ in range(rng.choice([0, 1, 70, 80, 80, 80]))
    ]
    path = folder / f"labels{ending}"
    if ending == ".parquet":
        path.write_bytes(
            _parquet([{name: str(value) for name, value in row.items()} for row in rows])
        )
    elif ending == ".jsonl":
        path.write_bytes(
            "\n".join(json.dumps(row) for row in rows).encode("utf-8", "surrogatepass")
        )
    elif ending == ".json":
        path.write_bytes(
            json.dumps(rng.choice([rows, {"data": rows}, {"data": {"a": rows}}])).encode()
        )
    else:
        joint = "," if ending == ".csv" else "\t"
        table = [joint.join(wide), *(joint.join(str(row[c]) for c in wide) for row in rows)]
        path.write_bytes("\n".join(table).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.4:
        path.write_bytes(mutated(rng, path.read_bytes()))
    keys = [*TASKS[kind].columns, *TASKS[kind].options, "x"]
    options = "".join(
        f",{rng.choice(keys)}={rng.choice([*wide, rng.choice(WORDS)])}"
        for _ in range(rng.choice([0, 0, 0, 1, 2]))
    )
    if kind == "retrieve":
        for name in ("queries", "qrels"):
            (folder / f"{name}{ending}").write_bytes(mutated(rng, path.read_bytes(), 2))
        options += f",queries={folder}/queries{ending},qrels={folder}/qrels{ending}"
        path = path if rng.random() < 0.5 else Path(f"docs={path}")
    argument = f"{kind}:{path if rng.random() < 0.9 else text(rng, 3)}{options}"
    user_task(argument)().load(DataRoot(limit=rng.choice([None, 10])))


@functools.cache
def _tokenizer() -> dict[str, Any]:
    from bench.corpus.trainer import train_tokenizer

    return json.loads(train_tokenizer(["the cat sat on the mat " * 20], 300).json)  # type: ignore[no-any-return]


def tokenizers(rng: random.Random, folder: Path) -> None:
    """A `tokenizer.json`, damaged, that encodes a text."""
    payload = json.dumps(mutated_json(rng, _tokenizer())).encode()
    if rng.random() < 0.2:
        payload = mutated(rng, payload)
    path = folder / "tokenizer.json"
    path.write_bytes(payload)
    tokenizer = TextTokenizer.from_file(path)
    for encoded in tokenizer.encode(["the cat", text(rng).replace("\x00", "")]):
        tokenizer.decode(encoded.ids)


@functools.cache
def _store() -> Any:
    from tests.records.test_mutations import Store

    return Store(Path(tempfile.mkdtemp()))


def records(rng: random.Random, folder: Path) -> None:
    """A record of somebody else, damaged, read by the commands that read records."""
    from tests.records.test_mutations import refusals

    store = _store()
    path = rng.choice([store.run / "run.json", store.score, store.outcomes])
    if path == store.outcomes:
        content: Any = mutated(rng, store.before[path])
    else:
        record = json.loads(store.before[path])
        record.pop("sha256", None)
        content = mutated_json(rng, record)
        if rng.random() < 0.2:
            content = mutated(rng, json.dumps(content).encode())
    faults = refusals(store, path, content)
    assert not faults, faults


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "settings": settings,
    "labels": labels,
    "tokenizers": tokenizers,
    "corpora": corpora,
    "commands": commands,
    "records": records,
}
