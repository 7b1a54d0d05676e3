"""Write Snakemake's own report of a study: figures and tables with their captions, run times, the graph of rules.

    python workflow/scripts/report.py --config '<the study, as JSON>' --targets results/smoke/figures/passk.png \\
        --stylesheet workflow/report/report.css --output results/smoke/report.html
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from largek.common import whole_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=json.loads)
    parser.add_argument("--targets", required=True, nargs="+")
    parser.add_argument("--stylesheet", required=True)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(yaml.safe_dump(args.config))
        temporary = Path(folder, "report.html")
        # The workflow that runs this rule holds the lock; reading what it has recorded needs none.
        command = [sys.executable, "-m", "snakemake", "--nolock", "--configfile", str(config), "--quiet", "all"]
        command += ["--report", str(temporary), "--report-stylesheet", args.stylesheet, "--", *args.targets]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"report: Snakemake could not write its report:\n{(done.stderr or done.stdout).strip()}")
        with whole_file(args.output) as whole:
            whole.write_bytes(temporary.read_bytes())


if __name__ == "__main__":
    main()
