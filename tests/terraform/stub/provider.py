"""The answers to terraform's calls. terraform itself does all the schema's work; what is left is plan and apply."""

# ruff: noqa: N802 (the methods are named by Terraform's protocol)
from __future__ import annotations

import json
import os
from typing import Any

from tfplugin_proto import tfplugin5_5_pb2 as pb

from tests.terraform.stub import azapi, data, rules
from tests.terraform.stub.emulator import Emulator
from tests.terraform.stub.pack import Pack
from tests.terraform.stub.planning import about, conform, fill, has_unknown, plan
from tests.terraform.stub.wire import UNKNOWN, decode, encode, error, path, response

RESOURCES, DATA = "resource_schemas", "data_source_schemas"


class Provider:
    """One method per call of the protocol, each from its request to its response."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._config: dict[str, Any] = {}
        self._emulator: Emulator | None = None
        self._schema: Any = None
        self.source = pack.source

    def GetSchema(self, _: Any) -> Any:
        if self._schema is None:
            self._schema = response(self._pack)
        return self._schema

    def GetMetadata(self, _: Any) -> Any:
        made = pb.GetMetadata.Response()
        made.server_capabilities.get_provider_schema_optional = True
        for kind in self._pack.schemas[RESOURCES]:
            made.resources.add(type_name=kind)
        for kind in self._pack.schemas[DATA]:
            made.data_sources.add(type_name=kind)
        return made

    def PrepareProviderConfig(self, asked: Any) -> Any:
        return pb.PrepareProviderConfig.Response(prepared_config=asked.config)

    def Configure(self, asked: Any) -> Any:
        self._config = decode(asked.config) or {}
        endpoint = os.environ.get("OMNI_STUB_ENDPOINT")
        if endpoint and self._pack.name == "aws":
            self._emulator = Emulator(endpoint, self._region())
        return pb.Configure.Response()

    def ValidateResourceTypeConfig(self, asked: Any) -> Any:
        return pb.ValidateResourceTypeConfig.Response(diagnostics=self._judged(RESOURCES, asked))

    def ValidateDataSourceConfig(self, asked: Any) -> Any:
        return pb.ValidateDataSourceConfig.Response(diagnostics=self._judged(DATA, asked))

    def UpgradeResourceState(self, asked: Any) -> Any:
        values = json.loads(asked.raw_state.json) if asked.raw_state.json else {}
        upgraded = conform(self._pack.block(RESOURCES, asked.type_name), values)
        return pb.UpgradeResourceState.Response(upgraded_state=encode(upgraded))

    def ReadResource(self, asked: Any) -> Any:
        state = asked.current_state
        if asked.type_name == azapi.KIND:
            state = encode(azapi.read(decode(state)))
        return pb.ReadResource.Response(new_state=state, private=asked.private)

    def PlanResourceChange(self, asked: Any) -> Any:
        made = pb.PlanResourceChange.Response(planned_private=asked.prior_private, legacy_type_system=True)
        prior, proposed, config = (decode(v) for v in (asked.prior_state, asked.proposed_new_state, asked.config))
        if proposed is None:
            made.planned_state.CopyFrom(encode(None))
            return made
        block = self._pack.block(RESOURCES, asked.type_name)
        planned = plan(block, config, proposed, prior)
        if asked.type_name == azapi.KIND:
            planned = azapi.planned(planned, prior)
        if "tags_all" in block["attributes"]:
            planned["tags_all"] = self._all_tags(planned.get("tags"))
        for name in self._pack.rules.get(asked.type_name, {}).get("force_new", ()):
            if prior is not None and planned.get(name) != prior.get(name):
                made.requires_replace.append(path([name]))
        made.planned_state.CopyFrom(encode(planned))
        return made

    def ApplyResourceChange(self, asked: Any) -> Any:
        planned = decode(asked.planned_state)
        made = pb.ApplyResourceChange.Response(private=asked.planned_private, legacy_type_system=True)
        block = self._pack.block(RESOURCES, asked.type_name)
        try:
            made.new_state.CopyFrom(encode(self._applied(block, asked.type_name, decode(asked.prior_state), planned)))
        except Exception as refused:  # noqa: BLE001 (whatever the emulator or its client says is terraform's to tell)
            made.new_state.CopyFrom(asked.prior_state)
            made.diagnostics.append(error(f"{asked.type_name}: {type(refused).__name__}", str(refused)))
        return made

    def _applied(self, block: Any, kind: str, prior: Any, planned: Any) -> Any:
        """The state after the change, made in the emulator where there is one."""
        emulator = self._emulator if self._emulator and self._emulator.makes(kind) else None
        if planned is None:
            if emulator:
                emulator.delete(kind, prior)
            return None
        if kind == azapi.KIND and (code := azapi.refused(planned)):
            raise ValueError(f"Azure refuses it: {code}")
        if emulator and prior is None:
            computed = emulator.create(kind, planned)
            planned = {
                name: computed.get(name, value) if value is UNKNOWN else value for name, value in planned.items()
            }
        return fill(block, planned, about(kind, planned, self._region()))

    def ImportResourceState(self, asked: Any) -> Any:
        made = pb.ImportResourceState.Response()
        state = conform(self._pack.block(RESOURCES, asked.type_name), {"id": asked.id})
        made.imported_resources.add(type_name=asked.type_name, state=encode(state))
        return made

    def ReadDataSource(self, asked: Any) -> Any:
        made, config = pb.ReadDataSource.Response(), decode(asked.config)
        block = self._pack.block(DATA, asked.type_name)
        try:
            known = data.read(asked.type_name, config, self._config)
            if asked.type_name == "aws_caller_identity" and self._emulator:
                known |= {"account_id": self._emulator.account, "id": self._emulator.account}
            values = {
                **plan(block, config, config, None),
                **{k: v for k, v in known.items() if k in block["attributes"]},
            }
        except (ValueError, OSError) as failed:
            made.diagnostics.append(error(f"reading {asked.type_name}", str(failed)))
            return made
        made.state.CopyFrom(encode(fill(block, values, about(asked.type_name, config, self._region()))))
        return made

    def GetFunctions(self, _: Any) -> Any:
        return pb.GetFunctions.Response()

    def Stop(self, _: Any) -> Any:
        return pb.Stop.Response()

    def _judged(self, section: str, asked: Any) -> list[Any]:
        block = self._pack.block(section, asked.type_name)
        named = asked.type_name if section == RESOURCES else f"data.{asked.type_name}"
        return rules.check(block, self._pack.rules.get(named, {}), decode(asked.config) or {})

    def _all_tags(self, tags: Any) -> Any:
        """The resource's tags over the provider's ``default_tags``, as Amazon's provider merges them."""
        if has_unknown(tags):
            return UNKNOWN
        merged: dict[str, Any] = {}
        for block in self._config.get("default_tags") or []:
            merged |= block.get("tags") or {}
        return {**merged, **(tags or {})}

    def _region(self) -> str:
        return str(self._config.get("region") or "us-east-1")
