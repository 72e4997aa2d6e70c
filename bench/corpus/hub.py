"""Datasets of the Hugging Face hub, streamed: `hf:NAME[:CONFIG][@REVISION]`, split "train".

The revision is resolved to a commit first, so that a fingerprint identifies content. If the name
contains a full commit, this needs no network once the token store is built. No code of a dataset is
ever run. A missing network is detected in half a second; the libraries would retry for minutes.
"""

from __future__ import annotations

import functools
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
from bench.settings import sha256_json

DEFAULT_WORDS = 20_000_000
_WORD_CHARACTERS = 6  # including a space; words are not counted, as some scripts have no spaces
_CONNECT_SECONDS = 0.5
WAY_OUT = "download the data where there is a network and give --corpus FILE..."
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Hub(Corpus):
    """The text column of a dataset, up to a number of words.

    Args:
        address: `NAME[:CONFIG][@REVISION]`.
        text_column: The column that holds the text.
        num_words: Length of the text to take; a word is counted as six characters.
    """

    name: ClassVar[str] = "hf"
    summary: ClassVar[str] = "a dataset of the Hugging Face hub, streamed: hf:NAME[:CONFIG]"

    def __init__(
        self, address: str, text_column: str = "text", num_words: int | None = None
    ) -> None:
        name, _, self._requested_revision = address.partition("@")
        self.dataset, _, config = name.partition(":")
        self.config = config or None
        self.text_column = text_column
        self.num_words = num_words or DEFAULT_WORDS
        self._spool: IO[str] | None = None
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.dataset):
            raise BenchError(f"hf:{address} names no dataset; write hf:NAME[:CONFIG][@REVISION]")

    @property
    def display_name(self) -> str:
        """The address without its revision."""
        return "hf:" + self.dataset + (f":{self.config}" if self.config else "")

    @functools.cached_property
    def revision(self) -> str:
        """The commit whose files are read."""
        if _COMMIT.fullmatch(self._requested_revision):
            return self._requested_revision
        require_network(self.display_name)
        import huggingface_hub

        try:
            info = huggingface_hub.HfApi().dataset_info(
                self.dataset, revision=self._requested_revision or None, timeout=10.0
            )
        except Exception as error:
            raise self._failed(error) from None
        return str(info.sha)

    def fingerprint(self) -> str:
        """A sha256 of name, config, commit, text column and number of words."""
        source = ["hub", 1, self.dataset, self.config, self.revision]
        return sha256_json([*source, self.text_column, self.num_words])

    def documents(self) -> Iterator[str]:
        """The documents: the first pass downloads them, later passes read a temporary file."""
        if self._spool is None:
            yield from self._download()
            return
        self._spool.seek(0)
        for line in self._spool:
            yield json.loads(line)

    def _download(self) -> Iterator[str]:
        self.skipped.clear()
        spool = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (stays open)
        weakref.finalize(self, spool.close)
        remaining = self.num_words * _WORD_CHARACTERS
        for row in self._rows():
            text = self._text(row)
            if not text:
                self.count_skipped("blank")
                continue
            spool.write(json.dumps(text) + "\n")
            yield text
            remaining -= len(text)
            if remaining <= 0:
                break
        self._spool = spool

    def _text(self, row: dict[str, Any]) -> str:
        if self.text_column not in row:
            names = ", ".join(map(repr, row))
            raise BenchError(
                f"{self.display_name} has no column {self.text_column!r}; it has {names}; choose "
                f"one with --text-column"
            )
        text = row[self.text_column]
        if not isinstance(text, str):
            return ""
        self.count_skipped("NUL", text.count("\0"))
        return text.replace("\0", "").encode("utf-8", "replace").decode().strip()

    def _rows(self) -> Iterator[dict[str, Any]]:
        if importlib.util.find_spec("datasets") is None:
            raise BenchError(
                f"{self.display_name} needs the hub extra: pip install 'objective-bench[hf]' "
                f"(or download the files and give --corpus FILE...)"
            )
        if os.path.exists(self.dataset):
            raise BenchError(
                f"{self.display_name}: a file or folder {self.dataset} exists in this folder, and "
                f"the datasets library would read it instead; give --corpus ./{self.dataset}, or "
                f"run the command in another folder"
            )
        require_network(self.display_name)
        import datasets

        # Removed in datasets 4, which never runs code; older versions need the argument.
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
        except Exception as error:  # the libraries raise about thirty types
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> BenchError:
        reason = " ".join(str(error).split())[:300]
        return BenchError(f"{self.display_name} cannot be read: {type(error).__name__}: {reason}")


def require_network(display_name: str, way_out: str = WAY_OUT) -> None:
    """Raise within half a second if the hub cannot be reached.

    Args:
        display_name: The dataset, for messages.
        way_out: What the user can do without a network, for messages.

    Raises:
        BenchError: The network is switched off or does not answer; the message has the way out.
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
    if not _is_reachable(url.hostname or "", port):
        raise BenchError(
            f"{display_name} needs the network, and {url.hostname}:{port} did not answer within "
            f"{_CONNECT_SECONDS} s; {way_out}"
        )


def _is_reachable(host: str, port: int) -> bool:
    """Whether a host accepts a connection in time; in a thread: name look-ups have no timeout."""
    is_connected = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection((host, port), timeout=_CONNECT_SECONDS):
                is_connected.set()
        except Exception:  # sandboxes block sockets with any type of exception
            return

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS)
    return is_connected.is_set()
