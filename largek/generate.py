"""Sampling with transformers' `generate`: every architecture and device that transformers has."""

from collections.abc import Callable

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from largek.decode import Decoded

EVERY = 8  # tokens after which answers are searched for a stop string, which takes as long as they are


class Generator:
    """A transformers model as a sampler; none of the sampling settings that it may ship with are used."""

    def __init__(self, network, pad: int):
        """`pad` is the token that fills prompts up to like length."""
        self.network, self.pad = network, pad

    def sample(
        self,
        prompts: list[list[int]],
        counts: list[int],
        *,
        max_tokens: int,
        ends: list[int],
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        stops: Callable[[list[int]], int | None] | None = None,
        top_k: int = 0,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
    ) -> list[Decoded]:
        """`counts[i]` answers to `prompts[i]`, in this order. Temperature 0 is greedy. `stops` says after how many of
        its tokens an answer has come to a stop string, if it has."""
        torch.manual_seed(seed)
        how = {
            "do_sample": temperature > 0,
            "max_new_tokens": max_tokens,
            "eos_token_id": ends,
            "pad_token_id": self.pad,
        }
        if temperature > 0:
            how |= {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
        width = max(map(len, prompts))
        rows = [ids for ids, count in zip(prompts, counts) for _ in range(count)]
        ids = torch.tensor([[self.pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        self.network.generation_config, watch = GenerationConfig(**how), Watch()
        penalties = [] if repetition_penalty == 1 else [Penalty(repetition_penalty, mask.to(self.network.device))]
        with torch.inference_mode():
            out = self.network.generate(
                input_ids=ids.to(self.network.device),
                attention_mask=mask.to(self.network.device),
                logits_processor=LogitsProcessorList([watch, *penalties]),
                stopping_criteria=StoppingCriteriaList([Stops(stops, width, ends)] if stops else []),
            )
        watch.take(out)
        out = out[:, width:]
        sizes = lengths(out, ends)
        if stops:
            found = [stops(row[:size]) or size for row, size in zip(out.tolist(), sizes.tolist())]
            sizes = torch.tensor(found, device=out.device)
        inside = torch.arange(out.shape[1], device=out.device) < sizes[:, None]
        logprob, entropy = ((torch.stack(t, 1) * inside).sum(1).tolist() for t in (watch.logprob, watch.entropy))
        return [
            Decoded(row[:size], total, chaos / size)
            for row, size, total, chaos in zip(out.tolist(), sizes.tolist(), logprob, entropy)
        ]


def lengths(out: torch.Tensor, ends: list[int]) -> torch.Tensor:
    """Tokens of each answer, the one that ends it included."""
    ended = torch.isin(out, torch.tensor(ends, device=out.device))
    return torch.where(ended.any(1), ended.int().argmax(1) + 1, out.shape[1])


class Stops(StoppingCriteria):
    """Ends answers in which there is a stop string, some tokens late: these are taken off again."""

    def __init__(self, stops: Callable[[list[int]], int | None], width: int, ends: list[int]):
        self.stops, self.width, self.ends = stops, width, ends
        self.done: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores, **_) -> torch.Tensor:
        if self.done is None:
            self.done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        out = input_ids[:, self.width :]
        if out.shape[1] % EVERY == 0:
            sizes = lengths(out, self.ends).tolist()
            for row in (~self.done).nonzero().flatten().tolist():
                self.done[row] = self.stops(out[row, : sizes[row]].tolist()) is not None
        return self.done


class Penalty(LogitsProcessor):
    """Makes tokens that have occurred less likely. transformers' own would count what fills prompts up, which may be
    the token that ends answers, and would come before `Watch`."""

    def __init__(self, penalty: float, mask: torch.Tensor):
        self.penalty, self.mask = penalty, mask

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        present = torch.ones_like(input_ids)
        present[:, : self.mask.shape[1]] = self.mask
        seen = torch.zeros(scores.shape, dtype=present.dtype, device=scores.device).scatter_add_(1, input_ids, present)
        lower = torch.where(scores > 0, scores / self.penalty, scores * self.penalty)
        return torch.where(seen > 0, lower, scores)


class Watch(LogitsProcessor):
    """Keeps every step's entropy and the log-probability of the token that was taken.

    Runs before temperature, top-p and all else, so both are of the model's own distribution.
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
