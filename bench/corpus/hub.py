"""Datasets of the Hugging Face hub, streamed: `hf:NAME[:CONFIG][@REVISION]`, split "train".

The revision is resolved to a commit first, so that a fingerprint means content; with a full commit
in the name even that needs no network once the store is built. No code of a dataset is ever run.
Being offline is found out in half a second, not after the libraries' minutes of retries.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import json
import os
import re
import socket
import tempfile
import threading
import urllib.parse
import urllib.request
import weakref
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from bench.corpus.sources import Corpus
from bench.errors import BenchError
from bench.settings import canonical_json

DEFAULT_WORDS = 20_000_000
_WORD_CHARACTERS = 6  # a space included; not counted as words, for scripts without spaces
_PATIENCE_SECONDS = 0.5
WAY_OUT = "download the data where there is a network and give --corpus FILE..."
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Hub(Corpus):
    """The text column of a dataset, up to a number of words.

    Args:
        address: `NAME[:CONFIG][@REVISION]`.
        text_column: The column that holds the text.
        num_words: How much to take (a word is counted as six characters).
    """

    name: ClassVar[str] = "hf"
    summary: ClassVar[str] = "a dataset of the Hugging Face hub, streamed: hf:NAME[:CONFIG]"

    def __init__(
        self, address: str, text_column: str = "text", num_words: int | None = None
    ) -> None:
        named, _, self._asked_revision = address.partition("@")
        self.dataset, _, config = named.partition(":")
        self.config = config or None
        self.text_column = text_column
        self.num_words = num_words or DEFAULT_WORDS
        self._spool: IO[str] | None = None
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.dataset):
            raise BenchError(f"hf:{address} names no dataset; the form is hf:NAME[:CONFIG]")

    @property
    def display_name(self) -> str:
        """The address, as it was given."""
        return "hf:" + self.dataset + (f":{self.config}" if self.config else "")

    @functools.cached_property
    def revision(self) -> str:
        """The commit that is read."""
        if _COMMIT.fullmatch(self._asked_revision):
            return self._asked_revision
        require_network(self.display_name)
        import huggingface_hub

        try:
            info = huggingface_hub.HfApi().dataset_info(
                self.dataset, revision=self._asked_revision or None, timeout=10.0
            )
        except Exception as error:
            raise self._failed(error) from None
        return str(info.sha)

    def fingerprint(self) -> str:
        """Of name, config, commit, column and amount."""
        described = ["hub", 1, self.dataset, self.config, self.revision]
        text = canonical_json([*described, self.text_column, self.num_words])
        return hashlib.sha256(text.encode()).hexdigest()

    def documents(self) -> Iterator[str]:
        """The documents; read from the network once, from a temporary file afterwards."""
        if self._spool is None:
            yield from self._download()
            return
        self._spool.seek(0)
        for line in self._spool:
            yield json.loads(line)

    def _download(self) -> Iterator[str]:
        self.skipped.clear()
        spool = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (kept open)
        weakref.finalize(self, spool.close)
        left = self.num_words * _WORD_CHARACTERS
        for row in self._rows():
            text = self._text(row)
            if not text:
                self.count("blank")
                continue
            spool.write(json.dumps(text) + "\n")
            yield text
            left -= len(text)
            if left <= 0:
                break
        self._spool = spool

    def _text(self, row: dict[str, Any]) -> str:
        if self.text_column not in row:
            there = ", ".join(map(repr, row))
            raise BenchError(
                f"{self.display_name} has no column {self.text_column!r}, but {there} "
                f"(--text-column chooses)"
            )
        text = row[self.text_column]
        if not isinstance(text, str):
            return ""
        self.count("NUL", text.count("\0"))
        return text.replace("\0", "").encode("utf-8", "replace").decode().strip()

    def _rows(self) -> Iterator[dict[str, Any]]:
        if importlib.util.find_spec("datasets") is None:
            raise BenchError(
                f"{self.display_name} needs the hub extra: pip install 'objective-bench[hf]' "
                f"(or download the files and give --corpus FILE...)"
            )
        if os.path.exists(self.dataset):
            raise BenchError(
                f"{self.display_name}: {self.dataset} is here as a file or folder, which the library "
                f"would read instead; give --corpus ./{self.dataset} or call from elsewhere"
            )
        require_network(self.display_name)
        import datasets

        # Gone since datasets 4, which runs no code at all; before, it must be said.
        takes_trust = "trust_remote_code" in inspect.signature(datasets.load_dataset).parameters
        trust = {"trust_remote_code": False} if takes_trust else {}
        try:
            yield from datasets.load_dataset(
                self.dataset,
                self.config,
                split="train",
                streaming=True,
                revision=self.revision,
                **trust,
            )
        except BenchError:
            raise
        except Exception as error:  # the libraries below raise some thirty kinds
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> BenchError:
        reason = " ".join(str(error).split())[:300]
        return BenchError(f"{self.display_name} cannot be read: {type(error).__name__}: {reason}")


def require_network(display_name: str, way_out: str = WAY_OUT) -> None:
    """Raise at once where the hub cannot be reached.

    Raises:
        BenchError: Switched off, or no answer; names the way out.
    """
    from huggingface_hub.constants import ENDPOINT

    endpoint = os.environ.get("HF_ENDPOINT") or ENDPOINT
    for switch in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(switch, "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise BenchError(f"{display_name} needs the network, but {switch} is set; {way_out}")
    url = urllib.parse.urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(url.scheme)
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = url.port or (80 if url.scheme == "http" else 443)
    if not _answers(url.hostname or "", port):
        raise BenchError(
            f"{display_name} needs the network, and {url.hostname}:{port} did not answer within "
            f"{_PATIENCE_SECONDS} s; {way_out}"
        )


def _answers(host: str, port: int) -> bool:
    """Whether a host takes a connection soon; in a thread, for name look-ups know no time limit."""
    answered = []

    def knock() -> None:
        try:
            with socket.create_connection((host, port), timeout=_PATIENCE_SECONDS):
                answered.append(True)
        except Exception:  # blocked sockets raise what they like
            return

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    return bool(answered)
