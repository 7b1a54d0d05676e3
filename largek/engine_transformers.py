"""Sampling with transformers models: on a CPU, or where vLLM does not run.

On a CPU, architectures that `largek.decode` computes are sampled by it, all others by transformers' `generate`. So is
what the former does not know, see `GENERATE`.
"""

from collections.abc import Iterator

from largek.answers import Reader, before
from largek.asking import Asking
from largek.chunks import Answer, Chunk
from largek.decode import Decoder
from largek.models import (
    check_length,
    check_tokens,
    decide_chat_template,
    device,
    end_ids,
    load_for_decoder,
    load_network,
    number_format,
    read_tokenizer,
)
from largek.quick import without_collector
from largek.thoughts import opening

GENERATE = {"stop", "top_k", "min_p", "repetition_penalty"}  # settings with which `generate` samples


class Transformers:
    """A model that is loaded when there is something to sample. A chunk is one call with its own seed."""

    def __init__(self, model: str, chat_template: bool | None, asking: Asking | None = None):
        self.model, self.tokenizer, self.asking = model, read_tokenizer(model), asking or Asking()
        self.chat_template = decide_chat_template(self.tokenizer, model, chat_template)
        self.begun = self.asking.check(self.tokenizer, model, self.chat_template)
        self.ends = end_ids(model, self.tokenizer)
        self.dtype = number_format(model, on_cpu=device() == "cpu")

    def sampler(self, settings: dict):
        """What samples this model, and the model's config."""
        other = GENERATE & settings.keys()
        network, decodes = (load_network(self.model), False) if other else load_for_decoder(self.model)
        if decodes:
            return Decoder(network), network.config
        from largek.generate import Generator  # imports seconds' worth of transformers

        return Generator(network, self.tokenizer.pad_token_id), network.config

    def sample(self, chunks: list[Chunk], settings: dict, batch_size: int) -> Iterator[tuple[Chunk, list[Answer]]]:
        """Each chunk with its answers, in order. A chunk holds at most about `batch_size` answers."""
        with without_collector():
            sampler, config = self.sampler(settings)
        limit, vocabulary = (getattr(config, name, None) for name in ("max_position_embeddings", "vocab_size"))
        prompts, begun = {}, {}  # tokens, and the tag of a thought, by the problem's id; a problem is in many chunks
        for row in {row["id"]: row for chunk in chunks for row in chunk.rows}.values():
            prompts[row["id"]] = self.asking.ids(self.tokenizer, row, self.chat_template)
            begun[row["id"]] = self.begun if self.chat_template else opening(self.asking.text(row))
            check_length(prompts[row["id"]], row, settings["max_tokens"], limit)
            check_tokens(prompts[row["id"]], f"problem {row['id']}", vocabulary)
        how = {key: settings[key] for key in ("max_tokens", "temperature", "top_p")}
        reader = Reader(self.tokenizer, settings.get("stop", ()))
        how |= {key: settings[key] for key in GENERATE - {"stop"} if key in settings}
        how |= {"stops": reader.size} if reader.stop else {}
        for chunk in chunks:
            found = sampler.sample(
                [prompts[row["id"]] for row in chunk.rows], list(map(len, chunk.indices)), ends=self.ends,
                seed=chunk.seed, **how,
            )  # fmt: skip
            answers, rows = [], (row for row, each in zip(chunk.rows, chunk.indices) for _ in each)
            for row, text, each in zip(rows, reader.texts([each.ids for each in found]), found):
                cut = before(text, reader.stop)
                ended = cut is not None or each.ids[-1] in self.ends
                finish, text = "stop" if ended else "length", text if cut is None else cut
                answers.append(Answer(begun[row["id"]] + text, len(each.ids), finish, each.entropy, each.logprob))
            yield chunk, answers
