"""Write Snakemake's own report of a study: figures and tables with their captions, run times, the graph of rules.

It opens with the main figure, a paragraph of what the study found and its complete config, which a click puts aside.

    python workflow/scripts/report.py --config '<the study, as JSON>' --targets results/smoke/figures/passk.png \\
        --tables results/smoke/tables --figure results/smoke/figures/sft_vs_rl.png \\
        --stylesheet workflow/report/report.css --output results/smoke/report.html
"""

import argparse
import base64
import html
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from largek.common import whole_file
from quagmires.configs import as_yaml
from quagmires.summary import paragraph

OPENING = """<dialog id="opening" open>
<h1>Which SFT checkpoint should go into RL? Study <em>{study}</em></h1>
<img alt="Score after RL against score before it" src="data:image/png;base64,{figure}">
<p>{text}</p>
<details><summary>The complete config</summary><pre>{config}</pre></details>
<form method="dialog"><button autofocus>All figures and tables</button></form>
</dialog>
"""


def opening(config: dict, figure: Path, text: str) -> str:
    """What a reader sees first, as HTML. `text` is Markdown, of which only emphasis is used."""
    emphasised = re.sub(r"\*(.+?)\*", r"<em>\1</em>", html.escape(text))
    return OPENING.format(
        study=html.escape(config["study"]),
        figure=base64.b64encode(figure.read_bytes()).decode(),
        text=emphasised,
        config=html.escape(as_yaml(config)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=json.loads)
    parser.add_argument("--targets", required=True, nargs="+")
    parser.add_argument("--tables", required=True, type=Path, help="folder of the tables that the paragraph quotes")
    parser.add_argument("--figure", required=True, type=Path, help="the main figure")
    parser.add_argument("--stylesheet", required=True)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(as_yaml(args.config))
        temporary = Path(folder, "report.html")
        # The workflow that runs this rule holds the lock; reading what it has recorded needs none.
        command = [sys.executable, "-m", "snakemake", "--nolock", "--configfile", str(config), "--quiet", "all"]
        command += ["--report", str(temporary), "--report-stylesheet", args.stylesheet, "--", *args.targets]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"report: Snakemake could not write its report:\n{(done.stderr or done.stdout).strip()}")
        before, body, after = temporary.read_text().rpartition("</body>")
        page = before + opening(args.config, args.figure, paragraph(args.tables)) + body + after
        with whole_file(args.output) as whole:
            whole.write_text(page)


if __name__ == "__main__":
    main()
