"""Link a model into the study: a person's own SFT checkpoint, or a base model.

Reads a model folder (config.json, weights, tokenizer) or the name of a model on the hub, and writes into --output
    model/      symbolic links to its files
    run.json    where it came from

Of the hub only what is loaded as data is taken: no code, and no weights but safetensors.

    python workflow/scripts/import_checkpoint.py --checkpoint ~/my-sft-model --output results/laptop/models/sft/mine
    python workflow/scripts/import_checkpoint.py --checkpoint Qwen/Qwen3-0.6B-Base --revision COMMIT --output base
"""

import argparse
from fnmatch import fnmatch
from pathlib import Path

from largek.common import InputError, exit_on_bad_input, first_line, write_json

TAKEN = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
# The same weights once more, in the format of Mistral's own code, which vLLM would prefer; and weights in folders.
LEFT = ["consolidated*.safetensors", "*/*.safetensors"]


def find(checkpoint: str, revision: str | None) -> Path:
    """The folder of a model; one of the hub is downloaded, or found where it has been before. Raises InputError."""
    if Path(checkpoint).expanduser().is_dir():
        return Path(checkpoint).expanduser()
    if revision is None:
        raise InputError(f"{checkpoint}: no such folder; for a model on the hub say its --revision, a commit")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(checkpoint, revision=revision, allow_patterns=TAKEN, ignore_patterns=LEFT))
    except Exception as error:  # of the network, the hub, a licence not accepted: one line each
        reason = first_line(error)
        raise InputError(f"{checkpoint}: could not be downloaded ({reason})") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="folder, or name on the hub")
    parser.add_argument("--revision", help="commit on the hub")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("import_checkpoint"):
        checkpoint = find(args.checkpoint, args.revision)
        for needed in ("config.json", "tokenizer_config.json"):
            if not (checkpoint / needed).exists():
                raise InputError(f"{args.checkpoint}: expected a model folder with {needed}")
        model = args.output / "model"
        model.mkdir(parents=True, exist_ok=True)
        in_usual_format = any(checkpoint.glob("model*.safetensors"))
        for file in sorted(checkpoint.iterdir()):
            if in_usual_format and fnmatch(file.name, LEFT[0]):
                continue
            (model / file.name).symlink_to(file.resolve())
        record = {"status": "ok", "checkpoint": args.checkpoint, "revision": args.revision}
        write_json(args.output / "run.json", record)


if __name__ == "__main__":
    main()
