"""Where models are computed. Reading a model folder without transformers: the same tokens and texts, or transformers
where that is not sure."""

import json
import os
import shutil

import pytest
import torch
from conftest import ROOT, run

from largek.common import InputError, write_jsonl
from largek.models import PlainTokenizer, device, load_tokenizer, read_tokenizer

TEXTS = [
    "start 3 1 4 then sort ?",
    "",
    "  answer 1   2 <eos>",
    "<pad> sort unheard <unk> <eos> add",
    "sort\nsort\u2028 ä",
]


@pytest.mark.parametrize("saved", ["as it was made", "after it was loaded, as by a training"])
def test_a_plain_tokenizer_is_that_of_transformers(small_model, tmp_path, saved):
    if saved != "as it was made":
        small_model = shutil.copytree(small_model, tmp_path / "model")
        load_tokenizer(str(small_model)).save_pretrained(small_model)
    plain, theirs = read_tokenizer(str(small_model)), load_tokenizer(str(small_model))
    assert isinstance(plain, PlainTokenizer)
    for special in (True, False):
        rows = [plain(text, add_special_tokens=special)["input_ids"] for text in TEXTS]
        assert rows == [theirs(text, add_special_tokens=special)["input_ids"] for text in TEXTS]
        decoded = plain.batch_decode(rows, skip_special_tokens=special)
        assert decoded == theirs.batch_decode(rows, skip_special_tokens=special)
    assert plain.chat_template is theirs.chat_template is None
    for name in ("bos_token", "eos_token", "pad_token"):
        assert getattr(plain, name) == getattr(theirs, name)
        assert getattr(plain, f"{name}_id") == getattr(theirs, f"{name}_id")


@pytest.mark.parametrize(
    "file, change",
    [
        ("tokenizer_config.json", {"chat_template": "{{ messages }}"}),
        ("tokenizer_config.json", {"add_bos_token": True, "bos_token": "<eos>"}),
        ("tokenizer_config.json", {"clean_up_tokenization_spaces": True}),
        ("tokenizer_config.json", {"eos_token": "sort"}),
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer.json", {"padding": {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None,
                                        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}}),
        ("chat_template.jinja", {}),
    ],
)  # fmt: skip
def test_what_only_transformers_understands_is_left_to_it(small_model, tmp_path, file, change):
    folder = shutil.copytree(small_model, tmp_path / "model")
    content = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(content | change))
    assert not isinstance(read_tokenizer(str(folder)), PlainTokenizer)


def a_driver(folder, version: str | None) -> None:
    """A stand-in for nvidia-smi; with None, one that finds no driver."""
    says = f"echo {version}" if version else "echo NVIDIA-SMI has failed; echo more; exit 9"
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{says}\n")
    (folder / "nvidia-smi").chmod(0o755)


NONE = object()  # the variable is not set


@pytest.mark.parametrize(
    "visible, wanted, usable, driver, found",
    [
        ("", None, 8, "580.1", "cpu"),  # jobs of a study without GPUs
        ("-1", None, 8, "580.1", "cpu"),
        ("0", None, 1, "580.1", "cuda"),
        ("0,GPU-b", None, 2, "580.1", "cuda"),
        ("0", "cpu", 1, "580.1", "cpu"),
        (NONE, None, 1, "580.1", "cuda"),
        (NONE, None, 0, None, "cpu"),
        (
            "0",
            None,
            0,
            "535.1",
            r"\(CUDA_VISIBLE_DEVICES=0\) and torch can use 0: driver 535.1, torch .* for CUDA 13.0",
        ),
        ("0,1", None, 1, "580.1", "can use 1: driver 580.1"),  # a number that is not there
        (NONE, None, 0, "535.1", r"\(there is one\) .* driver 535.1"),
        (NONE, "cuda", 0, None, r"\(LARGEK_DEVICE=cuda\) .* nvidia-smi says 'NVIDIA-SMI has failed'"),
        ("", "gpu", 0, None, "LARGEK_DEVICE=gpu: expected cpu or cuda"),
    ],
)
def test_a_gpu_that_was_asked_for_is_used_or_named(monkeypatch, tmp_path, visible, wanted, usable, driver, found):
    """With pretend devices, by what torch and the driver say of them."""
    a_driver(tmp_path, driver)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("LARGEK_DEVICE", wanted)):
        monkeypatch.delenv(name, raising=False)
        if value not in (NONE, None):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: usable)
    if found in ("cpu", "cuda"):
        assert device() == found
        return
    with pytest.raises(InputError, match=found) as error:
        device()
    assert "\n" not in str(error.value)


@pytest.mark.long
def test_every_command_stops_in_one_line_at_a_gpu_that_cannot_be_used(small_model, tmp_path):
    """Here torch is built for CPUs, and CUDA_VISIBLE_DEVICES is as a lease sets it."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU that can be used")
    a_driver(tmp_path, "535.104.05")
    environment = {key: value for key, value in os.environ.items() if key != "LARGEK_DEVICE"}
    environment |= {"CUDA_VISIBLE_DEVICES": "0", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    write_jsonl(tmp_path / "t.jsonl", [{"id": "a", "problem": "start 1 ?", "answer": "1", "solution": "1"}])
    scripts, task, made = ROOT / "workflow" / "scripts", tmp_path / "t.jsonl", tmp_path / "made"
    train = ["--seed", 1, "--threads", 1, "--output", made, "--recipe"]
    commands = [
        ["largek", "loss", "--model", small_model, "--examples", task, "--output", made],
        ["largek", "sample", "--model", small_model, "--tasks", task, "--samples", 1, "--output", made],
        ["largek", "sample", "--model", small_model, "--tasks", task, "--samples", 1, "--output", made]
        + ["--engine", "vllm"],
        ["python", scripts / "train_sft.py", "--base", small_model, "--mix", task, "--epochs", 1, *train]
        + [ROOT / "config" / "sft" / "smoke.yaml"],
        ["python", scripts / "train_rl.py", "--start", small_model, "--problems", task, "--verifier", "exact", *train]
        + [ROOT / "config" / "grpo" / "smoke.yaml"],
    ]
    for command in commands:
        done = run(*command, env=environment)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "driver 535.104.05" in done.stderr and f"for CUDA {torch.version.cuda}" in done.stderr
        assert done.stderr.count("\n") == 1 and not made.exists(), done.stderr
