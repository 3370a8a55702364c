"""What `omni init` writes: a project with data of its own that answers and alerts at once."""

from __future__ import annotations

from pathlib import Path

from core.errors import ConfigInvalid

FILES = {
    "omni.yaml": """\
# A project of OmniSentinel: what can be asked, who may ask, where messages go.
version: 1
sources:
  shop: {connector: files, path: data}          # every CSV, JSON or Parquet file in data/ is a table
channels:
  hook: {type: webhook, url: "http://127.0.0.1:9/alerts"}   # change me; `omni check` validates
principals:
  local: {roles: [admin]}                       # you, on this machine
network:
  allow: ["127.0.0.1"]                          # private addresses that channels and sources may reach
defaults: {timezone: UTC, timeout: 30s}
""",
    "policies/shop.yaml": """\
# Nothing is visible unless a policy lets it in.
policies:
  - table: "*"
    rows:
      - roles: [admin]
  - table: shop.orders
    rows:
      - roles: [viewer]
        where: {region: {in: [north, south]}}
    tests:
      - user: {name: guest, roles: [viewer]}
        sees: [{id: 1, region: north}]
        hides: [{id: 3, region: west}]
  - table: shop.customers
    rows:
      - roles: [viewer]
    columns:
      email: {mask: last4, unless_roles: [admin]}
""",
    "alerts/orders.yaml": """\
name: big-orders
description: Orders so large that somebody should look.
query: |
  SELECT CASE WHEN max(amount) > 900 THEN 'ALERT' ELSE 'OK' END AS status,
         max(amount) AS actual_value, 900 AS threshold
  FROM shop.orders
schedule: "0 9 * * 1-5"
timezone: Europe/Berlin
as: local
notify: []                                      # add [hook] when its URL is yours
""",
    "data/orders.csv": """\
id,customer_id,region,amount,ordered_on
1,1,north,120.50,2026-01-05
2,2,south,80.00,2026-01-06
3,3,west,950.00,2026-01-06
4,1,north,310.25,2026-01-07
""",
    "data/customers.csv": """\
id,name,email
1,Ada,ada@example.com
2,Grace,grace@example.com
3,Edsger,edsger@example.com
""",
    ".gitignore": ".omni/\ndist/\n",
}


def write(folder: Path) -> list[str]:
    """Write the files; ConfigInvalid where a project is there already or the folder cannot be written."""
    if (folder / "omni.yaml").exists():
        raise ConfigInvalid(f"{folder / 'omni.yaml'} is there already. Choose another folder.", file=str(folder))
    taken = [name for name in FILES if (folder / name).exists() and name != ".gitignore"]
    if taken:
        raise ConfigInvalid(f"{folder / taken[0]} is there already. Choose an empty folder.", file=str(folder))
    try:
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigInvalid(f"{folder} cannot be written: {error.strerror}.", file=str(folder)) from None
    return [name for name in FILES if not name.startswith(".")]
