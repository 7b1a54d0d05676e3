"""Sampling with transformers models: on a CPU, or where vLLM does not run.

On a CPU, architectures that `largek.decode` computes are sampled by it, all others by transformers' `generate`.
"""

from collections.abc import Iterator

from largek.common import without_collector
from largek.decode import Decoder
from largek.models import (
    check_length,
    decide_chat_template,
    device,
    end_ids,
    load_for_decoder,
    number_format,
    prompt_ids,
    read_tokenizer,
)
from largek.sample import Answer, Chunk
from largek.store import prompt_of


class Transformers:
    """A model that is loaded when there is something to sample. A chunk is one call with its own seed."""

    def __init__(self, model: str, chat_template: bool | None):
        self.model, self.tokenizer = model, read_tokenizer(model)
        self.chat_template = decide_chat_template(self.tokenizer, model, chat_template)
        self.ends = end_ids(model, self.tokenizer)
        self.dtype = number_format(model, on_cpu=device() == "cpu")

    def sampler(self):
        """What samples this model, and the number of positions that it has."""
        network, decodes = load_for_decoder(self.model)
        limit = getattr(network.config, "max_position_embeddings", None)
        if decodes:
            return Decoder(network), limit
        from largek.generate import Generator  # imports seconds' worth of transformers

        return Generator(network, self.tokenizer.pad_token_id), limit

    def sample(self, chunks: list[Chunk], settings: dict, batch_size: int) -> Iterator[tuple[Chunk, list[Answer]]]:
        """Each chunk with its answers, in order. A chunk holds at most about `batch_size` answers."""
        with without_collector():
            sampler, limit = self.sampler()
        prompts = {}  # tokens by the problem's id; a problem is in many chunks
        for row in {row["id"]: row for chunk in chunks for row in chunk.rows}.values():
            prompts[row["id"]] = prompt_ids(self.tokenizer, prompt_of(row), self.chat_template)
            check_length(prompts[row["id"]], row, settings["max_tokens"], limit)
        how = {key: settings[key] for key in ("max_tokens", "temperature", "top_p")}
        for chunk in chunks:
            found = sampler.sample(
                [prompts[row["id"]] for row in chunk.rows], list(map(len, chunk.indices)), ends=self.ends,
                seed=chunk.seed, **how,
            )  # fmt: skip
            texts = self.tokenizer.batch_decode([each.ids for each in found], skip_special_tokens=True)
            yield (
                chunk,
                [
                    Answer(
                        text,
                        len(each.ids),
                        "stop" if each.ids[-1] in self.ends else "length",
                        each.entropy,
                        each.logprob,
                    )
                    for text, each in zip(texts, found)
                ],
            )
