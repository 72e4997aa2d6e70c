"""The starts of sentences in a text, by a rule and without a model."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(  # possessive (`++`), so that a million full stops take linear time
    r"(?<![.?!\u2026])[.?!\u2026]++[\"'\u201d\u2019\u00bb)\]]*+(?P<space>\s++)"
    r"|[\u3002\uff01\uff1f]++[\u300d\u300f\u201d\u2019\uff09]*+\s*+"  # full-width: no space needed
    r"|\n[^\S\n]*+\n\s*+"
)


def sentence_starts(text: str) -> list[int]:
    """Indices of the characters at which a sentence starts, including the first of the text.

    A sentence starts after . ? ! (and closing quotes) with white space, unless a lower-case letter
    follows; after a full-width stop; and after an empty line. A title ("Dr. Who") counts as an end;
    this is rare, and avoiding it would need a model.
    """
    first = len(text) - len(text.lstrip())
    starts = [first] if first < len(text) else []
    for match in _SENTENCE_END.finditer(text, first):
        end, space = match.end(), match["space"] or "\n\n"
        if end < len(text) and (space.count("\n") > 1 or not text[end].islower()):
            starts.append(end)
    return starts
