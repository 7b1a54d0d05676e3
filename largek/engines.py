"""The engines by name. Each has `chat_template`, `dtype` or, of an endpoint, `address`; and its
`sample(chunks, settings, batch_size)` yields each chunk with its answers, see `largek.chunks`.
"""

from largek.asking import Asking
from largek.common import InputError, extra

ENGINES = ("transformers", "vllm", "openai")


def load_engine(
    engine: str,
    model: str,
    chat_template: bool | None,
    base_url: str | None,
    gpu_memory: float | None = None,
    tensor_parallel: int | None = None,
    asking: Asking | None = None,
    **patience,
):
    """The engine of that name. Raises InputError."""
    if engine == "transformers":
        try:
            from largek.engine_transformers import Transformers
        except ImportError as error:
            raise InputError(f"{error}; {extra('transformers')}") from None
        return Transformers(model, chat_template, asking)
    if engine == "vllm":
        from largek.engine_vllm import VLLM

        return VLLM(model, chat_template, gpu_memory, tensor_parallel or 1, asking)
    if engine == "openai":
        from largek.engine_openai import OpenAI

        return OpenAI(model, chat_template, base_url, **patience, asking=asking)
    raise InputError(f"--engine {engine}: expected one of {', '.join(ENGINES)}")
