"""Wall time of the whole laptop study: the present commit against the last one before the work on speed.

    python benchmarks/study.py --folder /tmp/study-times

Each commit is cloned into the folder, makes its own environment (not timed) and runs `snakemake --cores all`, one after
the other. The study has grown since, so the present commit runs the older one's amounts (before_speed.yaml). Takes most
of an hour, and the machine should do nothing else.
"""

import argparse
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEFORE = "7e3618b"
CONFIG = {BEFORE: [], "HEAD": ["--configfile", "config/config.yaml", "benchmarks/before_speed.yaml"]}


def wall_time(commit: str, folder: Path) -> float:
    """Seconds that Snakemake takes in a fresh clone of the commit."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    if commit != "HEAD":
        subprocess.run(["git", "checkout", "--quiet", commit], cwd=folder, check=True)
    with (folder / "setup.log").open("w") as log:
        subprocess.run(["make", "setup"], cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)
    start = time.monotonic()
    with (folder / "study.log").open("w") as log:
        command = [folder.resolve() / ".venv/bin/snakemake", "--cores", "all", *CONFIG[commit]]
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a folder that does not exist yet")
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    seconds = {}
    for commit in CONFIG:
        seconds[commit] = wall_time(commit, args.folder / commit)
        print(f"{commit:8} {seconds[commit] / 60:6.1f} minutes", flush=True)
    print(f"laptop study before the work on speed, wall time: ratio {seconds['HEAD'] / seconds[BEFORE]:.2f}")


if __name__ == "__main__":
    main()
