"""The mean of the weights of several models of one architecture, such as a fine-tuned model and its base (WiSE-FT).

Reads model folders, the first of which gives everything but the weights, and writes into --output
    model/      the model
    run.json    what it was made of

    python workflow/scripts/average_weights.py --models models/base/model models/sft/epochs-21k-x16/model \\
        --output models/sft/wise
"""

import argparse
import shutil
from pathlib import Path

from largek.common import InputError, digest, exit_on_bad_input, write_json
from largek.quick import quick_exit, quick_imports
from quagmires.model_card import card


def mean(states: list[dict], names: list[Path]) -> dict:
    """The mean of each tensor, in the type of the first model's. Raises InputError where two models differ in shape."""
    out = {}
    for key, first in states[0].items():
        for state, name in zip(states, names):
            if key not in state or state[key].shape != first.shape:
                raise InputError(f"{name}: expected the tensor {key} of {names[0]}, of shape {tuple(first.shape)}")
        out[key] = (sum(state[key].double() for state in states) / len(states)).to(first.dtype)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, nargs="+", type=Path, help="model folders")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with quick_imports():
        from safetensors.torch import load_file, save_file
    with exit_on_bad_input("average_weights"):
        made, failed = args.output / "model", [path for path in args.models if (path / "failed.json").exists()]
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        record = {"models": {str(path): digest(path) for path in args.models}}
        if failed:
            reason = f"{failed[0]} failed"
            write_json(made / "failed.json", {"model": str(args.output), "reason": reason})
            write_json(args.output / "run.json", {"status": "failed", "reason": reason, **record})
            return
        files = [sorted(path.glob("*.safetensors")) for path in args.models]
        states = [{k: v for file in each for k, v in load_file(file).items()} for each in files]
        for file in args.models[0].iterdir():
            if file.suffix != ".safetensors" and not file.name.endswith(".index.json") and file.name != "README.md":
                shutil.copy(file, made)
        save_file(mean(states, args.models), made / "model.safetensors", metadata={"format": "pt"})
        write_json(args.output / "run.json", {"status": "ok", **record})
        about = {"model": str(args.output), "recipe": {"inputs": record["models"]}}
        (made / "README.md").write_text(card(about, {str(path): path for path in args.models}), encoding="utf-8")


if __name__ == "__main__":
    with quick_exit():
        main()
