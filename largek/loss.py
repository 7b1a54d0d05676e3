"""`largek loss`: mean loss on held-out worked examples, the prompt masked.

The loss of an example is the negative log-likelihood in nats of its solution and the end-of-sequence token after it,
given the problem. Per token it is the sum over all examples divided by all their tokens.
"""

from pathlib import Path

from largek.common import InputError, Progress, read_jsonl, write_json


def run(model: str, examples: list[str], output: str, *, name: str, batch_size: int) -> None:
    """Write one JSON with, for each file of examples (by its stem), loss per token and per example and their numbers.

    A model folder that holds `failed.json` instead of weights gives null losses.
    """
    sets = {Path(path).stem: read_jsonl(path, ("problem", "solution")) for path in examples}
    if (Path(model) / "failed.json").exists():
        write_json(output, {"model": name, "losses": dict.fromkeys(sets)})
        return
    from largek.models import load

    network, tokenizer = load(model)
    progress = Progress(name, sum(map(len, sets.values())), "examples")
    measured = {}
    for key, rows in sets.items():
        if not rows:
            raise InputError(f"{key}: expected at least one example")
        before = sum(value["examples"] for value in measured.values())
        measured[key] = measure(network, tokenizer, rows, batch_size, progress, before)
    write_json(output, {"model": name, "losses": measured})


def measure(network, tokenizer, rows: list[dict], batch_size: int, progress: Progress, before: int = 0) -> dict:
    """Losses of one set of examples; equal to float32 rounding whatever `batch_size` is."""
    import torch

    encoded = []
    for row in rows:
        prompt = tokenizer(row["problem"])["input_ids"]
        both = tokenizer(f"{row['problem']} {row['solution']}")["input_ids"]
        # tokenised as one text, as in training; the solution begins where the two part
        start = next((i for i, (a, b) in enumerate(zip(prompt, both)) if a != b), min(len(prompt), len(both)))
        encoded.append((start, [*both, tokenizer.eos_token_id]))
    encoded.sort(key=lambda pair: len(pair[1]))

    total, tokens, per_example = 0.0, 0, []
    for first in range(0, len(encoded), batch_size):
        batch = encoded[first : first + batch_size]
        width = max(len(ids) for _, ids in batch)
        ids = torch.full((len(batch), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        target = torch.zeros_like(ids, dtype=torch.bool)
        for i, (prompt, sequence) in enumerate(batch):
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : len(sequence)] = 1
            target[i, prompt : len(sequence)] = True
        ids, mask, target = (tensor.to(network.device) for tensor in (ids, mask, target))
        with torch.inference_mode():
            logits = network(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        sums = (nll.double() * target[:, 1:]).sum(1)
        total, tokens = total + sums.sum().item(), tokens + int(target.sum())
        per_example += sums.tolist()
        progress.update(before + first + len(batch))
    return {
        "per_token": total / tokens,
        "per_example": sum(per_example) / len(per_example),
        "examples": len(encoded),
        "tokens": tokens,
    }
