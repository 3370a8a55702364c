"""The stub provider itself, on the smallest module of each cloud."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.binary import need_genuine, terraform
from tests.terraform.harness import TRIVIAL, Mistake, Module
from tests.terraform.stub import azapi, bindings, mirror
from tests.terraform.stub.pack import PACKS, available, load, path
from tests.terraform.stub.script import Script
from tests.terraform.stub.sources import Sources
from tests.terraform.stub.wire import UNKNOWN

CLOUDS = ("aws", "gcp", "azure")
GOOD = {"name": "omni"}


@pytest.mark.parametrize("end", ["old", "new"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_module_is_validated_planned_applied_and_destroyed(
    module: Callable[..., Module], cloud: str, end: str
) -> None:
    ours = module(cloud, end, TRIVIAL / cloud)
    ours.validate()
    assert {str(done) for done in ours.plan(GOOD).actions().values()} == {"['create']"}
    state = ours.apply(GOOD)
    assert all(state.outputs().values())
    assert ours.plan(GOOD).actions() == {}
    assert ours.destroy().resources() == {}


def test_what_is_invented_has_the_shape_of_the_real(module: Callable[..., Module]) -> None:
    assert re.fullmatch(r"arn:aws:lambda:eu-central-1:\d{12}:function:omni", _output("aws", module))
    assert re.fullmatch(r"omni@[\w-]+\.iam\.gserviceaccount\.com", _output("gcp", module))
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", _output("azure", module))


def _output(cloud: str, module: Callable[..., Module]) -> str:
    (value,) = module(cloud, "new", TRIVIAL / cloud).apply(GOOD).outputs().values()
    return str(value)


def test_a_change_that_replaces_is_planned_as_one(module: Callable[..., Module]) -> None:
    ours = module("aws", "new", TRIVIAL / "aws")
    ours.apply(GOOD)
    actions = ours.plan({"name": "other"}).actions()
    assert actions["aws_lambda_function.this"] == ["delete", "create"]
    assert ours.plan(GOOD).actions() == {}


WINDOW = '  flexible_time_window {\n    mode = "OFF"\n  }\n'
UNSUPPORTED = "Unsupported argument"


def wrong(name: str, right: str, instead: str, says: str) -> Mistake:
    return Mistake(name, "main.tf", right, instead, says=says)


MISTAKES = {
    "aws": [
        wrong("misspelt argument", "memory_size  ", "memory_sise  ", UNSUPPORTED),
        wrong("misspelt block", "tracing_config", "traceing_config", "Unsupported block"),
        wrong("wrong type", "= 1024", '= "much"', "a number is required"),
        wrong("text for a list", '["x86_64"]', '"x86_64"', "list of string required"),
        wrong("no required argument", "  role          = aws_iam_role.this.arn\n", "", '"role" is required'),
        wrong("block twice", WINDOW, WINDOW * 2, "No more than 1"),
        wrong("no required block", WINDOW, "", "At least 1"),
        wrong("computed argument set", "  runtime  ", '  arn = "x"\n  runtime  ', "unconfigurable"),
        wrong("unknown attribute", "function.this.arn\n    r", "function.this.urn\n    r", "Unsupported attribute"),
        wrong("unknown type", 'resource "aws_scheduler_schedule"', 'resource "aws_shedule"', "aws_shedule"),
        wrong("value of no enum", '"OFF"', '"SOMETIMES"', "one of .*FLEXIBLE"),
        wrong("runtime that is none", "python3.13", "python9.9", "runtime to be one of"),
        wrong("memory below the least", "1024", "64", "at least 128"),
        wrong("two sources of code", "s3_bucket     =", 'filename = "x"\n  s3_bucket     =', "exactly one"),
        Mistake("name against its rule", variables={"name": "X"}, says="3 to 31", at="plan"),
    ],
    "gcp": [
        wrong("misspelt argument", "time_zone", "timezone", UNSUPPORTED),
        wrong("misspelt block", "http_target", "https_target", "Unsupported block"),
        wrong("unknown attribute", "this.email\n    }", "this.mail\n    }", "Unsupported attribute"),
    ],
    "azure": [
        wrong("misspelt argument", "resource_group_name", "resource_group", f"{UNSUPPORTED}|required"),
        wrong("no required argument", '  location = "westeurope"\n', "", '"location" is required'),
        wrong("unknown attribute", "principal_id", "principal", "Unsupported attribute"),
    ],
}


@pytest.mark.parametrize(
    ("cloud", "mistake"),
    [pytest.param(cloud, one, id=f"{cloud} {one.name}") for cloud, them in MISTAKES.items() for one in them],
)
def test_a_mistake_is_rejected(once: Callable[..., Module], cloud: str, mistake: Mistake) -> None:
    once(cloud, "new", TRIVIAL / cloud).reject(mistake, GOOD)


def test_what_is_right_is_not_called_a_mistake(once: Callable[..., Module]) -> None:
    ours = once("aws", "new", TRIVIAL / "aws")
    with pytest.raises(AssertionError, match="accepted it"):
        ours.reject(Mistake("none", "main.tf", "1024", "2048"), GOOD)
    with pytest.raises(AssertionError, match="another reason"):
        ours.reject(Mistake("other", "main.tf", "memory_size  ", "memory_sise  ", says="the moon"), GOOD)
    with pytest.raises(AssertionError, match="no 'nowhere'"):
        ours.reject(Mistake("gone", "main.tf", "nowhere", "x"), GOOD)


# ── the packs ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_packs_are_small_and_at_two_ends_of_each_cloud() -> None:
    assert sum(file.stat().st_size for file in PACKS.iterdir()) < 1_500_000
    for source in ("hashicorp/aws", "hashicorp/google", "hashicorp/azurerm"):
        old, new = mirror.ends(source)
        assert [int(n) for n in old.split(".")] < [int(n) for n in new.split(".")]


def test_every_type_that_is_listed_has_a_schema_at_the_newest_end() -> None:
    listed = {t for t in (PACKS.parent / "types.txt").read_text().split("\n") if t and not t.startswith("#")}
    there = set()
    for source in {source for source, _ in available()}:
        schemas = load(path(source, mirror.ends(source)[1])).schemas
        there |= {*schemas["resource_schemas"], *schemas["data_source_schemas"]}
    old = load(path("hashicorp/azurerm", mirror.ends("hashicorp/azurerm")[0])).schemas
    assert listed - there - {*old["resource_schemas"], *old["data_source_schemas"]} == set()


def test_secrets_are_marked() -> None:
    schemas = load(path("hashicorp/azurerm", mirror.ends("hashicorp/azurerm")[1])).schemas["resource_schemas"]
    attributes = schemas["azurerm_storage_account"]["block"]["attributes"]
    assert attributes["primary_access_key"]["sensitive"]
    assert "sensitive" not in attributes["name"]


def test_the_pack_of_amazon_is_what_the_genuine_provider_says(tmp_path: Path) -> None:
    """Every name, type and flag of every type that we keep; see ``bindings`` for what the bindings lose."""
    own = need_genuine("hashicorp/aws")
    file = path("hashicorp/aws", own.parent.name)
    if not file.is_file():
        pytest.skip(f"the machine's provider is {own.parent.name}, of which there is no pack")
    (tmp_path / "main.tf").write_text(
        'terraform {\n  required_providers {\n    aws = { source = "hashicorp/aws" }\n  }\n}\n'
    )
    config = mirror.lay_out(tmp_path / "m", "old", {"hashicorp/aws": own})
    for command in (["init", "-input=false"], ["providers", "schema", "-json"]):
        env = {"TF_CLI_CONFIG_FILE": str(config), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [terraform(), *command], cwd=tmp_path, capture_output=True, text=True, check=True, env=env
        )
    (real,) = json.loads(done.stdout)["provider_schemas"].values()
    ours, compared = load(file).schemas, 0
    for section in ("resource_schemas", "data_source_schemas"):
        for kind, schema in ours[section].items():
            for where, mine, theirs in _pairs(schema["block"], real[section][kind]["block"], kind):
                assert mine == theirs, where
                compared += 1
    assert compared > 1_000


def _pairs(mine: Any, theirs: Any, at: str) -> Iterator[tuple[str, Any, Any]]:
    yield at, sorted(mine["attributes"]), sorted(theirs.get("attributes", {}))
    for name, one in mine["attributes"].items():
        flags = ("required", "optional", "computed", "type")
        yield f"{at}.{name}", [one.get(f) for f in flags], [theirs["attributes"][name].get(f) or None for f in flags]
    for name, one in mine.get("block_types", {}).items():
        other = theirs["block_types"][name]
        yield f"{at}.{name}", one["nesting_mode"], other["nesting_mode"]
        yield from _pairs(one["block"], other["block"], f"{at}.{name}")


# ── reading bindings ─────────────────────────────────────────────────────────────────────────────────────────────

SCRIPT = """
export function thingPartsToHclTerraform(struct?: ThingParts | cdktn.IResolvable): any {
  const attrs = {
    size: {
      value: cdktn.numberToHclTerraform(struct!.size),
      isBlock: false,
      type: "simple",
      storageClassType: "number",
    },
  };
}
export class ThingPartsOutputReference extends cdktn.ComplexObject {
  // size - computed: false, optional: true, required: false
  private _size?: number;
  public get size() {
    return this.getNumberAttribute('size');
  }
}
export class ThingPartsList extends cdktn.ComplexList {
}
export class Thing extends cdktn.TerraformResource {
  public static readonly tfResourceType = "aws_thing";
  // arn - computed: true, optional: false, required: false
  public get arn() {
    return this.getStringAttribute('arn');
  }
  // words - computed: false, optional: false, required: true
  private _words?: string[];
  public get words() {
    return cdktn.Fn.tolist(this.getListAttribute('words'));
  }
  // parts - computed: false, optional: true, required: false
  private _parts = new ThingPartsList(this, "parts", true);
  public get parts() {
    return this._parts;
  }
  protected synthesizeHclAttributes(): { [name: string]: any } {
    const attrs = {
      words: {
        value: cdktn.listMapperHcl(cdktn.stringToHclTerraform, false)(this._words),
        isBlock: false,
        type: "set",
        storageClassType: "stringList",
      },
      parts: {
        value: cdktn.listMapperHcl(thingPartsToHclTerraform, true)(this._parts.internalValue),
        isBlock: true,
        type: "set",
        storageClassType: "ThingPartsList",
      },
    };
  }
}
"""


def test_a_resource_is_read_out_of_its_bindings() -> None:
    found = bindings.schema(Sources("x/aws", "1.0.0", {"thing": SCRIPT}), {"aws_thing"})["resource_schemas"]
    assert found["aws_thing"]["block"] == {
        "attributes": {
            "arn": {"type": "string", "computed": True},
            "words": {"type": ["set", "string"], "required": True},
        },
        "block_types": {
            "parts": {
                "nesting_mode": "set",
                "block": {"attributes": {"size": {"type": "number", "optional": True}}},
            }
        },
    }
    assert Script(SCRIPT).resource_type("Thing") == "aws_thing"


@pytest.mark.parametrize(
    ("kind", "storage", "expected"),
    [
        ("simple", "string", "string"),
        ("set", "stringList", ["set", "string"]),
        ("map", "booleanMap", ["map", "bool"]),
        ("list", "numberListList", ["list", ["list", "number"]]),
        ("simple", "any", "dynamic"),
    ],
)
def test_types_are_read(kind: str, storage: str, expected: Any) -> None:
    assert bindings.simple(kind, storage) == expected


# ── azapi ────────────────────────────────────────────────────────────────────────────────────────────────────────


def timer(*steps: str, version: str = "1.0.0.0", tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A workflow as Terraform keeps it, whose steps run one after the other."""
    actions = {one: {"runAfter": {before: ["Succeeded"]} if before else {}} for before, one in pairwise(("", *steps))}
    recurrence = {"frequency": "Day", "interval": 1, "schedule": {"hours": [9]}}
    definition = {"contentVersion": version, "parameters": {}, "actions": actions,
                  "triggers": {"schedule": {"recurrence": recurrence}}}  # fmt: skip
    return {
        "type": "Microsoft.Logic/workflows@2019-05-01", "name": "a--b", "location": "westeurope", "tags": tags or {},
        "identity": [{"type": "UserAssigned", "identity_ids": ["/i"]}], **azapi.DEFAULTS,
        "ignore_missing_property": False,
        "body": [b'"x"', {"properties": {"state": "Enabled", "definition": definition}}],
    }  # fmt: skip


def test_a_name_that_only_went_away_is_no_change_to_azapi() -> None:
    """Its guide says so; who ends something has to change a value that stays (`ignore_no_op_changes`)."""
    before = timer("canary", "key")
    without = timer("canary", "key")
    del without["body"][1]["properties"]["definition"]["actions"]["canary"]
    without["body"][1]["properties"]["definition"]["actions"]["key"]["runAfter"] = {}
    assert azapi.planned(without, before) == before
    assert azapi.planned(timer("key", version="2"), before) == timer("key", version="2")
    assert azapi.planned(timer("key", tags={"a": "b"}), before) == timer("key", tags={"a": "b"}), "all of it is sent"
    assert azapi.planned(timer("canary", "key", "watch"), before) == timer("canary", "key", "watch"), "a new name is"
    assert azapi.planned(timer("key"), None) == timer("key")
    unsaid = {**timer("key"), "ignore_missing_property": UNKNOWN}
    assert azapi.planned(unsaid, None)["ignore_missing_property"] is True


def test_what_azure_adds_is_no_change_and_what_it_lost_is_one_where_that_is_asked_for() -> None:
    assert azapi.read(timer("key")) == timer("key"), "an address, evaluatedRecurrence; parameters are left out"
    named, there = {"a": {"b": 1, "empty": {}}, "c": [1, 2]}, {"a": {"x": 2}, "c": [1, 2], "d": 3}
    assert azapi.seen(named, there) == {"a": {"empty": {}}, "c": [1, 2]}
    assert azapi.seen(named, there, missing_is_there=True) == named
    assert azapi.seen([{"name": "b", "v": 1}], [{"name": "a"}, {"name": "b", "v": 2, "w": 3}]) == [
        {"name": "b", "v": 2}, {"name": "a"},
    ]  # fmt: skip
    assert azapi.seen([1], [1, 2]) == [1, 2]


def test_azure_refuses_a_step_after_one_that_is_not_there() -> None:
    wrong = timer("canary", "key")
    assert azapi.refused(wrong) == ""
    del wrong["body"][1]["properties"]["definition"]["actions"]["canary"]
    assert azapi.refused(wrong) == "InvalidTemplate"
    inner = timer("key")
    inner["body"][1]["properties"]["definition"]["actions"]["key"]["actions"] = {"a": {"runAfter": {"key": []}}}
    assert azapi.refused(inner) == "InvalidTemplate", "not one of its neighbours"
