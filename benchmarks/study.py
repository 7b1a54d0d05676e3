"""Wall time of the whole default study: the present commit against the one tagged `before-speed`, one after the other.

    python benchmarks/study.py --folder /tmp/study-times

Each commit is cloned into the folder, makes its own environment (not timed) and runs `snakemake --cores all`. Takes
about an hour, and the machine should do nothing else.
"""

import argparse
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def wall_time(commit: str, folder: Path) -> float:
    """Seconds that Snakemake takes in a fresh clone of the commit."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    subprocess.run(["git", "checkout", "--quiet", commit], cwd=folder, check=True)
    with (folder / "setup.log").open("w") as log:
        subprocess.run(["make", "setup"], cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)
    start = time.monotonic()
    with (folder / "study.log").open("w") as log:
        command = [folder.resolve() / ".venv/bin/snakemake", "--cores", "all"]
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a folder that does not exist yet")
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    seconds = {}
    for commit in ("before-speed", "HEAD"):
        present = subprocess.run(["git", "rev-parse", commit], cwd=ROOT, check=True, capture_output=True, text=True)
        seconds[commit] = wall_time(present.stdout.strip(), args.folder / commit)
        print(f"{commit:14} {seconds[commit] / 60:6.1f} minutes", flush=True)
    print(f"default study, wall time: ratio {seconds['HEAD'] / seconds['before-speed']:.2f}")


if __name__ == "__main__":
    main()
