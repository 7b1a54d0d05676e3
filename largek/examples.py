"""The last lines of `largek COMMAND --help`: an example, and the page that says more."""

EXAMPLES = {
    "demo": "largek demo largek-demo",
    "sample": "largek sample --model MODEL --tasks problems.jsonl --samples 64 --store runs/a",
    "import": "largek import results/model/samples_gsm8k_*.jsonl --store runs/a",
    "export": "largek export runs/a --inspect --output a.eval",
    "grade": "largek grade runs/a --verifier math",
    "passk": "largek passk runs/a --k 1,8,64",
    "compare": "largek compare runs/a runs/b --k 1,64",
    "coverage": "largek coverage runs/base runs/a --k 1,8",
    "band": "largek band runs/a --output band.jsonl --random random.jsonl",
    "report": "largek report runs/a runs/b --output report.html",
    "loss": "largek loss --model MODEL --examples held_out.jsonl --output loss.json",
    "rank": "largek rank checkpoints/* --tasks problems.jsonl --verifier math --stores runs",
}


def ending(command: str) -> str:
    return f"Example: {EXAMPLES[command]}. More in docs/largek/commands/{command}.md."
