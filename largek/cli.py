"""The command line: `largek sample | grade | passk | compare | loss`. A command imports what it needs."""

import argparse
import os

from largek import __version__
from largek.common import InputError, exit_on_bad_input


def index_range(text: str) -> range:
    """`0:64` as range(0, 64)."""
    start, colon, stop = text.partition(":")
    if not (colon and start.isdigit() and stop.isdigit() and int(start) < int(stop)):
        raise argparse.ArgumentTypeError(f"expected FIRST:END such as 0:64, got {text!r}")
    return range(int(start), int(stop))


def numbers(text: str) -> list[int]:
    try:
        return [positive(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected whole numbers above 0 with commas, got {text!r}") from None


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="largek", description="Evaluate language models at large k.")
    top.add_argument("--version", action="version", version=f"largek {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    path = "JSONL of {id, task, split, problem, answer}; may be given more than once"

    sample = commands.add_parser("sample", help="sample answers from a model")
    sample.add_argument("--model", required=True, help="model folder or hub name")
    sample.add_argument("--problems", required=True, nargs="+", metavar="FILE", help=path)
    sample.add_argument("--output", required=True, metavar="FILE", help="parquet file to make")
    sample.add_argument("--samples", required=True, type=index_range, metavar="FIRST:END", help="sample indices")
    sample.add_argument("--name", help="what the records call the model (default: --model)")
    sample.add_argument("--engine", default="transformers", choices=["transformers"])
    sample.add_argument("--temperature", type=float, default=1.0)
    sample.add_argument("--top-p", type=float, default=1.0)
    sample.add_argument("--max-tokens", type=positive, default=1024, help="cap on the tokens of one answer")
    sample.add_argument("--batch-size", type=positive, default=256, help="answers generated at once")
    sample.add_argument("--seed", type=int, default=0)

    grade = commands.add_parser("grade", help="grade samples")
    grade.add_argument("--samples", required=True, metavar="FILE", help="parquet file made by `largek sample`")
    grade.add_argument("--problems", required=True, nargs="+", metavar="FILE", help=path)
    grade.add_argument("--verifier", default="exact", help="exact, math, or module:function of your own")
    grade.add_argument("--output", required=True, metavar="FILE", help="parquet file to make")

    passk = commands.add_parser("passk", help="estimate pass@k with intervals over problems")
    passk.add_argument("grades", nargs="+", metavar="GRADES", help="parquet files made by `largek grade`")
    passk.add_argument("--k", type=numbers, metavar="K,K,...", help="default: every k up to n")
    passk.add_argument("--output", required=True, metavar="FILE", help="CSV file to make")

    compare = commands.add_parser("compare", help="paired differences between models on the same problems")
    compare.add_argument("grades", nargs="+", metavar="GRADES", help="grades of models, the reference first")
    compare.add_argument("--k", type=numbers, metavar="K,K,...", help="default: every k up to n")
    compare.add_argument("--output", required=True, metavar="FILE", help="CSV file to make")

    loss = commands.add_parser("loss", help="measure loss on held-out worked examples")
    loss.add_argument("--model", required=True, help="model folder or hub name")
    loss.add_argument("--examples", required=True, nargs="+", metavar="FILE", help="JSONL of {problem, solution}")
    loss.add_argument("--name", help="what the output calls the model (default: --model)")
    loss.add_argument("--batch-size", type=positive, default=64)
    loss.add_argument("--output", required=True, metavar="FILE", help="JSON file to make")
    return top


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with exit_on_bad_input(f"largek {args.command}"):
        if args.command == "sample":
            from largek import sample

            if args.temperature <= 0 or not 0 < args.top_p <= 1:
                raise InputError("--temperature must be above 0 and --top-p in (0, 1]")
            options = {key: getattr(args, key) for key in ("engine", "temperature", "top_p", "max_tokens")}
            options |= {"batch_size": args.batch_size, "seed": args.seed, "name": args.name or args.model}
            sample.run(args.model, args.problems, args.output, args.samples, **options)
        elif args.command == "grade":
            from largek import grade

            grade.run(args.samples, args.problems, args.output, args.verifier)
        elif args.command == "passk":
            from largek import passk

            passk.run(args.grades, args.k, args.output)
        elif args.command == "compare":
            from largek import compare

            compare.run(args.grades, args.k, args.output)
        elif args.command == "loss":
            from largek import loss

            loss.run(args.model, args.examples, args.output, name=args.name or args.model, batch_size=args.batch_size)
