"""Why a link or a run ended, in words that a reader's language can say.

What the other end says is English and is stored as it came, behind its code: ``revoked: caixa1 was revoked``. A code has a meaning,
which is said in the reader's language, with what is stored in brackets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crdtsync.protocol.table import REFUSALS
from crdtsync.said import say

if TYPE_CHECKING:
    from crdtsync.said import Said

STOPPED = say("the node was stopped")
PAUSED_HERE = say("a person paused it")
WITHOUT_A_WORD = say("the program ended without a word")

_ALONE = {str(text): text for text in (STOPPED, PAUSED_HERE, WITHOUT_A_WORD)}
_MEANINGS: dict[str, Said] = {
    **{code: refusal.meaning for code, refusal in REFUSALS.items()},
    "unreachable": say("the node above does not answer"),
    "certificate": say("the certificate of the node above is not the one that is expected"),
    "insecure": say("between machines a link must be wss"),
    "bye": say("the other end took its leave"),
    "error": say("this program stumbled; its log says where"),
}


def in_words(code: str, words: str) -> Said:
    """Return what a code means, with the code and the words that came with it; a code that is not known is said as it came."""
    meaning = _MEANINGS.get(code)
    if meaning is None:
        return say("{code}: {words}", code=code, words=words)
    return say("{meaning} ({code}: {words})", meaning=meaning, code=code, words=words)


def from_text(text: str) -> str:
    """Return what a stored ``code: words`` says, or one of the sentences above."""
    code, colon, words = text.partition(": ")
    if colon and code in _MEANINGS:
        return in_words(code, words)
    return _ALONE.get(text, text)
