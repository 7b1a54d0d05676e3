"""Sampling with transformers models: on a CPU, or where vLLM does not run.

On a CPU, architectures that `largek.decode` computes are sampled by it, all others by transformers' `generate`.
"""

import gc
from collections.abc import Iterator

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from largek.decode import Decoder, supports
from largek.models import check_length, decide_chat_template, end_ids, load_network, load_tokenizer, prompt_ids
from largek.sample import Answer, Chunk
from largek.store import prompt_of


class Transformers:
    """A model that is loaded when there is something to sample. A chunk is one call with its own seed."""

    def __init__(self, model: str, chat_template: bool | None):
        self.model, self.tokenizer = model, load_tokenizer(model)
        self.chat_template = decide_chat_template(self.tokenizer, model, chat_template)
        self.ends = end_ids(model, self.tokenizer)
        self.decoder: Decoder | None = None
        self.prompts: dict[str, list[int]] = {}  # tokens by the problem's id; a problem is in many chunks

    def sample(self, chunks: list[Chunk], settings: dict, batch_size: int) -> Iterator[tuple[Chunk, list[Answer]]]:
        """Each chunk with its answers, in order. A chunk holds at most about `batch_size` answers."""
        # None of the settings that a model may ship, such as top_k or a repetition penalty.
        sampling = {"do_sample": settings["temperature"] > 0, "max_new_tokens": settings["max_tokens"]}
        if sampling["do_sample"]:
            sampling |= {"temperature": settings["temperature"], "top_p": settings["top_p"], "top_k": 0}
        self.network = load_network(self.model)
        self.network.generation_config = GenerationConfig(
            **sampling, eos_token_id=self.ends, pad_token_id=self.tokenizer.pad_token_id
        )
        if self.network.device.type == "cpu" and supports(self.network.config):
            self.decoder = Decoder(self.network)
        gc.freeze()  # or the collector walks again and again over everything the libraries have made
        limit = getattr(self.network.config, "max_position_embeddings", None)
        for row in {row["id"]: row for chunk in chunks for row in chunk.rows}.values():
            self.prompts[row["id"]] = prompt_ids(self.tokenizer, prompt_of(row), self.chat_template)
            check_length(self.prompts[row["id"]], row, settings["max_tokens"], limit)
        for chunk in chunks:
            yield chunk, self.decode(chunk, settings) if self.decoder else self.generate(chunk)

    def decode(self, chunk: Chunk, settings: dict) -> list[Answer]:
        found = self.decoder.sample(
            [self.prompts[row["id"]] for row in chunk.rows],
            [len(indices) for indices in chunk.indices],
            max_tokens=settings["max_tokens"],
            ends=self.ends,
            temperature=settings["temperature"],
            top_p=settings["top_p"],
            generator=torch.Generator().manual_seed(chunk.seed),
        )
        texts = self.tokenizer.batch_decode([each.ids for each in found], skip_special_tokens=True)
        return [
            Answer(text, len(each.ids), "stop" if each.ids[-1] in self.ends else "length", each.entropy, each.logprob)
            for text, each in zip(texts, found)
        ]

    def generate(self, chunk: Chunk) -> list[Answer]:
        torch.manual_seed(chunk.seed)
        prompts = [
            ids for row, indices in zip(chunk.rows, chunk.indices) for ids in [self.prompts[row["id"]]] * len(indices)
        ]
        batch = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(self.network.device)
        watch, width = Watch(), batch["input_ids"].shape[1]
        with torch.inference_mode():
            out = self.network.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                logits_processor=LogitsProcessorList([watch]),
            )
        watch.take(out)
        out = out[:, width:]
        stopped = torch.isin(out, torch.tensor(self.ends, device=out.device))
        lengths = torch.where(stopped.any(1), stopped.int().argmax(1) + 1, out.shape[1]).tolist()
        entropy, logprob = torch.stack(watch.entropy, 1), torch.stack(watch.logprob, 1)
        return [
            Answer(
                text=self.tokenizer.decode(ids[:length], skip_special_tokens=True),
                tokens=length,
                finish="stop" if ends else "length",
                entropy=float(entropy[place, :length].mean()),
                logprob=float(logprob[place, :length].sum()),
            )
            for place, (ids, length, ends) in enumerate(zip(out.tolist(), lengths, stopped.any(1).tolist()))
        ]


class Watch(LogitsProcessor):
    """Keeps every step's entropy and the log-probability of the token that was taken.

    Runs before temperature and top-p, so both are of the model's own distribution.
    """

    def __init__(self):
        self.entropy: list[torch.Tensor] = []
        self.logprob: list[torch.Tensor] = []
        self.last: torch.Tensor | None = None  # log-probabilities of the step whose token is not known yet

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.take(input_ids)
        self.last = scores.float().log_softmax(-1)
        self.entropy.append(torch.special.entr(self.last.exp()).sum(-1))
        return scores

    def take(self, input_ids: torch.Tensor) -> None:
        if self.last is not None:
            self.logprob.append(self.last.gather(1, input_ids[:, -1:]).squeeze(1))
            self.last = None
