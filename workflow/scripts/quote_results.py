"""Write the numbers of the published results into README.md and docs/findings.md, and what studies on GPUs cost into
docs/gpus.md.

Each number stands in a block between `<!-- begin NAME -->` and `<!-- end NAME -->`, made here from results/published/
alone, or from the configs of studies by cost_formulas.py; what is between the marks is replaced. With --check nothing
is written and the exit status is 1 if a block is not what it should be.

    python workflow/scripts/quote_results.py README.md docs/findings.md docs/gpus.md
"""

import argparse
import contextlib
import re
import sys
from pathlib import Path

import yaml

from largek.common import InputError, exit_on_bad_input, whole_file
from quagmires import quotes
from quagmires.configs import read_config
from quagmires.cost_formulas import disk, estimate
from quagmires.cost_totals import by_kind, chain
from quagmires.quotes import markdown
from quagmires.summary import number

ROOT = Path(__file__).parents[2]


def on_gpus() -> list[tuple[Path, dict, list, float]]:
    """(path, config, jobs, GB of disk) of every study that takes GPUs, those of one GPU first."""
    rates, fill, found = yaml.safe_load((ROOT / "config/throughputs.yaml").read_text()), 0.5, []
    with contextlib.chdir(ROOT):  # configs name files from there
        for path in sorted(Path("config").glob("*.yaml")):
            config = read_config(path)
            if any(config.get("gpus", {}).values()):
                made = estimate(config, rates, fill)
                found.append((path, config, made, sum(disk(config, made, rates, fill).values())))
    return sorted(found, key=lambda one: (max(one[1]["gpus"].values()), one[1]["base_model"]["parameters"]))


def costs() -> str:
    """What every study on GPUs takes."""
    rows = []
    for path, config, made, space in on_gpus():
        totals = {total.kind: total for total in by_kind(made)}
        wide = max(config["gpus"].values())
        peaks = [number(totals[kind].memory, 0) for kind in ("train_sft", "train_grpo", "sample", "measure_loss")]
        hours = sum(total.gpu_hours for total in totals.values())
        rows.append(
            [
                f"`{path.name}`",
                config["base_model"]["name"].rpartition("/")[2],
                str(totals["train_sft"].count),
                str(wide),
            ]
            + [str(sum(total.count for total in totals.values())), f"{hours:,.0f}", number(chain(totals.values()), 1)]
            + [*peaks, number(totals["prepare_data"].memory, 0), f"{space:,.0f}"]
        )
    head = ["config", "base model", "SFT runs", "GPUs", "jobs", "GPU hours", "longest chain, hours"]
    head += ["SFT: GB of a GPU", "GRPO", "sampling", "loss", "data: GB of the machine", "disk, GB"]
    return markdown(head, rows)


def jobs() -> str:
    """Every kind of job of every study on GPUs, and what its numbers rest on."""
    rows = []
    for path, _, made, _ in on_gpus():
        for total in by_kind(made):
            each = f"{total.longest:.2f}"
            if total.shortest < total.longest:
                each = f"{total.shortest:.2f} to {each}"
            cells = [f"`{path.stem}`", total.kind, str(total.count), each, str(total.gpus), f"{total.gpu_hours:,.1f}"]
            rows.append([*cells, number(total.memory, 0), total.rests])
    return markdown(["config", "job", "jobs", "hours each", "GPUs", "GPU hours", "peak GB", "rests on"], rows)


BLOCKS = {**quotes.BLOCKS, "costs": costs, "jobs": jobs}


def filled(text: str, where: Path) -> str:
    """The text with every block made anew. Raises InputError for a block that nobody makes, or one that is not
    closed."""
    for name in re.findall(r"<!-- begin (.*?) -->", text):
        if name not in BLOCKS:
            raise InputError(f"{where}: block {name!r}, expected one of {', '.join(BLOCKS)}")
    block = re.compile(r"<!-- begin (\w+) -->\n((?!<!-- begin).)*?<!-- end \1 -->", flags=re.S)
    made, count = block.subn(
        lambda match: f"<!-- begin {match[1]} -->\n{BLOCKS[match[1]]()}\n<!-- end {match[1]} -->", text
    )
    marks = len(re.findall(r"<!--\s*(?:begin|end)\b", text))
    if marks != 2 * count:
        raise InputError(
            f"{where}: expected each block between <!-- begin NAME --> and <!-- end NAME -->, lines of their own"
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if something would change")
    args = parser.parse_args()
    with exit_on_bad_input("quote_results"):
        for path in args.files:
            before = path.read_text()
            after = filled(before, path)
            if before == after:
                continue
            if args.check:
                sys.exit(f"{path}: a block is not what the published results say; run quote_results.py")
            with whole_file(path) as temporary:
                temporary.write_text(after)


if __name__ == "__main__":
    main()
