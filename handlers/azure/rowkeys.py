"""Any text as a PartitionKey or RowKey of a table, so that the service's order is the order of the UTF-8 bytes.

Tables forbid ``/ \\ # ?`` in keys, compare UTF-16 units, and take 1 KiB, which is 512 units. So each code point becomes
a sequence that begins no other one and sorts as it did:

* a forbidden character is its predecessor and ``~``; that predecessor itself is followed by ``!``  (``/`` is ``.~``,
  ``.`` is ``.!``); ``%`` and ``'`` too, which proxies and filters get wrong;
* U+E000 to U+FFFF, which UTF-16 sorts behind all emoji, follow U+D7FF and ``~``.

Most texts stay as they are.
"""

from __future__ import annotations

import re

from core.errors import ResourceLimit

MAX_UNITS = 512
_ESCAPED = "/\\#?%'"
_HIGH = "\ud7ff"
_OUT = {
    **{ord(c): chr(ord(c) - 1) + "~" for c in _ESCAPED},
    **{ord(c) - 1: chr(ord(c) - 1) + "!" for c in _ESCAPED},
    ord(_HIGH): _HIGH + "!",
}
_BACK = {made: chr(code) for code, made in _OUT.items()}
_BEHIND_EMOJI = re.compile("[\ue000-\uffff]")
_LEADS = frozenset(made[0] for made in _BACK)


def encoded(text: str) -> str:
    """Raises ResourceLimit for a text that takes more than the 1 KiB a key may have."""
    made = text.translate(_OUT)
    if not made.isascii():
        made = _BEHIND_EMOJI.sub(_HIGH + r"~\g<0>", made)
    if len(made) > MAX_UNITS or (not made.isascii() and len(made.encode("utf-16-le")) > 2 * MAX_UNITS):
        raise ResourceLimit("Keys in Azure Tables have at most 1 KiB (512 letters).", key=text[:80])
    return made


def decoded(made: str) -> str:
    """What was encoded. Raises ValueError for a text that ``encoded`` never makes."""
    out, i = [], 0
    while i < len(made):
        if made[i] not in _LEADS:
            out.append(made[i])
            i += 1
        elif made[i : i + 2] == _HIGH + "~":
            out.append(made[i + 2 : i + 3])
            i += 3
        elif made[i : i + 2] in _BACK:
            out.append(_BACK[made[i : i + 2]])
            i += 2
        else:
            raise ValueError("no key of ours")
    return "".join(out)
