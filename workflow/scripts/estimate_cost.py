"""What a study will take on GPUs, before the money is spent: jobs, GPU hours, peak memory, disk, the longest chain.

Reads a study's config, its sheet, its recipes and the base model's config.json where it is here, and stated throughputs
(config/throughputs.yaml, with their sources); prints a table and what each number rests on. No weights are loaded and
nothing is downloaded. A study that does not fit is one line and exit status 2, after the table.

The formulas are those of cost_formulas.py.

    python workflow/scripts/estimate_cost.py config/workstation.yaml
"""

import argparse
from pathlib import Path

from largek.common import InputError, exit_on_bad_input
from quagmires.configs import load, read_study
from quagmires.cost_formulas import ANSWER, GB, Job, disk, estimate
from quagmires.cost_totals import by_kind, chain, too_large
from quagmires.model_sizes import with_sizes
from quagmires.study import recipe_of


def caps(config: dict) -> str:
    """How long worked examples, rollouts and scored answers may be, and whether a cap cuts what was taught."""
    taught, scored = config["data"]["max_tokens"], config["sampling"]["max_tokens"]
    trained = recipe_of(config, "grpo").get("max_completion_length", ANSWER)
    line = f"tokens: worked examples up to {taught}, rollouts up to {trained}, scored answers up to {scored}"
    if min(trained, scored) < taught:
        line += "; WARNING: answers as long as the longest worked examples are cut, and count as wrong"
    return line


def show(config: dict, jobs: list[Job], rates: dict, fill: float) -> None:
    """The table: kinds of jobs, their hours and memory, what these rest on, then disk and the longest chain."""
    totals, name = by_kind(jobs), config["base_model"]["name"]
    print(f"study {config['study']}: {name} on {rates['gpu']}; answers fill {fill:.0%} of their cap")
    print(f"{'job':<18}{'jobs':>6}{'hours each':>16}{'GPUs':>6}{'GPU hours':>11}{'peak GB':>9}  rests on")
    for total in totals:
        spread = f"{total.longest:.2f}"
        if total.shortest < total.longest:
            spread = f"{total.shortest:.2f} to {spread}"
        cells = (
            f"{total.kind:<18}{total.count:>6}{spread:>16}{total.gpus:>6}{total.gpu_hours:>11.1f}{total.memory:>9.0f}"
        )
        print(f"{cells}  {total.rests}")
    count, hours = sum(total.count for total in totals), sum(total.gpu_hours for total in totals)
    print(f"{'all':<18}{count:>6}{'':>16}{'':>6}{hours:>11.1f}")
    print(caps(config))
    print("disk: " + ", ".join(f"{name} {size:.0f} GB" for name, size in disk(config, jobs, rates, fill).items()))
    print(f"longest chain, from the data over one lineage to its grades: {chain(totals):.1f} hours")
    print("stated throughputs, from config/throughputs.yaml:")
    share = f"{rates['training_share']:.0%} of {rates['peak'] / 1e12:.0f} TFLOP/s"
    print(f"  training at {share}: {rates['training_source']}")
    for row in rates["sampling"]:
        print(f"  sampling, {row['parameters'] / GB:g} billion weights: {row['rate']:,} tokens/s: {row['source']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--throughputs", type=Path, default=Path("config/throughputs.yaml"))
    parser.add_argument("--fill", type=float, default=0.5, help="mean length of texts, as a share of the longest")
    args = parser.parse_args()
    with exit_on_bad_input("estimate_cost"):
        config, rates = read_study(args.config), load(args.throughputs)
        rates["memory"] = config.get("gpu_gigabytes", rates["memory"])
        if "base_model" not in config:
            raise InputError(f"{args.config}: the lab's studies need no GPU; the README says how long they take")
        try:
            config = with_sizes(config)
            jobs = estimate(config, rates, args.fill)
        except InputError as error:
            raise InputError(f"{args.config}: {error}") from None
        show(config, jobs, rates, args.fill)
        if wrong := too_large(by_kind(jobs), rates):
            raise InputError(f"{args.config}: {wrong}")


if __name__ == "__main__":
    main()
