"""Sampling many short answers from a small Llama model on a CPU.

transformers' `generate` computes the prompt once for every answer, keeps finished answers in the batch, and spends most
of its time between kernels when a model is small. Here a prompt is computed once for all its answers, and so is every
beginning that several answers share: with 256 answers to a problem that is more than half of all tokens. Finished
answers leave the batch, and projections that read the same input are one product. On one thread, and where there is a C
compiler, a new token goes through a small model in one call (`largek.compiled`).
"""

from functools import cached_property
from typing import NamedTuple

import torch
from torch.linalg import vecdot
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

from largek.compiled import Compiled, serves

SMALL = 400  # torch.bmm takes a path several times slower for products of fewer multiplications
LARGE = 2**24  # multiplications of a product from which oneDNN is faster than MKL, its copies included
ROOM = 64  # positions of a row's cache at first; it doubles
PARTS = ["input_layernorm", "post_attention_layernorm"]
PARTS += [f"self_attn.{name}_proj" for name in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")]


class Decoded(NamedTuple):
    """One answer: its tokens, the end included; their summed log-probability and mean entropy at temperature 1, in
    nats."""

    ids: list[int]
    logprob: float
    entropy: float


class Layer(NamedTuple):
    qkv: torch.Tensor
    out: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


def supports(config) -> bool:
    """Whether `Llama` computes what this architecture does."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type == "llama"
        and rope.get("rope_type", "default") == "default"
        and config.hidden_act == "silu"
        and not config.attention_bias
        and not config.mlp_bias
    )


def product(x: torch.Tensor, weight: torch.Tensor, onto: torch.Tensor | None = None) -> torch.Tensor:
    """`x @ weight.T`, plus `onto` if there is any.

    torch gives products in float32 to MKL, which uses half of an AMD processor's vector width; oneDNN uses all of it.
    """
    if len(x) * weight.numel() >= LARGE and not torch.is_grad_enabled() and torch.backends.mkldnn.is_available():
        made = linear(x.to_mkldnn(), weight).to_dense()
        return made if onto is None else made.add_(onto)
    return linear(x, weight) if onto is None else torch.addmm(onto, x, weight.T)


class Llama:
    """The weights of a Llama model in the shape that is fast for a small one: projections that read the same input
    joined, factors of norms and of attention multiplied into the matrices that follow them. Where the weights have
    gradients, so has everything that is made of them."""

    def __init__(self, config, weights: dict[str, torch.Tensor]):
        if not supports(config):
            raise ValueError(f"{config.model_type} is not an architecture that is computed here")
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self.embed = weights["model.embed_tokens.weight"]
        head = self.embed if config.tie_word_embeddings else weights["lm_head.weight"]
        self.head = head * weights["model.norm.weight"]
        self.layers = []
        for number in range(config.num_hidden_layers):
            part = {name: weights[f"model.layers.{number}.{name}.weight"] for name in PARTS}
            query, key = (self.paired(part[f"self_attn.{name}_proj"]) for name in "qk")
            qkv = torch.cat([query * self.size**-0.5, key, part["self_attn.v_proj"]]) * part["input_layernorm"]
            gate_up = torch.cat([part["mlp.gate_proj"], part["mlp.up_proj"]]) * part["post_attention_layernorm"]
            self.layers.append(Layer(qkv, part["self_attn.o_proj"], gate_up, part["mlp.down_proj"]))
        self.speed = config.rope_parameters["rope_theta"] ** -(torch.arange(0, self.size, 2) / self.size)

    def paired(self, weight: torch.Tensor) -> torch.Tensor:
        """The rows of a query or key projection with the two halves that rotary positions turn side by side."""
        return weight.view(-1, 2, self.size // 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)

    def rotations(self, position: torch.Tensor) -> torch.Tensor:
        """Rotary positions as complex numbers, (positions, 1, size / 2)."""
        angles = position[:, None] * self.speed
        return torch.polar(torch.ones_like(angles), angles)[:, None]

    def norm(self, x: torch.Tensor) -> torch.Tensor:
        """RMS norm without its weight."""
        return x * (vecdot(x, x) / x.shape[1] + self.eps).rsqrt()[:, None]

    def mlp(self, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        gate, up = product(self.norm(x), layer.gate_up).chunk(2, -1)
        return product(silu(gate) * up, layer.down, x)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return product(self.norm(x), self.head)


class Decoder(Llama):
    """A Llama model for sampling; holds copies of the weights, so it is made anew when these have changed.

    `network` is a transformers model, or what `largek.models.load_weights` returns.
    """

    def __init__(self, network):
        super().__init__(network.config, {name: weight.detach() for name, weight in network.state_dict().items()})
        self.short = -(-SMALL // self.size)  # positions of the cache that are read at least
        self.config = network.config

    @cached_property
    def compiled(self) -> Compiled | None:
        """The weights for the compiled step; made for sampling alone, a loss needs none."""
        return Compiled(self) if serves(self.config) else None

    def project(self, layer: Layer, x: torch.Tensor, turn: torch.Tensor):
        """Queries and keys with their rotary positions, and values: (rows, heads, size) each, from (rows, hidden)."""
        mixed = product(self.norm(x), layer.qkv).view(len(x), -1, self.size // 2, 2)
        turned = torch.view_as_real(torch.view_as_complex(mixed[:, : self.heads + self.kv_heads]) * turn).flatten(2)
        return turned[:, : self.heads], turned[:, self.heads :], mixed[:, self.heads + self.kv_heads :].flatten(2)

    def read(self, prompts: list[list[int]]):
        """Keys and values of each layer, (prompts x kv heads, length, size); hidden states, (prompts x length, hidden);
        and the lengths of the prompts."""
        lengths = torch.tensor([len(ids) for ids in prompts])
        width = int(lengths.max())
        ids = torch.zeros(len(prompts), width, dtype=torch.long)  # padded on the right, where nothing attends to it
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        x = embedding(ids, self.embed).flatten(0, 1)
        turn = self.rotations(torch.arange(width)).repeat(len(prompts), 1, 1)
        cache = []
        for layer in self.layers:
            parts = self.project(layer, x, turn)
            q, k, v = (t.view(len(prompts), width, -1, self.size).transpose(1, 2) for t in parts)
            grouped = self.heads != self.kv_heads
            mixed = scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0, enable_gqa=grouped)
            x = product(mixed.transpose(1, 2).reshape(len(x), -1), layer.out, x)
            x = self.mlp(layer, x)
            cache.append((k.flatten(0, 1), v.flatten(0, 1)))
        return cache, x, lengths

    def attend(self, parts, shared, own, step: int, tree: "Tree") -> torch.Tensor:
        """Attention of one new token a row to its prompt and its own tokens: (rows, hidden).

        `shared` are keys and values of the prompts, `own` those of the rows, where the new token's go to place `step`.
        """
        (q, k, v), rows = parts, len(parts[0])
        repeat, length = self.heads // self.kv_heads, step + 1
        for cache, new in zip(own, (k, v)):
            cache[:rows, :, step] = new
        seen = min(max(length, self.short), own[0].shape[2])
        keys, values = (cache[:rows, :, :seen].flatten(0, 1) for cache in own)
        q = q.reshape(rows * self.kv_heads, repeat, self.size)
        # one product for all rows of a prompt, in a grid of prompts and rows, and one a row for its own tokens
        to_prompt = torch.bmm(tree.spread(q), shared[0].transpose(1, 2)).add_(tree.beyond)
        to_own = torch.bmm(q, keys.transpose(1, 2))
        to_own[:, :, length:] = -torch.inf
        weight = torch.cat([tree.gather(to_prompt, repeat), to_own], -1).softmax(-1)
        on_prompt, on_own = weight.split([to_prompt.shape[2], seen], -1)
        mixed = tree.gather(torch.bmm(tree.spread(on_prompt), shared[1]), repeat)
        return mixed.add_(torch.bmm(on_own, values)).view(rows, -1)

    @torch.inference_mode()
    def sample(
        self,
        prompts: list[list[int]],
        counts: list[int],
        *,
        max_tokens: int,
        ends: list[int],
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> list[Decoded]:
        """`counts[i]` answers to `prompts[i]`, in this order. Temperature 0 is greedy. Without a seed, random numbers
        come from torch's own generator."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        shared, x, lengths = self.read(prompts)
        x = x.view(len(prompts), -1, x.shape[1])[torch.arange(len(prompts)), lengths - 1]  # of the last tokens
        logits = self.logits(x)
        row = torch.arange(len(prompts)).repeat_interleave(torch.tensor(counts))  # of each unfinished answer
        answer = torch.arange(len(row))
        stop, length = torch.tensor(ends, dtype=torch.long), torch.full((len(row),), max_tokens)
        tokens = torch.zeros(len(row), max_tokens, dtype=torch.long)
        logprob, entropy = torch.zeros(len(row), max_tokens), torch.zeros(len(row), max_tokens)
        kind = CompiledSteps if self.compiled else Steps
        steps = kind(self, shared, lengths, max(len(row), len(prompts)), max_tokens)
        plain = self.compiled and temperature == top_p == 1
        for step in range(max_tokens):
            if plain:
                uniform = torch.rand(len(row), generator=generator)
                token, logprob[answer, step], entropy[answer, step] = self.compiled.draw(logits, row, uniform)
            else:
                logp = logits.log_softmax(-1)
                token = choose(logp, row, temperature, top_p, generator)
                logprob[answer, step] = logp.view(-1).index_select(0, row * logp.shape[1] + token)
                entropy[answer, step] = -vecdot(logp.exp(), logp).index_select(0, row)
            tokens[answer, step] = token
            ended = torch.isin(token, stop)
            length[answer[ended]] = step + 1
            answer, row, token = answer[~ended], row[~ended], token[~ended]
            if step + 1 == max_tokens or not len(answer):
                break
            row, logits = steps.advance(row, token, step)
        inside = torch.arange(max_tokens) < length[:, None]
        sums, means = ((t * inside).sum(1).tolist() for t in (logprob, entropy))
        ids, sizes = tokens.tolist(), length.tolist()
        return [Decoded(ids[i][: sizes[i]], sums[i], means[i] / sizes[i]) for i in range(len(ids))]


class Steps:
    """The caches of one batch of answers, and what is computed for every new token of theirs."""

    def __init__(self, llama: Decoder, shared: list, lengths: torch.Tensor, rows: int, max_tokens: int):
        """`shared` are the keys and values of the prompts, of these `lengths`."""
        self.llama, self.shared, self.lengths, self.max_tokens = llama, shared, lengths, max_tokens
        self.room, self.tree = min(max_tokens, ROOM), Tree(lengths, llama.kv_heads)
        # memory that is not used yet costs nothing; what is read before it is written is masked, and must be finite
        self.own = [[torch.empty(rows, llama.kv_heads, self.room, llama.size) for _ in "kv"] for _ in llama.layers]
        for cache in (cache[: len(lengths)] for pair in self.own for cache in pair):
            cache[:, :, : llama.short] = 0

    def advance(self, row: torch.Tensor, token: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The new row of each answer, in `row` so far and going on with `token` at place `step`; the rows' logits."""
        llama, tree = self.llama, self.tree
        if step == self.room:
            self.room = min(2 * self.room, self.max_tokens)
            self.own = [[with_room(cache, self.room, len(tree.group)) for cache in pair] for pair in self.own]
        row, source, target = tree.grow(row, token)
        tree.lay_out()
        for filled in (cache[:, :, : max(step, llama.short)] for pair in self.own for cache in pair):
            filled.index_copy_(0, target, filled.index_select(0, source))
        last = torch.empty(len(tree.group), dtype=torch.long)
        last[row] = token
        x = embedding(last, llama.embed)
        turn = llama.rotations(self.lengths[tree.group] + step)
        for layer, prompt, alone in zip(llama.layers, self.shared, self.own):
            mixed = llama.attend(llama.project(layer, x, turn), prompt, alone, step, tree)
            x = llama.mlp(layer, product(mixed, layer.out, x))
        return row, llama.logits(x)


class CompiledSteps:
    """The same by the compiled step."""

    def __init__(self, llama: Decoder, shared: list, lengths: torch.Tensor, rows: int, max_tokens: int):
        self.compiled, self.tree, self.max_tokens = llama.compiled, Tree(lengths, llama.kv_heads), max_tokens
        self.compiled.start(shared, lengths, rows, min(max_tokens, ROOM), max_tokens)

    def advance(self, row: torch.Tensor, token: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == self.compiled.room:
            self.compiled.widen(min(2 * step, self.max_tokens), len(self.tree.group))
        row, source, target = self.tree.grow(row, token)
        self.compiled.move(source, target, step)
        last = torch.empty(len(self.tree.group), dtype=torch.long)
        last[row] = token
        return row, self.compiled.advance(last, self.tree.group, step)


class Tree:
    """The rows of the batch: the different beginnings of the unfinished answers. Row i continues prompt `group[i]`.

    Answers to one prompt share a row until their tokens differ. Rows stay where they are as far as possible, since
    their caches would have to be moved.
    """

    def __init__(self, lengths: torch.Tensor, heads: int):
        """One row a prompt, of `lengths` tokens; `heads` are those of keys and values."""
        self.heads, self.groups = heads, len(lengths)
        self.group = torch.arange(len(lengths))
        beyond = torch.arange(int(lengths.max())) >= lengths[:, None]
        beyond = torch.zeros(beyond.shape).masked_fill(beyond, -torch.inf)
        self.beyond = beyond.repeat_interleave(heads, 0)[:, None]  # masks the padding: (prompts x heads, 1, prompt)

    def grow(self, row: torch.Tensor, token: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give each answer, in `row` so far and going on with `token`, its new row.

        Also returns which old rows (`source`) continue in other places (`target`). A row's first continuation stays in
        its place; the other ones, and rows behind the end, go to places that have become free.
        """
        width = int(token.max()) + 1
        pairs, which = torch.unique(row * width + token, return_inverse=True)
        parent, size = pairs // width, len(pairs)
        stays = torch.cat([torch.ones(1, dtype=torch.bool), parent[1:] != parent[:-1]]) & (parent < size)
        free = torch.ones(size, dtype=torch.bool)
        free[parent[stays]] = False
        place, source, target = parent.clone(), parent[~stays], free.nonzero().squeeze(1)
        place[~stays] = target
        group = torch.empty(size, dtype=torch.long)
        group[place] = self.group[parent]
        self.group = group
        return place[which], source, target

    def lay_out(self) -> None:
        """Where rows stand in a grid of (prompts, heads, rows), and which row is at each place of it; after `grow`."""
        order = self.group.argsort(stable=True)
        counts = torch.bincount(self.group, minlength=self.groups)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts)[self.group[order]]
        head, width = torch.arange(self.heads), int(counts.max())
        self.place = ((self.group[:, None] * self.heads + head) * width + rank[:, None]).view(-1)
        self.at = torch.zeros(self.groups * self.heads * width, dtype=torch.long)
        self.at[self.place] = torch.arange(len(order) * self.heads)

    def spread(self, t: torch.Tensor) -> torch.Tensor:
        """(rows x heads, n, size) to (prompts x heads, rows of a prompt x n, size)."""
        return t.index_select(0, self.at).view(self.groups * self.heads, -1, t.shape[2])

    def gather(self, t: torch.Tensor, n: int) -> torch.Tensor:
        """The way back: (prompts x heads, rows of a prompt x n, size) to (rows x heads, n, size)."""
        return t.view(-1, n, t.shape[2]).index_select(0, self.place)


def with_room(cache: torch.Tensor, room: int, rows: int) -> torch.Tensor:
    """The cache with `room` positions, of which the first `rows` rows are filled as far as they were."""
    new = torch.empty(len(cache), cache.shape[1], room, cache.shape[3])
    new[:rows, :, : cache.shape[2]] = cache[:rows]
    return new


def choose(
    logp: torch.Tensor, row: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator | None
) -> torch.Tensor:
    """A token of each answer in `row`: by the softmax at this temperature, cut to the most likely that hold `top_p`."""
    if temperature == 0:
        return logp.argmax(-1)[row]
    chance = logp.exp() if temperature == 1 else (logp / temperature).softmax(-1)
    if top_p < 1:
        ordered, place = chance.sort(-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered >= top_p] = 0
        chance = torch.zeros_like(chance).scatter_(1, place, ordered)
    heap = chance.cumsum(-1).index_select(
        0, row
    )  # a uniform number falls into a token's share; several times faster than multinomial
    number = torch.rand(len(heap), 1, generator=generator) * heap[:, -1:]
    return torch.searchsorted(heap, number, right=True).squeeze(1).clamp_(max=heap.shape[1] - 1)
