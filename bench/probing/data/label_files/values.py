"""Single values of a label file: missing values, labels without invisible marks, written lists."""

from __future__ import annotations

import ast
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

NO_LABEL = ("-100", "-1")
"""Numbers that stand for no label: PyTorch's ignored index, and a benchmark's withheld label."""
_INVISIBLE = "\ufeff\u200b\u2060"  # byte order mark, zero-width space, word joiner
_NONE = dict.fromkeys(map(ord, _INVISIBLE))
_WHOLE = re.compile(r"(-?\d+)\.0*")
_LIST = re.compile(r"\[.*\]|\(\s*['\"].*\)|array\(\[.*\)", re.DOTALL)
_ARRAY = re.compile(r"array\((\[.*\])(?:,\s*dtype=[^)]*)?\)", re.DOTALL)
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = re.compile(rf"""\s*({_QUOTED}|[^\s,'"\[\](){{}}]+)\s*,?""", re.DOTALL)
_LONE = re.compile("[\ud800-\udfff]")


def trim(text: str) -> str:
    """A text without white space and invisible characters at its ends."""
    return text.strip().strip(_INVISIBLE).strip()


def plain_label(text: str) -> str:
    """A label without invisible differences: white space, Unicode composition, `1.0` for `1`."""
    label = unicodedata.normalize("NFC", " ".join(text.translate(_NONE).split()))
    whole = _WHOLE.fullmatch(label)
    return whole[1] if whole else label


def replace_surrogates(value: Any) -> tuple[Any, int]:
    """A JSON value with U+FFFD for each half of a surrogate pair, and the number of halves.

    No encoding can write such a half, so it would fail far from the file that holds it.
    """
    if isinstance(value, str):
        return _LONE.subn("\ufffd", value)
    if isinstance(value, list):
        items = [replace_surrogates(item) for item in value]
        return [item for item, _ in items], sum(count for _, count in items)
    if isinstance(value, dict):
        keys, counts = replace_surrogates(list(value))
        values, more = replace_surrogates(list(value.values()))
        return dict(zip(keys, values, strict=True)), counts + more
    return value, 0


def is_missing(value: Any) -> bool:
    """None, NaN, one of pandas' missing values, or a text that shows nothing."""
    if isinstance(value, str):
        return not trim(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def has_no_label(value: Any) -> bool:
    """Whether a value stands for a label that is not given: missing, -1, -100, or only such."""
    if isinstance(value, Mapping):  # SQuAD's answers
        return has_no_label(value.get("text"))
    items = items_of(value)
    if items is None and isinstance(value, str) and looks_like_list(value):
        items = parse_list(value)
    if items is not None:
        return all(has_no_label(item) for item in items)
    return is_missing(value) or plain_label(str(value)) in NO_LABEL


def items_of(value: Any) -> list[Any] | None:
    """A list, a tuple, a set or an array as a list; None for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return list(value) if isinstance(value, (list, tuple)) else None


def looks_like_list(text: str) -> bool:
    """Whether a text begins and ends as a written list does."""
    return _LIST.fullmatch(text.strip()) is not None


def holds_written_lists(values: Sequence[Any], quoted: bool = False) -> bool:
    """Whether a column's texts are lists as `to_csv` writes them: most look like one.

    Args:
        values: The column.
        quoted: Only lists of quoted texts count: a text itself may stand in brackets.
    """
    texts = [value for value in values if isinstance(value, str) and trim(value)]
    are_lists = [
        looks_like_list(text) and (not quoted or text.strip("[( ")[:1] in "'\"") for text in texts
    ]
    return len(texts) > 0 and 2 * sum(are_lists) > len(texts)


def parse_list(text: str) -> list[Any] | None:
    """A list that was written as text; None where it is damaged or shortened.

    It is JSON, Python's `['a', 'b']`, or NumPy's `['a' 'b']`, which has no commas: Python would
    read that as the one text `ab`.
    """
    text = text.strip()
    array = _ARRAY.fullmatch(text)
    text = array[1] if array else text
    try:
        parsed, _ = replace_surrogates(json.loads(text))
        return parsed if isinstance(parsed, list) else None
    except (ValueError, RecursionError):
        pass
    inner, place, items = text[1:-1].strip(), 0, list[Any]()
    while place < len(inner):
        item = _ITEM.match(inner, place)
        if item is None or item[1] == "...":
            return None
        items.append(_parse_item(item[1]))
        place = item.end()
    return items


def _parse_item(written: str) -> Any:
    if written[0] in "'\"":
        try:
            return replace_surrogates(ast.literal_eval(written))[0]
        except (ValueError, SyntaxError):
            return written[1:-1]
    return None if written in ("None", "nan", "null", "<NA>") else written
