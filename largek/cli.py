"""The command line: `largek demo | sample | import | export | grade | passk | compare | coverage | band | report |
loss | rank`. Each imports what it needs.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterable

from largek import __version__
from largek.common import INTERRUPTED, InputError, exit_on_bad_input, one_line
from largek.completion import SHELLS, PrintCompletion
from largek.examples import ending
from largek.outputs import refuse_outputs
from largek.quick import quick_exit, without_pandas

MOST = 2**31 - 1  # samples of a problem: their indices have 32 bits


def index_range(text: str) -> range:
    """`64` as range(0, 64), `32:64` as range(32, 64)."""
    start, colon, stop = text.rpartition(":")
    start = start if colon else "0"
    if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop) <= MOST):
        raise argparse.ArgumentTypeError(f"expected a number such as 64, or FIRST:END such as 32:64, got {text!r}")
    return range(int(start), int(stop))


def numbers(text: str) -> list[int]:
    try:
        return sorted({positive(part) for part in text.split(",")})
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected whole numbers above 0 with commas, got {text!r}") from None


def non_negative(text: str) -> int:
    if not text.isdecimal() or (number := int(text[:20])) > MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number below 2^31, got {text!r:.80}")
    return number


def positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= (number := int(text[:20])) <= MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0 and below 2^31, got {text!r:.80}")
    return number


def workers(text: str) -> int:
    """Each is a process: a number beyond all machines is a typing error."""
    if (number := positive(text)) > 10_000:
        raise argparse.ArgumentTypeError(f"expected at most 10000, got {number}")
    return number


def share(text: str) -> float:
    try:
        if 0 <= float(text) <= 1:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")


def share_range(text: str) -> tuple[float, float]:
    """`0.05:0.95` as (0.05, 0.95)."""
    try:
        low, high = map(float, text.split(":"))
        if 0 <= low < high <= 1:
            return low, high
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected LOW:HIGH between 0 and 1 such as 0.05:0.95, got {text!r}")


def yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"expected yes or no, got {text!r}")
    return text == "yes"


def keyword(text: str) -> tuple[str, object]:
    """`enable_thinking=false` as ("enable_thinking", False). A value that is no JSON is text, and so are NaN and
    infinities: as a setting of a store, NaN would not be equal to itself."""
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE such as enable_thinking=false, got {text!r}")
    try:
        return key, json.loads(value, parse_constant=int)
    except (ValueError, RecursionError):
        return key, value


def json_object(text: str) -> dict:
    try:
        value = json.loads(text, parse_constant=int)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'expected a JSON object such as {{"top_a": 0.1}}, got {text!r}')
    return value


def not_empty(text: str) -> str:
    """A text of one character or more, white space too."""
    if not text:
        raise argparse.ArgumentTypeError("expected something, got ''")
    return text


def not_blank(text: str) -> str:
    """A text in which something stands. A variable that is not set leaves none, and an empty path is this folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected something, got {text!r}")
    return text


def sampling_options(command: argparse.ArgumentParser, tasks_needed: bool = True) -> None:
    """The options that `sample` and `rank` share."""
    task = "JSONL of {id, problem, answer}, or the name of an entry"
    command.add_argument("--tasks", required=tasks_needed, nargs="+", metavar="TASK", help=task)
    command.add_argument("--tasks-file", metavar="YAML", help="entries besides math-500, gsm8k, aime-2025, ...")
    command.add_argument("--prompt", metavar="TEXT", help="what the model is asked; {problem} stands for the problem")
    command.add_argument("--chat-template", type=yes_or_no, metavar="yes|no", help="needed if the tokenizer has one")
    system = "system prompt; needs a chat template, or an endpoint's"
    command.add_argument("--system", metavar="TEXT", help=system)
    shots = "put the first N examples of {problem, solution or answer} before every problem (default: all of them)"
    command.add_argument("--few-shot", nargs="+", metavar=("FILE", "N"), help=shots)
    keywords = "keywords of the chat template, such as enable_thinking=false; values are JSON, else text"
    pairs = {"nargs": "+", "action": "extend", "metavar": "KEY=VALUE"}
    command.add_argument("--template", type=keyword, **pairs, help=keywords)
    stop = "end an answer before the first of these texts"
    command.add_argument("--stop", type=not_empty, nargs="+", action="extend", metavar="TEXT", help=stop)
    engines = ["transformers", "vllm", "openai"]
    command.add_argument("--engine", default="transformers", choices=engines, help="default: %(default)s")
    command.add_argument("--gpu-memory", type=float, metavar="SHARE", help="of a GPU, what vLLM takes (default: 0.9)")
    command.add_argument("--tensor-parallel", type=positive, metavar="GPUS", help="of vLLM (default: 1)")
    beside = "processes that sample side by side, each with GPUs of its own (default: 1)"
    command.add_argument("--replicas", type=positive, metavar="N", help=beside)
    command.add_argument("--base-url", metavar="URL", help="of the endpoint (default: $OPENAI_BASE_URL)")
    again = "how often to ask an endpoint again for an answer that it fails to give (default: %(default)s)"
    command.add_argument("--retries", type=non_negative, default=6, metavar="N", help=again)
    limit = "of an endpoint for one answer, in seconds (default: %(default)g)"
    command.add_argument("--timeout", type=positive, default=1800, metavar="SECONDS", help=limit)
    body = "more parameters of a request to an endpoint"
    command.add_argument("--extra-body", type=json_object, metavar="JSON", help=body)
    rate = "requests to an endpoint at most (default: as fast as it answers)"
    command.add_argument("--requests-per-minute", type=positive, metavar="N", help=rate)
    command.add_argument("--temperature", type=float, default=1.0, help="default: %(default)s")
    command.add_argument("--top-p", type=float, default=1.0, help="default: %(default)s")
    command.add_argument("--top-k", type=positive, metavar="K", help="only the K likeliest tokens (default: all)")
    least = "only tokens at least SHARE as likely as the likeliest (default: all)"
    command.add_argument("--min-p", type=share, metavar="SHARE", help=least)
    lower = "above 1: tokens that have occurred, in the prompt too, become less likely (default: 1)"
    command.add_argument("--repetition-penalty", type=float, metavar="FACTOR", help=lower)
    command.add_argument("--max-tokens", type=positive, default=1024, help="of one answer (default: %(default)s)")
    command.add_argument("--batch-size", type=positive, default=256, help="answers at once (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the samples (default: %(default)s)")


# what both hand on to `largek.sample.run`
SAMPLING = ("tasks_file", "prompt", "chat_template", "engine", "base_url", "temperature", "top_p", "max_tokens")
SAMPLING += ("batch_size", "seed", "gpu_memory", "tensor_parallel", "retries", "timeout")
SAMPLING += ("system", "few_shot", "template", "stop", "top_k", "min_p", "repetition_penalty", "extra_body")
SAMPLING += ("requests_per_minute", "replicas")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="largek", description="Evaluate language models at large k.")
    top.add_argument("--version", action="version", version=f"largek {__version__}")
    script = "print what completes commands in a shell (takes the extra completion)"
    top.add_argument("--print-completion", action=PrintCompletion, choices=SHELLS, help=script)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ks = {"type": numbers, "metavar": "K,K,...", "help": "default: every k up to n"}
    cap = {"type": positive, "metavar": "CAP", "help": "count longer answers as truncated"}
    machine = {"action": "store_true", "help": "print JSON for machines"}
    table = {"metavar": "FILE", "help": "CSV file to make (default: print the main rows)"}

    demo = commands.add_parser("demo", help="put three stores of real answers into a folder, to try the other commands")
    demo.add_argument("folder", nargs="?", default="largek-demo", metavar="DIR", help="to make (default: %(default)s)")
    files = "put down files of lm-evaluation-harness in place of stores, to begin with `largek import`"
    demo.add_argument("--lm-eval", action="store_true", help=files)

    sample = commands.add_parser("sample", help="sample answers from a model")
    model = "model folder, hub name, or name at the endpoint; several, one after the other, spare their start-up"
    sample.add_argument("--model", required=True, nargs="+", help=model)
    number = "answers to each problem; with --output also FIRST:END, those numbered from FIRST to END - 1"
    sample.add_argument("--samples", required=True, type=index_range, metavar="N", help=number)
    where = sample.add_mutually_exclusive_group(required=True)
    where.add_argument("--store", nargs="+", metavar="FOLDER", help="folder that keeps growing, one a model")
    where.add_argument("--output", nargs="+", metavar="FILE", help="one parquet file a model instead")
    sample.add_argument("--name", nargs="+", help="what the records call the model (default: --model)")
    sampling_options(sample)

    imported = commands.add_parser("import", help="make a store of samples that another tool has made")
    imported.add_argument("files", nargs="+", metavar="FILE", help="all files of samples of one model")
    imported.add_argument("--store", required=True, metavar="FOLDER", help="store to make")
    formats = ["lm-eval", "inspect", "lighteval", "nemo-skills", "verl", "trl"]
    imported.add_argument("--format", choices=formats, help="default: recognised from the files")
    imported.add_argument("--name", help="what the records call the model (default: what the files call it)")
    own = "the problems by largek's names, found by their text: ids, right answers and verifiers are theirs"
    imported.add_argument("--tasks", nargs="+", metavar="TASK", help=own)
    imported.add_argument("--tasks-file", metavar="YAML", help="entries besides largek's own")
    imported.add_argument("--json", action="store_true", help="print JSON for machines")

    exported = commands.add_parser("export", help="write a store in the format of another tool")
    exported.add_argument("store", metavar="STORE", help="graded or not")
    exported.add_argument("--inspect", action="store_true", required=True, help="as a log of inspect_ai")
    exported.add_argument("--output", required=True, metavar="FILE", help="to make: FILE.eval or FILE.json")
    exported.add_argument("--json", action="store_true", help="print JSON for machines")

    grade = commands.add_parser("grade", help="grade samples")
    grade.add_argument("samples", nargs="+", metavar="SAMPLES", help="stores, or parquet files made by `largek sample`")
    grade.add_argument("--tasks", nargs="+", metavar="TASK", help="the problems (default: those of the store)")
    grade.add_argument("--tasks-file", metavar="YAML", help="entries besides largek's own")
    by = "exact, math, reasoning-gym, module:function (default: the task's own), or recorded: what came with an import"
    grade.add_argument("--verifier", help=by)
    within = "run a module:function here, faster and without a limit of time, and not in worker processes"
    grade.add_argument("--in-process", action="store_true", help=within)
    number = "worker processes at a time (default: one for each CPU that this process may use)"
    grade.add_argument("--workers", type=workers, metavar="N", help=number)
    made = "parquet file to make for each of SAMPLES (default: grades.parquet in the store)"
    grade.add_argument("--output", nargs="+", metavar="FILE", help=made)

    passk = commands.add_parser("passk", help="estimate pass@k with intervals over problems")
    passk.add_argument("grades", nargs="+", metavar="GRADES", help="graded stores, or files made by `largek grade`")
    passk.add_argument("--k", **ks)
    passk.add_argument("--max-tokens", **cap)
    budgets = "at equal numbers B of sampled tokens in place of k (default: the powers of two that the answers allow)"
    passk.add_argument("--by-tokens", type=numbers, nargs="?", const=[], metavar="B,B,...", help=budgets)
    passk.add_argument("--problems", metavar="FILE", help="CSV file to make of the problems, the hardest first")
    passk.add_argument("--output", **table)
    passk.add_argument("--json", **machine)

    compare = commands.add_parser("compare", help="paired differences between models on the same problems")
    compare.add_argument("grades", nargs="+", metavar="GRADES", help="graded stores or files, the reference first")
    compare.add_argument("--k", **ks)
    compare.add_argument("--max-tokens", **cap)
    compare.add_argument("--output", **table)

    coverage = commands.add_parser("coverage", help="what a training destroyed and created, by problem")
    coverage.add_argument("grades", nargs="+", metavar="GRADES", help="graded stores or files, the base model first")
    coverage.add_argument("--k", type=numbers, metavar="K,K,...", help="default: the powers of two up to n")
    coverage.add_argument("--max-tokens", **cap)
    within = "count only problems whose pass@k under the base lies between, as arXiv 2608.25756 does with 0.05:0.95"
    coverage.add_argument("--reachable", type=share_range, metavar="LOW:HIGH", help=within)
    coverage.add_argument("--output", metavar="FILE", help="CSV file to make of the table")
    coverage.add_argument("--problems", metavar="FILE", help="CSV file to make of the problems")
    coverage.add_argument("--json", **machine)

    band = commands.add_parser("band", help="choose problems for RL by their pass rate, with a random set beside them")
    band.add_argument("grades", metavar="GRADES", help="a graded store, or a file made by `largek grade`")
    group = "answers a prompt in RL: problems with all or none of so many right are dropped"
    band.add_argument("--group", type=positive, default=8, metavar="G", help=f"{group} (default: %(default)s)")
    kept = "share of answers that are right in the problems to keep (default: %(default)s)"
    band.add_argument("--rate", type=share_range, default="0:1", metavar="LOW:HIGH", help=kept)
    least = "keep problems of whose groups more than this share is expected to be mixed (default: %(default)s)"
    band.add_argument("--mixed", type=share, default=0.0, metavar="SHARE", help=least)
    band.add_argument(
        "--sure", type=share, default=0.5, metavar="CHANCE", help="that it is there (default: %(default)s)"
    )
    band.add_argument("--tasks", nargs="+", metavar="TASK", help="the problems (default: those of the store)")
    band.add_argument("--tasks-file", metavar="YAML", help="entries besides largek's own")
    band.add_argument("--model", metavar="NAME", help="whose answers count, if there are several")
    band.add_argument("--max-tokens", **cap)
    band.add_argument("--seed", type=int, default=0, help="of the random set (default: %(default)s)")
    band.add_argument("--output", required=True, metavar="FILE", help="JSONL file to make of the problems kept")
    band.add_argument("--random", metavar="FILE", help="JSONL file to make of as many random problems")
    band.add_argument("--json", **machine)

    report = commands.add_parser("report", help="make one HTML page of graded stores: curves, problems, single answers")
    report.add_argument("stores", nargs="*", metavar="STORE", help="graded stores, of one model or several")
    while_training = "files that largek.callback has written, to draw over steps"
    report.add_argument("--training", nargs="+", metavar="FILE", help=while_training)
    report.add_argument("--output", default="report.html", metavar="FILE", help="page to make (default: report.html)")

    loss = commands.add_parser("loss", help="measure loss on held-out worked examples")
    loss.add_argument("--model", required=True, help="model folder or hub name")
    loss.add_argument("--examples", required=True, nargs="+", metavar="FILE", help="JSONL of {problem, solution}")
    loss.add_argument("--prompt", metavar="TEXT", help="what the model is asked; {problem} stands for the problem")
    loss.add_argument("--chat-template", type=yes_or_no, metavar="yes|no", help="needed if the tokenizer has one")
    loss.add_argument("--name", help="what the output calls the model (default: --model)")
    loss.add_argument("--batch-size", type=positive, default=64, help="examples at once (default: %(default)s)")
    loss.add_argument("--output", required=True, metavar="FILE", help="JSON file to make")

    rank = commands.add_parser("rank", help="which checkpoint to take to RL")
    rank.add_argument("models", nargs="+", metavar="CHECKPOINT", help="model folders, hub names, or stores of answers")
    number = "answers to each problem (default: 64; of stores, as many as every problem has)"
    rank.add_argument("--samples", type=positive, metavar="N", help=number)
    rank.add_argument("--examples", metavar="FILE", help="JSONL of {problem, solution} for held-out loss")
    rank.add_argument("--verifier", help="as in `largek grade`")
    rank.add_argument("--k", type=positive, metavar="K", help="the large k of pass@k (default: N / 2)")
    rank.add_argument("--stores", metavar="FOLDER", help="where the stores and the table rank.csv go")
    rank.add_argument("--json", **machine)
    sampling_options(rank, tasks_needed=False)
    for name, command in commands.choices.items():
        command.epilog = ending(name)
        command.register("type", None, not_blank)  # of all that is given as it is
    return top


def one_each(option: str, given: list[str] | None, of: str, those: list[str]) -> list[str | None]:
    """What an option gives for each of several models or files. Raises InputError if it does not give one for each."""
    if given is None:
        return [None] * len(those)
    if len(given) != len(those):
        raise InputError(f"{option}: expected one for each {of}, {len(those)}, got {len(given)}")
    if len(set(given)) < len(given) and option != "--name":
        raise InputError(f"{option}: expected another one for each {of}")
    return given


def for_each(what: str, work: Callable, arguments: Iterable[tuple]) -> None:
    """`work` with each of several arguments, whose first names it. One that fails keeps none of the others from being
    done; InputError says so at the end."""
    failed, arguments = 0, list(arguments)
    for each in arguments:
        try:
            work(*each)
        except InputError as error:
            if len(arguments) == 1:
                raise
            print(f"largek: error: {one_line(f'{each[0]}: {error}')}", file=sys.stderr, flush=True)
            failed += 1
    if failed:
        raise InputError(f"{failed} of {len(arguments)} {what} failed, see above; the others are done")


def command() -> None:
    """The program `largek`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    with quick_exit():
        try:
            main()
        except SystemExit as end:
            if end.code == INTERRUPTED:  # what is stored is stored; threads that wait for a worker are not waited for
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(INTERRUPTED)
            raise


def main(argv: list[str] | None = None) -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the locale cannot write ends nothing
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(argv)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with exit_on_bad_input(f"largek {args.command}"):
        refuse_outputs(args)
        if args.command in ("sample", "import", "grade"):
            without_pandas()
        if args.command == "demo":
            from largek import demo

            demo.run(args.folder, args.lm_eval)
        elif args.command == "sample":
            from largek import sample, templates

            stores = one_each("--store", args.store, "--model", args.model)
            outputs = one_each("--output", args.output, "--model", args.model)
            names = one_each("--name", args.name, "--model", args.model)
            how = {key: getattr(args, key) for key in SAMPLING}
            keywords = dict(args.template or [])

            def sample_one(model: str, store: str | None, output: str | None, name: str | None) -> None:
                if args.engine != "openai":
                    templates.check(model, args.chat_template, keywords)
                sample.run(model, args.tasks, args.samples, store=store, output=output, name=name, **how)

            for_each("models", sample_one, zip(args.model, stores, outputs, names))
        elif args.command == "import":
            from largek import imported

            how = {key: getattr(args, key) for key in ("format", "name", "tasks", "tasks_file")}
            imported.run(args.files, args.store, **how, as_json=args.json)
        elif args.command == "export":
            from largek import export

            export.run(args.store, args.output, args.json)
        elif args.command == "grade":
            from largek import grade

            def grade_one(samples: str, output: str | None) -> None:
                how = (args.verifier, args.tasks_file, args.in_process, args.workers)
                grade.run(samples, args.tasks, output, *how)

            outputs = one_each("--output", args.output, "SAMPLES", args.samples)
            for_each("files of samples", grade_one, zip(args.samples, outputs))
        elif args.command == "passk":
            from largek import passk

            options = {"by_tokens": args.by_tokens, "problems": args.problems, "as_json": args.json}
            passk.run(args.grades, args.k, args.output, args.max_tokens, **options)
        elif args.command == "compare":
            from largek import compare

            compare.run(args.grades, args.k, args.output, args.max_tokens)
        elif args.command == "coverage":
            from largek import coverage

            options = {"problems": args.problems, "reachable": args.reachable, "as_json": args.json}
            coverage.run(args.grades, args.k, args.output, args.max_tokens, **options)
        elif args.command == "band":
            from largek import band

            names = ("group", "rate", "sure", "tasks", "tasks_file", "model", "max_tokens", "seed", "mixed")
            own = {key: getattr(args, key) for key in names} | {"random_set": args.random, "as_json": args.json}
            band.run(args.grades, args.output, **own)
        elif args.command == "report":
            from largek import report

            report.run(args.stores, args.output, args.training)
        elif args.command == "loss":
            from largek import loss, templates

            templates.check(args.model, args.chat_template)
            options = {"name": args.name, "batch_size": args.batch_size}
            options |= {"prompt": args.prompt, "chat_template": args.chat_template}
            loss.run(args.model, args.examples, args.output, **options)
        elif args.command == "rank":
            from largek import rank

            own = {key: getattr(args, key) for key in ("samples", "examples", "verifier", "k")}
            own["as_json"] = args.json
            rank.run(args.models, args.tasks, args.stores, **own, **{key: getattr(args, key) for key in SAMPLING})
