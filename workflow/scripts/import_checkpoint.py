"""Link a person's own SFT model into the study.

Reads a model folder (config.json, weights, tokenizer) and writes into --output
    model/      symbolic links to its files
    run.json    where it came from

    python workflow/scripts/import_checkpoint.py --checkpoint ~/my-sft-model --output results/laptop/models/sft/mine
"""

import argparse
from pathlib import Path

from largek.common import InputError, exit_on_bad_input, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("import_checkpoint"):
        for needed in ("config.json", "tokenizer_config.json"):
            if not (args.checkpoint / needed).exists():
                raise InputError(f"{args.checkpoint}: expected a model folder with {needed}")
        model = args.output / "model"
        model.mkdir(parents=True, exist_ok=True)
        for file in sorted(args.checkpoint.iterdir()):
            (model / file.name).symlink_to(file.resolve())
        write_json(args.output / "run.json", {"status": "ok", "checkpoint": str(args.checkpoint.resolve())})


if __name__ == "__main__":
    main()
