from __future__ import annotations

from tests.postgres.conftest import postgres_url

__all__ = ["postgres_url"]
