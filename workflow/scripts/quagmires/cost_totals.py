"""What all jobs of a kind take together, from the jobs of cost_formulas.py."""

from typing import NamedTuple

from quagmires.cost_formulas import Job

CHAIN = ("import_base", "prepare_data", "train_sft", "train_rl", "sample_after_rl", "sample", "measure_loss", "grade")


class Total(NamedTuple):
    """All jobs of one kind: how many, shortest and longest, GPU hours, GB of the one that needs most."""

    kind: str
    count: int
    shortest: float
    longest: float
    gpus: int
    gpu_hours: float
    memory: float
    rests: str


def by_kind(jobs: list[Job]) -> list[Total]:
    totals = []
    for kind in dict.fromkeys(job.kind for job in jobs):
        group = [job for job in jobs if job.kind == kind]
        hours = sum(job.count * job.hours * job.gpus for job in group)
        each = [job.hours for job in group]
        peak = max(job.memory for job in group)
        count = sum(job.count for job in group)
        totals.append(Total(kind, count, min(each), max(each), group[0].gpus, hours, peak, group[0].rests))
    return totals


def chain(totals: list[Total]) -> float:
    """Hours from the start to the last table, with as many GPUs as jobs want: the data, then one lineage."""
    hours = dict.fromkeys(CHAIN, 0.0) | {total.kind: total.longest for total in totals}
    tuned = max(hours["train_rl"] + hours["sample_after_rl"], hours["sample"], hours["measure_loss"])
    return hours["import_base"] + hours["prepare_data"] + hours["train_sft"] + tuned + hours["grade"]


def too_large(totals: list[Total], rates: dict) -> str | None:
    """What does not fit, in one line."""
    for total in totals:
        if total.gpus and total.memory > rates["memory"]:
            return f"{total.kind}: {total.memory:.0f} GB are more than the {rates['memory']:g} of a GPU ({total.rests})"
    return None
