"""Identifiers of requests: 128 random bits as hex, as W3C trace ids are."""

from __future__ import annotations

import os


def new_id() -> str:
    return os.urandom(16).hex()
