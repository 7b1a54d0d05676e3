"""Does data that looks better after SFT end worse after RL? A verdict on each contrast of the study.

Reads tables/counts.parquet, tables/models.csv and tables/variance.csv and writes tables/contrasts.csv: one row a
contrast of treated runs (say simple) with control runs (say random). The runs of a side differ in their SFT seed alone.
`sft_difference` and `rl_difference` are treated minus control in pass@1 on outcome problems, the mean over tasks, in
points (percent); a run's score after RL is the mean over its GRPO seeds. `sft_g` and `rl_g` are Hedges' g over runs
(J. Educ. Stat. 6:107, 1981).

Intervals are 95 % and hold the noise of seeds and of problems, which are crossed: all models answer the same problems.
The variance is clustered both ways, by runs + by problems - by their cells (Cameron, Gelbach and Miller, J. Bus. Econ.
Stat. 29:238, 2011). Without noise of problems the interval would be Welch's; as there, Satterthwaite's approximation
gives the degrees of freedom. With five runs a side these intervals cover 94 to 96 % where those of a percentile
bootstrap of runs and problems cover 88 to 95 %.

The verdict on "better after SFT, worse after RL", by a rule fixed before the data. Each half
    holds     its interval lies on the claimed side of 0        after SFT lo > 0         after RL hi < 0
    fails     an effect of `margin` points or more is excluded  after SFT hi < margin    after RL lo > -margin
    is open   neither: the interval is too wide
and where the first line is true the second does not count. Then

                          after RL: worse (holds)   no worse (fails)   better, lo > 0   open
    after SFT: better     reproduced                not reproduced     inverted         undetermined
               no better  not reproduced            not reproduced     inverted         not reproduced
               open       undetermined              not reproduced     inverted         undetermined

Undetermined without a look at the differences: a side with fewer than 2 runs, and every contrast where post-RL scores
hardly differ between runs, the upper end of `icc` in variance.csv being below `least_icc` (0.5: poor reliability, Koo
and Li, J. Chiropr. Med. 15:155, 2016). Where `icc` has no estimate this check is left out and `reason` says so.

    python workflow/scripts/judge_contrasts.py --tables results/smoke/tables --margin 1 --least-icc 0.5 \\
        --contrasts '{"longest": {"treated": ["longest-tokens"], "control": ["random-64"]}}' \\
        --output results/smoke/tables/contrasts.csv
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

from largek.common import InputError, exit_on_bad_input, write_csv

MEASURES = ("treated", "control", "difference", "lo", "hi", "g")
COLUMNS = [
    *("contrast", "verdict", "reason", "treated_seeds", "control_seeds", "problems"),
    *(f"{stage}_{name}" for stage in ("sft", "rl") for name in MEASURES),
    *("margin", "icc", "icc_lo", "icc_hi", "treated_runs", "control_runs"),
]


def rates_of_runs(counts: pd.DataFrame, models: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For `sft` and `rl` the rate of right answers in percent, runs x (task, problem); only runs that have both."""
    kept = models[(models["status"] == "ok") & (models["split"] == "outcome") & (models["run"] != "base")]
    rows = counts[counts["split"] == "outcome"].merge(kept[["model", "stage", "run"]], on="model")
    rows["rate"] = 100 * rows["correct"] / rows["n"]
    tables = {
        stage: part.pivot_table(index="run", columns=["task", "problem"], values="rate")  # mean over GRPO seeds
        for stage, part in rows.groupby("stage")
    }
    both = [tables.get(stage, pd.DataFrame()) for stage in ("sft", "grpo")]
    runs = both[0].index.intersection(both[1].index)
    return {name: table.loc[runs] for name, table in zip(("sft", "rl"), both)}


def mean_over_tasks(values: np.ndarray, task: np.ndarray) -> np.ndarray:
    """Mean over tasks of the means over problems, which are the last axis."""
    return np.mean([values[..., task == name].mean(-1) for name in np.unique(task)], axis=0)


def variance_by_problems(values: np.ndarray, task: np.ndarray) -> np.ndarray:
    """Variance of the mean over tasks when problems are drawn within tasks; 0 from a task with one problem."""
    names, sizes = np.unique(task, return_counts=True)
    parts = [values[..., task == name].var(-1, ddof=1) / n for name, n in zip(names, sizes) if n > 1]
    return np.sum(parts, axis=0) / len(names) ** 2


def difference(treated: np.ndarray, control: np.ndarray, task: np.ndarray) -> dict[str, float]:
    """Treated minus control with its interval over runs and problems, and Hedges' g; both are (runs, problems)."""
    sides = (treated, control)
    scores = [mean_over_tasks(side, task) for side in sides]
    estimate = scores[0].mean() - scores[1].mean()
    sizes = np.array([len(side) for side in sides])
    by_runs = np.array([score.var(ddof=1) for score in scores]) / sizes
    by_problems = variance_by_problems(treated.mean(0) - control.mean(0), task)
    # what is left of a run's rates without its mean and the problems' means, of which there are n - 1 in n
    cells = sum(variance_by_problems(side - side.mean(0), task).sum() / (n - 1) / n for side, n in zip(sides, sizes))
    variance = max(by_runs.sum() + by_problems - cells, by_runs.sum(), by_problems)
    df_problems = max(1, len(task) - len(np.unique(task)))
    spread = (by_runs**2 / (sizes - 1)).sum() + by_problems**2 / df_problems
    half = student.ppf(0.975, variance**2 / spread) * variance**0.5 if spread else 0.0
    pooled = ((by_runs * sizes * (sizes - 1)).sum() / (sizes.sum() - 2)) ** 0.5
    g = (1 - 3 / (4 * (sizes.sum() - 2) - 1)) * estimate / pooled if pooled else np.nan
    return dict(zip(MEASURES, (scores[0].mean(), scores[1].mean(), estimate, estimate - half, estimate + half, g)))


def judge(sft: tuple[float, float], rl: tuple[float, float], margin: float) -> tuple[str, str]:
    """The verdict from the two intervals, and the reason in words: the table at the top of this file."""
    after_sft = "better" if sft[0] > 0 else "no better" if sft[1] < margin else "open"
    after_rl = "worse" if rl[1] < 0 else "better" if rl[0] > 0 else "no worse" if rl[0] > -margin else "open"
    if after_rl == "better":
        verdict = "inverted"
    elif (after_sft, after_rl) == ("better", "worse"):
        verdict = "reproduced"
    elif after_sft == "no better" or after_rl == "no worse":
        verdict = "not reproduced"
    else:
        verdict = "undetermined"
    return verdict, f"{after_sft} after SFT, {after_rl} after RL".replace("open", "too uncertain")


def judge_all(
    contrasts: dict[str, dict], rates: dict[str, pd.DataFrame], variance: pd.DataFrame, margin: float, least_icc: float
) -> pd.DataFrame:
    """contrasts.csv, one row a contrast."""
    icc = variance[(variance["stage"] == "grpo") & (variance["component"] == "icc")]
    icc = icc[["estimate", "lo", "hi"]].iloc[0].to_numpy(float) if len(icc) else np.full(3, np.nan)
    task = rates["sft"].columns.get_level_values(0).to_numpy()
    table = []
    for name, runs in contrasts.items():
        kept = {side: [run for run in runs[side] if run in rates["sft"].index] for side in ("treated", "control")}
        row = {"contrast": name, "problems": len(task), "margin": margin}
        row |= dict(zip(("icc", "icc_lo", "icc_hi"), icc))
        for side, listed in kept.items():
            row |= {f"{side}_seeds": len(listed), f"{side}_runs": " ".join(listed)}
        gone = sum(map(len, runs.values())) - sum(map(len, kept.values()))
        remarks = [f"{gone} run{'s' if gone > 1 else ''} without scores left out"] if gone else []
        if min(map(len, kept.values())) < 2:
            row["verdict"] = "undetermined"
            remarks.insert(0, "fewer than 2 SFT seeds on a side")
        else:
            for stage, table_of_rates in rates.items():
                sides = [table_of_rates.loc[listed].to_numpy() for listed in kept.values()]
                row |= {f"{stage}_{key}": value for key, value in difference(*sides, task).items()}
            row["verdict"], why = judge((row["sft_lo"], row["sft_hi"]), (row["rl_lo"], row["rl_hi"]), margin)
            if icc[2] < least_icc:
                row["verdict"] = "undetermined"
                why = f"post-RL scores hardly differ between runs: ICC {icc[0]:.2f} [{icc[1]:.2f}, {icc[2]:.2f}]"
            elif np.isnan(icc[2]):
                remarks.append("the ICC is not known")
            remarks.insert(0, why)
        table.append(row | {"reason": "; ".join(remarks)})
    return pd.DataFrame(table, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", required=True, type=Path)
    parser.add_argument("--contrasts", required=True, type=json.loads, help="lists of runs by name and side, as JSON")
    parser.add_argument("--margin", required=True, type=float, help="points of pass@1 that count as no difference")
    parser.add_argument("--least-icc", required=True, type=float, help="judge none if the ICC is surely below")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("judge_contrasts"):
        counts = pd.read_parquet(args.tables / "counts.parquet")
        models = pd.read_csv(args.tables / "models.csv")
        for name, sides in args.contrasts.items():
            for run in [run for side in ("treated", "control") for run in sides[side]]:
                if run not in set(models["run"]):
                    raise InputError(f"--contrasts, {name}: {run!r} is not a run of {args.tables / 'models.csv'}")
        variance = pd.read_csv(args.tables / "variance.csv")
        verdicts = judge_all(args.contrasts, rates_of_runs(counts, models), variance, args.margin, args.least_icc)
        write_csv(args.output, verdicts)
        for row in verdicts.itertuples():
            print(f"{row.contrast}: {row.verdict} ({row.reason})")


if __name__ == "__main__":
    main()
