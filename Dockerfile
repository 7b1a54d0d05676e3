# The environment of studies on GPUs, by `make setup-gpu`, so from the pins of envs/gpu.txt. The study is not in it: run
# it in a clone, which the container sees (docs/container.md).
#
#   docker build --tag quagmires .
#
# A full Debian with Python's headers and a compiler, which Triton and vLLM call at run time. CUDA's libraries come with
# the pins, and the driver is the machine's; its compiler is not needed (on Blackwell it may be: docs/gpus.md).
FROM python:3.11-bookworm

WORKDIR /opt/quagmires
COPY Makefile pyproject.toml ./
COPY envs/gpu.txt envs/
COPY docs/largek/README.md docs/largek/
COPY largek largek
RUN make setup-gpu PYTHON=python3.11 && rm -rf /root/.cache

ENV PATH=/opt/quagmires/.venv/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /study
