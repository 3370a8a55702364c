"""How large an answer Lambda returns, and how it counts: as JSON, in which the body is a text."""

from __future__ import annotations

import json

MAX_PAYLOAD_BYTES = 6_000_000
"""Lambda refuses a response of more than 6 MB with an error of its own that says nothing to the caller."""


def size(body: bytes) -> int:
    """Bytes that ``body`` takes as a text within JSON: quotes and what is not ASCII take more than one."""
    if len(body) <= MAX_PAYLOAD_BYTES // 6:  # escaping can grow it sixfold: short ones need no counting
        return len(body)
    return len(json.dumps(body.decode()))
