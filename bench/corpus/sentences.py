"""The starts of sentences in a text, by a rule and without a model.

Full stops are those of Unicode's property Sentence_Terminal, for all scripts in use. After a Latin
one white space must follow, and no lower-case letter; after one of another script none has to.
"""

from __future__ import annotations

import re

_CLOSING = "\"'\u201d\u2019\u00bb)\\]\u300b\u300d\u300f\u3011\uff09\uff63"
_OTHER_ENDS = (
    "\u0589\u061d-\u061f\u06d4\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965"
    "\u0f0d-\u0f12\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809"
    "\u1944\u1945\u1aa8-\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f"
    "\u2e3c\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9"
    "\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb\uff01\uff0e\uff1f\uff61"
    "\U00011047\U00011048\U000110be-\U000110c1\U00011141-\U00011143\U000111c5\U000111c6"
)
_LATIN = r".?!\u2026"
_SENTENCE_END = re.compile(  # possessive (`++`), so that a million full stops take linear time
    # The first class lets the search skip to the next candidate, which is three times faster.
    rf"[{_LATIN}\n{_OTHER_ENDS}](?:"
    rf"(?<=[{_LATIN}])(?<![{_LATIN}].)[{_LATIN}]*+[\"'\u201d\u2019\u00bb)\]]*+(?P<space>\s++)"
    rf"|(?<=[{_OTHER_ENDS}])[{_OTHER_ENDS}]*+[{_CLOSING}]*+\s*+"
    r"|(?<=\n)[^\S\n]*+\n\s*+)"
)
_LAST = re.compile(rf"[.?!\u2026{_OTHER_ENDS}][{_CLOSING}]*\s*\Z")


def sentence_starts(text: str) -> list[int]:
    """Indices of the characters at which a sentence starts, including the first of the text.

    A sentence starts after . ? ! (and closing quotes) with white space, unless a lower-case letter
    follows; after the full stop of another script; and after an empty line. A title ("Dr. Who")
    counts as an end; this is rare, and avoiding it would need a model.
    """
    first = len(text) - len(text.lstrip())
    starts = [first] if first < len(text) else []
    for match in _SENTENCE_END.finditer(text, first):
        end, space = match.end(), match["space"] or "\n\n"
        if end < len(text) and (space.count("\n") > 1 or not text[end].islower()):
            starts.append(end)
    return starts


def ends_sentence(line: str) -> bool:
    """Whether a line ends with a full stop of any script, and quotes that close after it."""
    return _LAST.search(line[-20:]) is not None
