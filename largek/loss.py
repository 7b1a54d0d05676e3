"""`largek loss`: mean loss on held-out worked examples, the prompt masked.

The loss of an example is the negative log-likelihood in nats of its solution and the end-of-sequence token after it,
given the problem. Per token it is the sum over all examples divided by all their tokens.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

from largek.common import InputError, Progress, extra, read_jsonl, write_json
from largek.formats import made_by
from largek.models import check_tokens, decide_chat_template, load_for_decoder, read_tokenizer, tokenized
from largek.problems import Example, as_example, prompt_of
from largek.quick import without_collector
from largek.tasks import fill

LOGITS = 2**25  # entries of the largest block of logits: 128 MiB in float32, whatever the vocabulary and the length
TOKENS = 2**14  # of a forward pass of transformers, padding included; a text that is longer goes alone


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

    Returns {"model": name, "losses": {file's stem: {"per_token", "per_token_se", "per_example", "examples", "tokens",
    "halves"}}} in nats, with what made it (see `largek.formats`); the standard error is that of a ratio of means over
    examples (Cochran, Sampling Techniques, 1977, ch. 6), and `halves` are per-token losses on every other example and
    on the rest, ordered by length. With a chat template the solution follows the template at once; without one a space
    stands between, unless the prompt ends in white space. A model folder that holds `failed.json` instead of weights
    gives null losses. Raises InputError.
    """
    name = name or model
    sets = {Path(path).stem: read_examples(path) for path in examples}
    if len(sets) < len(examples):
        raise InputError(f"{', '.join(examples)}: expected files of different names, since their losses go by them")
    found = {"model": name, "losses": dict.fromkeys(sets)} | made_by()
    if not (Path(model) / "failed.json").exists():
        with without_collector():
            network, tokenizer, config = load(model)
            chat_template = decide_chat_template(tokenizer, model, chat_template)
        limit, vocabulary = (getattr(config, key, None) for key in ("max_position_embeddings", "vocab_size"))
        progress, done, start = Progress(name, sum(map(len, sets.values())), "examples"), 0, time.monotonic()
        for path, (key, rows) in zip(examples, sets.items()):
            encoded = []
            for number, row in enumerate(rows, 1):
                with tokenized(f"{path}, example {number}"):
                    encoded.append(encode(tokenizer, row, chat_template, prompt))
                ids = encoded[-1][1]
                if limit and len(ids) > limit:
                    raise InputError(f"{path}, example {number}: {len(ids)} tokens are more than the model's {limit}")
                check_tokens(ids, f"{path}, example {number}", vocabulary)
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


def read_examples(path: str) -> list[Example]:
    """The rows of a file of {problem, solution}, which are texts. Raises InputError."""
    rows = read_jsonl(path, ("problem", "solution"))
    if not rows:
        raise InputError(f"{path}: expected at least one example")
    return [as_example(row, f"{path}, example {number}") for number, row in enumerate(rows, 1)]


def load(model: str):
    """(network, tokenizer, the model's config): a `largek.decode.Decoder` where it computes the architecture,
    else a transformers model."""
    try:
        from largek.decode import Decoder
    except ImportError as error:
        raise InputError(f"{error}; {extra('transformers')}") from None
    tokenizer = read_tokenizer(model)
    network, decodes = load_for_decoder(model)
    return Decoder(network) if decodes else network, tokenizer, network.config


def encode(tokenizer, row: Example, chat_template: bool, prompt: str | None = None) -> tuple[int, list[int]]:
    """(length of the prompt, tokens of prompt, solution and end). The two texts are tokenised as one, as in training,
    and the solution begins with the first token that is not the prompt's alone. `prompt` replaces the row's own."""
    text = fill(prompt, row["problem"]) if prompt else prompt_of(row)
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
    if hasattr(network, "read"):
        losses, tokens = losses_by_decoder, math.inf
    elif has_plain_head(network, ordered[0][1]):
        losses, tokens = losses_by_backbone, TOKENS
    else:
        losses, tokens = losses_by_own_head, 0
    per_example, lengths = [], []
    for batch in batches(ordered, batch_size, tokens):
        sums = losses(network, batch)
        for place, total in zip(places[len(lengths) :], sums):
            if not math.isfinite(total):
                why = "the weights have diverged in training, or are damaged"
                raise InputError(f"example {place + 1}: its loss is {total}: {why}")
        per_example += sums
        lengths += [len(ids) - start for start, ids in batch]
        progress.update(before + len(lengths))
    return summarize(per_example, lengths)


def batches(ordered: list[tuple[int, list[int]]], rows: int, tokens: float) -> Iterator[list[tuple[int, list[int]]]]:
    """Examples in their order, from short to long: at most `rows` at once, and padded no more than `tokens` tokens, or
    one alone."""
    batch = []
    for example in ordered:
        if batch and (len(batch) == rows or (len(batch) + 1) * len(example[1]) > tokens):
            yield batch
            batch = []
        batch.append(example)
    yield batch


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


def has_plain_head(network, ids: list[int]) -> bool:
    """Whether a transformers model's logits are its head's product with what its backbone returns. Some architectures
    scale or cap them; so the two are compared on the beginning of a text, to the last bit."""
    import torch

    backbone, head, seen = network.base_model, network.get_output_embeddings(), []
    if backbone is network or head is None:
        return False
    hook = backbone.register_forward_hook(lambda module, given, out: seen.append(out))
    try:
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([ids[:8]], device=network.device), use_cache=False).logits
            states = getattr(seen[0], "last_hidden_state", None) if seen else None
            return states is not None and torch.equal(head(states), logits)
    finally:
        hook.remove()


def losses_by_backbone(network, batch: list[tuple[int, list[int]]]) -> list[float]:
    """The loss of each example of a batch in nats, from a transformers model with a plain head.

    One forward pass without a key-value cache; only solutions get logits, never more than LOGITS at once. Padding is
    on the right, where no token attends to it, so no mask is needed, and with none attention takes its fast kernels.
    """
    import torch

    ids = torch.zeros((len(batch), max(len(ids) for _, ids in batch)), dtype=torch.long)
    for row, (_, sequence) in enumerate(batch):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    head = network.get_output_embeddings()
    with torch.inference_mode():
        states = network.base_model(input_ids=ids.to(network.device), use_cache=False).last_hidden_state
        sums = [
            loss_of_solution(head, state[start - 1 : len(sequence) - 1], sequence[start:], len(head.weight))
            for (start, sequence), state in zip(batch, states)
        ]
    return torch.stack(sums).tolist()


def losses_by_own_head(network, batch: list[tuple[int, list[int]]]) -> list[float]:
    """The same from a model that changes its logits after its head: one text at a time through all of it."""
    import inspect

    import torch

    bounded = "logits_to_keep" in inspect.signature(network.forward).parameters
    sums = []
    with torch.inference_mode():
        for start, sequence in batch:
            keep = {"logits_to_keep": len(sequence) - start + 1} if bounded else {}
            ids = torch.tensor([sequence], device=network.device)
            logits = network(input_ids=ids, use_cache=False, **keep).logits[0, start - len(sequence) - 1 : -1]
            sums.append(loss_of_solution(lambda rows: rows, logits, sequence[start:], logits.shape[1]))
    return torch.stack(sums).tolist()


def loss_of_solution(head, states, solution: list[int], vocabulary: int):
    """The summed loss of a solution's tokens, a tensor, from the states before each of them, of which `head` makes
    logits, in blocks of LOGITS."""
    import torch

    step, target = max(1, LOGITS // vocabulary), torch.tensor(solution, device=states.device)
    nll = [
        torch.nn.functional.cross_entropy(head(rows).float(), each, reduction="none").double().sum()
        for rows, each in zip(states.split(step), target.split(step))
    ]
    return torch.stack(nll).sum()


def memory(parameters: float, hidden_size: int, vocabulary: int, longest: int, weight: int = 2) -> float:
    """Bytes that `largek loss` takes at most of a GPU: weights of `weight` bytes each, what one forward pass of
    transformers holds at once, for texts of up to `longest` tokens, and a block of logits.

    A layer holds the stream, its norm, and gate, up and their product, which are up to four times as wide: some 18
    values for each of hidden_size. Logits are there three times: as the head makes them, in float32, and as
    log-probabilities.
    """
    block = max(vocabulary, min(LOGITS, longest * vocabulary))
    return weight * parameters + 18 * weight * hidden_size * max(TOKENS, longest) + (weight + 8) * block
