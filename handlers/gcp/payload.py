"""How large an answer Cloud Run lets through."""

MAX_ANSWER_BYTES = 32_000_000
"""Cloud Run answers 500 in place of a response of more than 32 MiB that is not sent in chunks."""
