"""The collected tables of every base model of a study, as one table.

A study's base models differ in their seed alone, and each has a folder of its own with counts.parquet, records.parquet
and metrics.parquet (see collect.py). Programs take them as `--bases SEED=FOLDER ...`.
"""

import argparse
from pathlib import Path

import pandas as pd

from largek.common import InputError

RECIPE = ["mix", "unique", "epochs", "budget_tokens"]  # runs that agree in these differ in their seed alone
LIKE = 1.25  # tokens seen of candidates of like budget differ by at most this factor
FEWEST_BASES = 4  # base models from which hypotheses are judged (judge_hypotheses.py says why)


def add_bases(parser: argparse.ArgumentParser) -> None:
    """The option --bases."""
    what = "the seed of each base model and the folder of its collected tables"
    parser.add_argument("--bases", required=True, nargs="+", metavar="SEED=FOLDER", help=what)


def read_bases(bases: list[str], name: str) -> pd.DataFrame:
    """The rows of {name}.parquet of every base model, with `base_model`, its seed as text, as first column."""
    folders = {}
    for text in bases:
        seed, equals, folder = text.partition("=")
        if not (seed and equals and folder):
            raise InputError(f"--bases: {text!r}, expected SEED=FOLDER")
        if seed in folders:
            raise InputError(f"--bases: the base model {seed!r} is there twice")
        folders[seed] = Path(folder)
    parts = []
    for seed, folder in folders.items():
        table = pd.read_parquet(folder / f"{name}.parquet")
        table.insert(0, "base_model", seed)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def read_models(path: str | Path) -> pd.DataFrame:
    """models.csv with `base_model` as text, as it is in what `read_bases` gives."""
    models = pd.read_csv(path, dtype={"base_model": str}, low_memory=False)
    if "base_model" not in models:
        raise InputError(f"{path}: missing column 'base_model', which tabulate_scores.py writes")
    return models
