"""A Terraform provider without a registry: real schemas, an imagined cloud.

The terraform binary itself judges our modules. It asks a provider for its schemas and then checks every argument, type,
block and reference on its own; so a plug-in that serves the true schemas makes ``validate`` and ``plan`` true as well.

    bindings    a provider's schema, read out of its CDK bindings on PyPI (``sources`` opens the wheels)
    secret      which attributes are sensitive, which the bindings lose, read out of Pulumi's SDK of the same provider
    limits      value rules (enums, ranges, patterns) out of the clouds' own API descriptions
    rebuild     all of that, pruned to ``types.txt``, into ``packs/*.json.xz``  (python -m tests.terraform.stub.rebuild)
    pack        reads a pack
    wire        a pack as protobuf; values as msgpack
    planning    what a plan and an apply make of values
    rules       the checks that no schema can say
    data        data sources that are a pure function of their arguments
    azapi       what azapi does with a body, and what Azure answers to it
    emulator    what is made for real in an emulator of AWS, where one is named
    provider    the answers to terraform's calls;  server  the plug-in's process
    mirror      lays out a provider mirror that terraform installs from

What it cannot know: defaults inside a provider, which change forces a replacement, whether permissions suffice, quotas.
"""
