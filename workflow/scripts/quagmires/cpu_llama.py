"""Log-probabilities of answers under a small Llama model, with gradients: the forward pass of training on a CPU.

The layers of transformers compute padding, the last layer of the prompts, which nobody reads, and in GRPO each prompt
once for every answer. Here rows of like length are taken together, a prompt is computed once for all its answers in
such a part, and projections that read the same input are one product. A tiny model then trains about twice as fast, to
the same gradients but for rounding.
"""

from typing import NamedTuple

import torch
from torch.linalg import vecdot
from torch.nn.functional import embedding, linear

from largek.decode import Llama

PART = 24  # answers that are computed at once; small enough for the caches of a core


class Scored(NamedTuple):
    """Of each answer's tokens, (answers, longest answer) each and 0 behind an answer's end: the log-probability, which
    has a gradient; the entropy of the distribution in nats; whether the token was the most likely one."""

    logprob: torch.Tensor
    entropy: torch.Tensor
    top: torch.Tensor


class Trained(Llama):
    """The weights of a transformers model for one step; `largek.decode.supports` says of which."""

    def __init__(self, network):
        super().__init__(network.config, dict(network.named_parameters()))
        self.pad = network.model.embed_tokens.padding_idx

    def turned(self, t: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """(tokens, heads x size) with their rotary positions."""
        pairs = torch.view_as_complex(t.unflatten(1, (-1, self.size // 2, 2)))
        return torch.view_as_real(pairs * turn).flatten(1)

    def grid(self, t: torch.Tensor, rows: int) -> torch.Tensor:
        """(rows x width, heads x size) as (rows, heads, width, size), keys and values repeated for every query head."""
        t = t.view(rows, len(t) // rows, -1, self.size).transpose(1, 2)
        return t if t.shape[1] == self.heads else t.repeat_interleave(self.heads // self.kv_heads, 1)

    def predict(self, prompts: list[tuple], answers: list[tuple]) -> torch.Tensor:
        """(tokens, vocabulary): what is predicted for every token of `answers[i]` behind `prompts[i]`."""
        rows = [prompt + answer[:-1] for prompt, answer in zip(prompts, answers)]
        ids = padded(rows)
        place = torch.arange(ids.shape[1])
        first, end = torch.tensor([[len(p) - 1, len(row)] for p, row in zip(prompts, rows)]).T[:, :, None]
        read = ((place >= first) & (place < end)).flatten().nonzero().squeeze(1)
        turn = self.rotations(place).repeat(len(rows), 1, 1)
        causal = torch.zeros(len(place), len(place)).masked_fill(place > place[:, None], -torch.inf)
        queries, keys = self.heads * self.size, self.kv_heads * self.size
        x = embedding(ids.flatten(), self.embed, self.pad)
        for layer in self.layers:
            qk, v = linear(self.norm(x), layer.qkv).split([queries + keys, keys], 1)
            q, k = self.turned(qk, turn).split([queries, keys], 1)
            attended = attend(*(self.grid(t, len(rows)) for t in (q, k, v)), causal)
            if layer is self.layers[-1]:  # of which only answers are read
                x, attended = x.index_select(0, read), attended.index_select(0, read)
            x = self.mlp(layer, torch.addmm(x, attended, layer.out.T))
        return self.logits(x)

    def predict_shared(self, prompts: list[tuple], answers: list[tuple], prompt: list[int]) -> torch.Tensor:
        """The same for `answers[i]` behind `prompts[prompt[i]]`, where several have the same prompt."""
        # The last token of a prompt predicts an answer's first, so it is the first input of the answer's row.
        before = [ids[:-1] for ids in prompts]
        behind = [prompts[place][-1:] + ids[:-1] for place, ids in zip(prompt, answers)]
        which, lengths = torch.tensor(prompt), torch.tensor([len(ids) for ids in before])
        first, second = padded(before), padded(behind)
        split, wide, long = first.numel(), first.shape[1], second.shape[1]
        place = torch.arange(max(wide, long))
        position = torch.cat([place[:wide].repeat(len(first)), (lengths[which, None] + place[:long]).flatten()])
        turn = self.rotations(position)
        causal = torch.zeros(len(place), len(place)).masked_fill(place > place[:, None], -torch.inf)
        beyond = torch.zeros(len(first), wide).masked_fill(place[:wide] >= lengths[:, None], -torch.inf)
        own = causal[:long, :long].expand(len(which), 1, -1, -1)
        mask = torch.cat([beyond[which, None, None].expand(-1, -1, long, -1), own], -1)
        queries, keys = self.heads * self.size, self.kv_heads * self.size
        x = embedding(torch.cat([first.flatten(), second.flatten()]), self.embed, self.pad)
        for number, layer in enumerate(self.layers):
            needed = 0 if number + 1 < len(self.layers) else split  # the last layer of a prompt is not read
            normed = self.norm(x)
            mixed = linear(normed[needed:], layer.qkv)
            q, k, v = mixed.split([queries, keys, keys], 1)
            q, k = self.turned(q, turn[needed:]), self.turned(k, turn[needed:])
            if needed:
                prompt_k, prompt_v = linear(normed[:split], layer.qkv[queries:]).chunk(2, 1)
                k, v = torch.cat([self.turned(prompt_k, turn[:split]), k]), torch.cat([prompt_v, v])
            shared = [self.grid(t[:split], len(first)) for t in (k, v)]
            own = [self.grid(t[split:], len(second)) for t in (k, v)]
            seen = [torch.cat([a.index_select(0, which), b], 2) for a, b in zip(shared, own)]
            attended = attend(self.grid(q[split - needed :], len(second)), *seen, mask)
            if not needed:
                first_attended = attend(self.grid(q[:split], len(first)), *shared, causal[:wide, :wide])
                attended = torch.cat([first_attended, attended])
            x = self.mlp(layer, torch.addmm(x[needed:], attended, layer.out.T))
        inside = place[:long] < torch.tensor([len(ids) for ids in answers])[:, None]
        return self.logits(x.index_select(0, inside.flatten().nonzero().squeeze(1)))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention of (rows, heads, width, size) under an additive mask: (rows x width, heads x size)."""
    weight = (q @ k.transpose(2, 3)).add_(mask).softmax(-1)
    return (weight @ v).transpose(1, 2).flatten(2).flatten(0, 1)


def padded(rows: list[tuple]) -> torch.Tensor:
    """Tokens on the left of a grid at least one column wide; behind them are zeros that nothing reads."""
    width = max(1, *map(len, rows))
    return torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in rows])


def score(network, prompts: list[list[int]], answers: list[list[int]]) -> Scored:
    """How likely `answers[i]` is behind `prompts[i]`; neither may be empty. Equal ones are computed once."""
    llama, long = Trained(network), max(map(len, answers))
    pairs = [(tuple(prompt), tuple(answer)) for prompt, answer in zip(prompts, answers)]
    distinct = sorted(set(pairs), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
    found = []
    for start in range(0, len(distinct), PART):
        first, second = zip(*distinct[start : start + PART])
        place = {prompt: number for number, prompt in enumerate(dict.fromkeys(first))}
        if len(place) == len(first):
            predicted = llama.predict(first, second)
        else:
            predicted = llama.predict_shared(list(place), second, [place[prompt] for prompt in first])
        logp, target = predicted.log_softmax(-1), torch.tensor([token for answer in second for token in answer])
        with torch.no_grad():
            entropy, top = -vecdot(logp.exp(), logp), logp.argmax(-1) == target
        logprob = logp.gather(1, target[:, None]).squeeze(1)
        inside = torch.arange(long) < torch.tensor([len(answer) for answer in second])[:, None]
        found.append([t.new_zeros(inside.shape).masked_scatter(inside, t) for t in (logprob, entropy, top)])
    number = {pair: number for number, pair in enumerate(distinct)}
    back = torch.tensor([number[pair] for pair in pairs])
    return Scored(*(torch.cat(parts).index_select(0, back) for parts in zip(*found)))
