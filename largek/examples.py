"""The last lines of `largek COMMAND --help`: an example, and the page that says more."""

EXAMPLES = {
    "demo": "largek demo largek-demo",
    "sample": "largek sample --model MODEL --tasks problems.jsonl --samples 64 --store runs/a",
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
    """Of a command that has no example, the page alone."""
    example = f"Example: {EXAMPLES[command]}. " if command in EXAMPLES else ""
    return f"{example}More in docs/largek/commands/{command}.md."
