"""What is taken of a model folder or of a repository of the hub."""

import shutil

from conftest import ROOT, run
from huggingface_hub.utils import filter_repo_objects

from import_checkpoint import LEFT, TAKEN

NAMES = ["config.json", "tokenizer_config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
NAMES += [
    "model.safetensors.index.json",
    "consolidated.safetensors",
    "original/consolidated.safetensors",
    "modeling.py",
]


def test_weights_are_taken_once_from_the_hub():
    taken = list(filter_repo_objects(NAMES, allow_patterns=TAKEN, ignore_patterns=LEFT))
    assert taken == NAMES[:5]


def test_weights_are_linked_once(small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "mine")
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    script = ROOT / "workflow" / "scripts" / "import_checkpoint.py"
    done = run("python", script, "--checkpoint", folder, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert "model.safetensors" in names and "consolidated.safetensors" not in names
