"""The sampler for small Llama models against transformers: log-probabilities, greedy answers, frequencies of tokens."""

from collections import Counter

import pytest
import torch
from scipy.stats import chi2_contingency
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config

from largek import compiled, decode
from largek.decode import Decoder, choose, product, supports

END = 1
SHAPE = {"vocab_size": 23, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SHAPE |= {"max_position_embeddings": 128, "bos_token_id": None, "eos_token_id": END, "pad_token_id": 0}
PROMPTS = [[5, 6, 7], [8] * 9, [3, 4], [9, 10, 11, 12, 13, 14]]


@pytest.fixture(scope="module", autouse=True, params=["MKL", "oneDNN", "compiled"])
def way(request):
    """Every test with torch's small products, with the way of large ones, and with the compiled step."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled":
            torch.set_num_threads(1)
            assert compiled.library() is not None, "no C compiler: the compiled step cannot be made"
        else:
            patch.setenv("LARGEK_COMPILED", "no")
            patch.setattr(decode, "serves", lambda config: False)
            patch.setattr(decode, "LARGE", decode.LARGE if request.param == "MKL" else 0)
        yield request.param
    torch.set_num_threads(threads)


def test_the_way_under_test_is_the_one_that_is_taken(way):
    assert (Decoder(llama()).compiled is not None) == (way == "compiled")
    assert Decoder(llama(head_dim=12)).compiled is None  # a size that the compiled step does not know


def llama(**changes) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        **SHAPE | {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True} | changes
    )
    network = LlamaForCausalLM(config).eval()
    with torch.no_grad():  # norms of 1 would hide that they are folded into the matrices
        for name, weight in network.named_parameters():
            weight.mul_(4) if "norm" not in name else weight.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module", params=[{}, {"num_key_value_heads": 2, "tie_word_embeddings": False}, {"head_dim": 12}])
def network(request) -> LlamaForCausalLM:
    return llama(**request.param)


def scored(network: LlamaForCausalLM, prompt: list[int], ids: list[int]) -> torch.Tensor:
    """Log-probabilities of all tokens at each place of an answer, by the forward pass that training uses."""
    with torch.inference_mode():
        return network(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)


@pytest.mark.parametrize("max_tokens", [1, 7, 100])
def test_log_probabilities_and_entropies_are_those_of_the_forward_pass(network, max_tokens):
    counts = [3, 1, 5, 2]
    answers = Decoder(network).sample(PROMPTS, counts, max_tokens=max_tokens, ends=[END])
    owners = [prompt for prompt, count in zip(PROMPTS, counts) for _ in range(count)]
    assert len(answers) == len(owners) == 11
    for prompt, answer in zip(owners, answers):
        logp = scored(network, prompt, answer.ids)
        assert answer.logprob == pytest.approx(logp.gather(1, torch.tensor(answer.ids)[:, None]).sum().item(), abs=1e-4)
        assert answer.entropy == pytest.approx(-(logp.exp() * logp).sum(-1).mean().item(), abs=1e-4)
        assert END not in answer.ids[:-1] and (answer.ids[-1] == END or len(answer.ids) == max_tokens)


def test_many_answers_that_end_early_and_late_keep_their_own_caches(network):
    """Rows split, end and move into places that become free, while the caches double at 64 positions."""
    counts = [0, 500, 0, 300]
    answers = Decoder(network).sample(PROMPTS, counts, max_tokens=100, ends=[END], temperature=1.3, seed=4)
    owners = [prompt for prompt, count in zip(PROMPTS, counts) for _ in range(count)]
    assert sum(64 < len(answer.ids) < 100 for answer in answers) > 5
    pairs = list(zip(owners, answers))
    for prompt, answer in pairs[::20] + [pair for pair in pairs if len(pair[1].ids) > 60]:
        logp = scored(network, prompt, answer.ids)
        assert answer.logprob == pytest.approx(logp.gather(1, torch.tensor(answer.ids)[:, None]).sum().item(), abs=1e-3)


def test_products_are_those_of_float64():
    generator = seeded(5)
    for rows, read, made in [(1, 8, 3), (40, 576, 100), (130, 64, 4097)]:
        x, weight, onto = (
            torch.randn(shape, generator=generator) for shape in ((rows, read), (made, read), (rows, made))
        )
        exact = x.double() @ weight.double().T
        for each in (x, x.T.contiguous().T):
            with torch.inference_mode():
                torch.testing.assert_close(product(each, weight).double(), exact, rtol=0, atol=1e-4)
                torch.testing.assert_close(product(each, weight, onto).double(), exact + onto, rtol=0, atol=1e-4)


def test_products_in_training_have_gradients():
    x, weight = torch.randn(9, 8, requires_grad=True), torch.randn(3, 8, requires_grad=True)
    product(x, weight, torch.zeros(9, 3)).sum().backward()
    torch.testing.assert_close(x.grad, weight.detach().sum(0).expand(9, -1))


def test_fewer_answers_than_prompts(network):
    (answer,) = Decoder(network).sample(PROMPTS, [0, 0, 0, 1], max_tokens=20, ends=[END], temperature=0)
    alone = Decoder(network).sample(PROMPTS[3:], [1], max_tokens=20, ends=[END], temperature=0)
    assert [answer.ids] == [each.ids for each in alone]


def test_greedy_answers_are_those_of_generate(network):
    answers = Decoder(network).sample(PROMPTS, [2] * 4, max_tokens=40, ends=[END], temperature=0)
    for number, prompt in enumerate(PROMPTS):
        config = GenerationConfig(do_sample=False, max_new_tokens=40, eos_token_id=END, pad_token_id=0)
        ids = network.generate(torch.tensor([prompt]), generation_config=config)[0, len(prompt) :].tolist()
        assert answers[2 * number].ids == answers[2 * number + 1].ids == ids


@pytest.mark.parametrize("how", [{}, {"temperature": 0.6}, {"top_p": 0.8}])
def test_tokens_are_as_frequent_as_those_of_generate(how):
    """Second and third tokens of 6000 answers each, by a chi-square test of the two tables."""
    network = llama()
    answers = Decoder(network).sample([PROMPTS[0]], [6000], max_tokens=3, ends=[END], seed=1, **how)
    settings = {"temperature": 1.0, "top_p": 1.0} | how
    config = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=3, eos_token_id=END, pad_token_id=0, **settings)
    torch.manual_seed(2)
    out = network.generate(torch.tensor([PROMPTS[0]] * 6000), generation_config=config)[:, 3:].tolist()
    theirs = [ids[: ids.index(END) + 1] if END in ids else ids for ids in out]
    mine, other = (Counter(tuple(ids[1:]) for ids in side) for side in ([a.ids for a in answers], theirs))
    kinds = [kind for kind in mine | other if mine[kind] + other[kind] >= 10]
    table = [[side[kind] for kind in kinds] + [6000 - sum(side[kind] for kind in kinds)] for side in (mine, other)]
    assert len(kinds) > 10 and chi2_contingency(table).pvalue > 0.001


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_answers():
    decoder = Decoder(llama())
    once, again, other = (decoder.sample(PROMPTS, [40] * 4, max_tokens=30, ends=[END], seed=seed) for seed in (1, 1, 2))
    assert once == again != other
    assert len({tuple(answer.ids) for answer in once[:40]}) > 20


def test_a_cut_keeps_the_most_likely_tokens_that_hold_the_share():
    logp = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(4000, -1)
    drawn = Counter(choose(logp, torch.arange(4000), 1.0, 0.8, seeded(3)).tolist())
    assert drawn.keys() == {0, 1} and drawn[0] / 4000 == pytest.approx(0.5 / 0.8, abs=0.03)
    assert set(choose(logp, torch.arange(4000), 0.0, 1.0, None).tolist()) == {0}


def test_other_architectures_are_left_to_generate():
    shape = SHAPE | {"num_attention_heads": 4, "num_key_value_heads": 4}
    assert supports(LlamaConfig(**shape)) and not supports(Qwen2Config(**shape))
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    assert not supports(LlamaConfig(**shape, rope_parameters=scaled))
    with pytest.raises(ValueError, match="qwen2 is not an architecture"):
        Decoder(AutoModelForCausalLM.from_config(Qwen2Config(**shape)))


def test_without_a_compiler_torch_samples(monkeypatch, tmp_path, way):
    if way != "compiled":
        return
    compiled.library.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setenv("CC", "no-such-compiler")
        assert Decoder(llama()).compiled is None
    compiled.library.cache_clear()
    (tmp_path / "broken").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "broken").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("CC", str(tmp_path / "broken"))
        assert Decoder(llama()).compiled is None
        assert list((tmp_path / "largek").iterdir()) == []  # nothing half-made
    compiled.library.cache_clear()
    assert Decoder(llama()).compiled is not None
    assert [path.suffix for path in (tmp_path / "largek").iterdir()] == [".so"]
    compiled.library.cache_clear()


def test_the_compiled_step_counts_zero_probabilities_as_none(way):
    """Logits hundreds apart: entropy and log-probability stay finite and are those of the softmax."""
    if way != "compiled":
        return
    network = llama()
    with torch.no_grad():
        network.model.embed_tokens.weight.mul_(40)
    (answer,) = Decoder(network).sample([PROMPTS[0]], [1], max_tokens=9, ends=[END], seed=1)
    logp = scored(network, PROMPTS[0], answer.ids).double()
    expected = logp.gather(1, torch.tensor(answer.ids)[:, None]).sum().item()
    assert answer.logprob == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert 0 <= answer.entropy < 1e-3
