import json
import pickle
from pathlib import Path

import pytest

from bench.corpus import tokenizer_json
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.tokenizer_json import tokenizer_sha256
from bench.errors import BenchError, RefusedError


def third_party_tokenizer(**changes: object) -> bytes:
    """A tokenizer.json with RoBERTa's roles, an ordinary added token, truncation and dropout."""
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [["a", "b"]], "unk_token": "<unk>"}
    added = [
        {"id": 7, "content": "<mask>", "special": True, "lstrip": True, "rstrip": False},
        {"id": 8, "content": "<name>", "special": False, "lstrip": False, "rstrip": False},
    ]
    for token in added:
        token.update(single_word=False, normalized=False)
    data = {
        "version": "1.0",
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0,
                       "direction": "Right"},
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                           "trim_offsets": True, "add_prefix_space": True},
        "decoder": None,
        "model": {**model, "dropout": 0.5},
    }  # fmt: skip
    return json.dumps(data | changes).encode()


def test_a_third_party_tokenizer_gets_roles_and_loses_truncation_and_dropout() -> None:
    tokenizer = TextTokenizer(third_party_tokenizer())
    vocabulary = tokenizer.vocabulary
    assert (vocabulary.cls_id, vocabulary.pad_id, vocabulary.sep_id) == (0, 1, 2)
    assert (vocabulary.unk_id, vocabulary.mask_id) == (3, 7)
    assert vocabulary.special_ids == (0, 1, 2, 3, 7)
    assert vocabulary.size == 9
    for _ in range(20):  # dropout is off, so is truncation, and nothing is added
        assert tokenizer.encode(["ab ab b"])[0].ids.tolist() == [6, 6, 5]


def test_missing_roles_are_added() -> None:
    added = [{"id": 7, "content": "<|endoftext|>", "special": False, "single_word": False,
              "lstrip": False, "rstrip": False, "normalized": False}]  # fmt: skip
    model = {"type": "BPE", "vocab": {chr(97 + i): i for i in range(7)}, "merges": []}
    tokenizer = TextTokenizer(third_party_tokenizer(added_tokens=added, model=model))
    vocabulary = tokenizer.vocabulary
    assert 7 not in tokenizer.encode(["a<|endoftext|>b"])[0].ids
    assert vocabulary.cls_id == vocabulary.sep_id == 7
    assert vocabulary.special_ids == (7, 8, 9, 10)
    assert {vocabulary.pad_id, vocabulary.unk_id, vocabulary.mask_id} == {8, 9, 10}


class _Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80\x04.",
        pickle.dumps(_Exploit()),
        b"[]",
        b"{}",
        b'{"model": {"vocab": [1]}}',
        b"[" * 100_000,
        third_party_tokenizer(model={"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}),
        third_party_tokenizer(model={"type": "Spam", "vocab": {"a": 0}}),
    ],
)
def test_other_payloads_are_refused(payload: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(payload)
    with pytest.raises(RefusedError, match=r"mine\.json"):
        TextTokenizer.from_file(path)


def test_a_missing_tokenizer_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(BenchError, match="no tokenizer file"):
            TextTokenizer.from_file(path)


def _nested(depth: int) -> object:
    return {"type": "Sequence", "normalizers": [_nested(depth - 1)] if depth else []}


_TOKEN = {"id": 7, "content": "<mask>", "special": True, "lstrip": False, "rstrip": False,
          "single_word": False, "normalized": False}  # fmt: skip
_HOSTILE = {
    "an id of 2^40": (third_party_tokenizer(added_tokens=[_TOKEN | {"id": 2**40}]), "10995116"),
    "infinity": (third_party_tokenizer(added_tokens=[_TOKEN | {"id": float("inf")}]), "in JSON"),
    "1e999": (third_party_tokenizer().replace(b'"id": 7', b'"id": 1e999'), "from 0 to 4,000,000"),
    "a negative id": (third_party_tokenizer().replace(b'"a": 4', b'"a": -4'), "it must be a whole"),
    "a hole": (third_party_tokenizer(added_tokens=[_TOKEN | {"id": 2 * 10**5}]), "only 8 tokens"),
    "5000 digits": (third_party_tokenizer().replace(b'"id": 7', b'"id": ' + b"9" * 5000), "JSON"),
    "half a surrogate": (third_party_tokenizer().replace(b'"ab": 6', b'"\\ud800": 6'), "in JSON"),
    "levels": (third_party_tokenizer(normalizer=_nested(40)), "83 levels"),
    "many levels": (b"[" * 10**5, "100000 levels"),
    "a word as model": (third_party_tokenizer(model="a"), "in JSON"),
    "a list as unk_token": (
        third_party_tokenizer(model={"type": "BPE", "vocab": {}, "unk_token": [1]}), "in JSON",
    ),
    "numbers as tokens": (third_party_tokenizer(added_tokens=[_TOKEN | {"content": 5}]), "in JSON"),
    "a panic while it is read": (
        third_party_tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": ""}),
        "is not a tokenizer.json",
    ),
    "a panic in a text": (
        third_party_tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
        "cannot encode text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_file_is_one_clear_error(name: str, tmp_path: Path) -> None:
    payload, message = _HOSTILE[name]
    (tmp_path / "t.json").write_bytes(payload)
    with pytest.raises(RefusedError, match=message) as raised:
        TextTokenizer.from_file(tmp_path / "t.json")
    assert "t.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.json").write_bytes(third_party_tokenizer())
    monkeypatch.setattr(tokenizer_json, "LONGEST_BYTES", 100)
    with pytest.raises(RefusedError, match=r"t\.json is larger than"):
        tokenizer_sha256(tmp_path / "t.json")


def test_brackets_in_strings_are_no_levels() -> None:
    vocabulary = {"<unk>": 0, "[" * 99: 1, '\\"[[': 2, "a": 3}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "<unk>"}
    assert TextTokenizer(third_party_tokenizer(model=model, added_tokens=[])).vocabulary.size == 8


def test_a_role_may_have_any_spelling(tmp_path: Path) -> None:
    vocabulary = {"<s>": 0, "<padded>": 1, "</s>": 2, "<oops>": 3, "a": 4, "b": 5, "ab": 6}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [["a", "b"]], "unk_token": "<oops>"}
    added = [_TOKEN | {"id": 1, "content": "<padded>"}]
    tokenizer = TextTokenizer(third_party_tokenizer(model=model, added_tokens=added))
    assert (tokenizer.vocabulary.pad_id, tokenizer.vocabulary.unk_id) == (1, 3)
    tokenizer.save(tmp_path / "t.json")
    again = TextTokenizer.from_file(tmp_path / "t.json")
    assert (again.sha256, again.vocabulary) == (tokenizer.sha256, tokenizer.vocabulary)
