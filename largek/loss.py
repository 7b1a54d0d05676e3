"""`largek loss`: mean loss on held-out worked examples, the prompt masked.

The loss of an example is the negative log-likelihood in nats of its solution and the end-of-sequence token after it,
given the problem. Per token it is the sum over all examples divided by all their tokens.
"""

import math
import time
from pathlib import Path

from largek.common import InputError, Progress, read_jsonl, without_collector, write_json
from largek.models import decide_chat_template, load_for_decoder, read_tokenizer
from largek.tasks import fill

LOGITS = 2**25  # entries of the largest block of logits: 128 MiB in float32, whatever the vocabulary and the length


def run(
    model: str,
    examples: list[str],
    output: str | None = None,
    *,
    name: str | None = None,
    batch_size: int = 64,
    prompt: str | None = None,
    chat_template: bool | None = None,
) -> dict:
    """Losses of `model` on files of {problem, solution}, returned and, with `output`, written as JSON.

    Returns {"model": name, "losses": {file's stem: {"per_token", "per_token_se", "per_example", "examples",
    "tokens", "halves"}}} in nats; the standard error is that of a ratio of means over examples (Cochran, Sampling
    Techniques, 1977, ch. 6), and `halves` are per-token losses on every other example and on the rest, ordered by
    length. With a chat template the solution follows the template at once; without one a space stands between,
    unless the prompt ends in white space. A model folder that holds `failed.json` instead of weights gives null losses.
    Raises InputError.
    """
    name = name or model
    sets = {Path(path).stem: read_examples(path) for path in examples}
    if len(sets) < len(examples):
        raise InputError(f"{', '.join(examples)}: expected files of different names, since their losses go by them")
    found = {"model": name, "losses": dict.fromkeys(sets)}
    if not (Path(model) / "failed.json").exists():
        with without_collector():
            network, tokenizer, limit = load(model)
            chat_template = decide_chat_template(tokenizer, model, chat_template)
        progress, done, start = Progress(name, sum(map(len, sets.values())), "examples"), 0, time.monotonic()
        for path, (key, rows) in zip(examples, sets.items()):
            encoded = [encode(tokenizer, row, chat_template, prompt) for row in rows]
            for number, (_, ids) in enumerate(encoded, 1):
                if limit and len(ids) > limit:
                    raise InputError(f"{path}, example {number}: {len(ids)} tokens are more than the model's {limit}")
            try:
                found["losses"][key] = measure(network, encoded, batch_size, progress, done)
            except InputError as error:
                raise InputError(f"{model}: {path}, {error}") from None
            done += len(rows)
        found["seconds"] = round(time.monotonic() - start, 3)
    if output:
        write_json(output, found)
        print(f"{output}: losses of {name}", flush=True)
    return found


def read_examples(path: str) -> list[dict]:
    """The rows of a file of {problem, solution}, which are texts. Raises InputError."""
    rows = read_jsonl(path, ("problem", "solution"))
    if not rows:
        raise InputError(f"{path}: expected at least one example")
    for number, row in enumerate(rows, 1):
        for field in ("problem", "solution", "prompt"):
            if field in row and not (isinstance(row[field], str) and row[field].strip()):
                raise InputError(f"{path}, example {number}, {field}: expected text, got {row[field]!r:.80}")
    return rows


def load(model: str):
    """(network, tokenizer, how many positions it has): a `largek.decode.Decoder` where it computes the architecture,
    else a transformers model."""
    try:
        from largek.decode import Decoder
    except ImportError as error:
        raise InputError(f"{error}; install largek[transformers]") from None
    tokenizer = read_tokenizer(model)
    network, decodes = load_for_decoder(model)
    limit = getattr(network.config, "max_position_embeddings", None)
    return Decoder(network) if decodes else network, tokenizer, limit


def encode(tokenizer, row: dict, chat_template: bool, prompt: str | None = None) -> tuple[int, list[int]]:
    """(length of the prompt, tokens of prompt, solution and end). The two texts are tokenised as one, as in training,
    and the solution begins with the first token that is not the prompt's alone. `prompt` replaces the row's own."""
    text = fill(prompt, row["problem"]) if prompt else row.get("prompt", row["problem"])
    if chat_template:
        messages = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    gap = "" if chat_template or text[-1:].isspace() else " "
    special = not chat_template  # the template has written its own
    alone = tokenizer(text, add_special_tokens=special)["input_ids"]
    both = tokenizer(f"{text}{gap}{row['solution']}", add_special_tokens=special)["input_ids"]
    start = next((i for i, (a, b) in enumerate(zip(alone, both)) if a != b), min(len(alone), len(both)))
    end = [] if tokenizer.eos_token_id is None or both[-1:] == [tokenizer.eos_token_id] else [tokenizer.eos_token_id]
    return max(1, start), [*both, *end]  # nothing predicts a text's first token


def measure(network, encoded: list[tuple[int, list[int]]], batch_size: int, progress: Progress, before=0) -> dict:
    """Losses of one set of examples, from (length of the prompt, tokens); equal whatever `batch_size` is, to
    the rounding of the model's own type. Raises InputError if a loss is no number."""
    places = sorted(range(len(encoded)), key=lambda place: len(encoded[place][1]))
    ordered = [encoded[place] for place in places]
    losses = losses_by_decoder if hasattr(network, "read") else losses_by_transformers
    per_example, lengths = [], []
    for first in range(0, len(ordered), batch_size):
        batch = ordered[first : first + batch_size]
        sums = losses(network, batch)
        for place, total in zip(places[first:], sums):
            if not math.isfinite(total):
                why = "the weights have diverged in training, or are damaged"
                raise InputError(f"example {place + 1}: its loss is {total}: {why}")
        per_example += sums
        lengths += [len(ids) - start for start, ids in batch]
        progress.update(before + first + len(batch))
    return summarize(per_example, lengths)


def summarize(per_example: list[float], lengths: list[int]) -> dict:
    """The losses of a set of examples, from the loss and the number of tokens of each."""
    number, tokens = len(per_example), sum(lengths)
    per_token = sum(per_example) / tokens
    squares = sum((loss - per_token * length) ** 2 for loss, length in zip(per_example, lengths))
    return {
        "per_token": per_token,
        "per_token_se": math.sqrt(squares * number / (number - 1)) / tokens if number > 1 else None,
        "per_example": sum(per_example) / number,
        "halves": [sum(per_example[i::2]) / sum(lengths[i::2]) for i in (0, 1)] if number > 1 else None,
        "examples": number,
        "tokens": tokens,
    }


def losses_by_decoder(network, batch: list[tuple[int, list[int]]]) -> list[float]:
    """The loss of each example of a batch in nats, from a `largek.decode.Decoder`; only solutions get logits."""
    import torch

    size = len(network.head)  # of the vocabulary
    together, step = max(1, LOGITS // (max(len(ids) for _, ids in batch) * size)), max(1, LOGITS // size)
    sums = []
    with torch.inference_mode():
        for first in range(0, len(batch), together):
            part = batch[first : first + together]
            _, states, _ = network.read([ids[:-1] for _, ids in part])
            for (start, ids), state in zip(part, states.view(len(part), -1, states.shape[1])):
                blocks = zip(state[start - 1 : len(ids) - 1].split(step), torch.tensor(ids[start:]).split(step))
                nll = [torch.nn.functional.cross_entropy(network.logits(x), y, reduction="none") for x, y in blocks]
                sums.append(torch.cat(nll).double().sum().item())
    return sums


def losses_by_transformers(network, batch: list[tuple[int, list[int]]]) -> list[float]:
    """The same from a transformers model, padded on the right.

    Long texts go through the model in segments that share a key-value cache, so that never more than LOGITS logits
    exist at once. (Calling the head on parts of the hidden states would be cheaper still, but would miss what some
    architectures do to logits after it.)
    """
    import torch

    width = max(len(ids) for _, ids in batch)
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    mask, target = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, (start, sequence) in enumerate(batch):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
        target[row, start : len(sequence)] = True
    ids, mask, target = (tensor.to(network.device) for tensor in (ids, mask, target))
    step = max(1, LOGITS // (len(batch) * network.config.get_text_config().vocab_size))
    sums, cache = torch.zeros(len(batch), dtype=torch.float64, device=ids.device), None
    with torch.inference_mode():
        for first in range(0, width - 1, step):
            last = min(first + step, width - 1)
            whole = first == 0 and last == width - 1
            out = network(
                input_ids=ids[:, first:last], attention_mask=mask[:, :last], past_key_values=cache, use_cache=not whole
            )
            cache, following = out.past_key_values, slice(first + 1, last + 1)
            nll = torch.nn.functional.cross_entropy(
                out.logits.float().transpose(1, 2), ids[:, following], reduction="none"
            )
            sums += (nll.double() * target[:, following]).sum(1)
    return sums.tolist()
