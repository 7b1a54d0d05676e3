"""The trainers of RL that a recipe may name by its key `trainer`: TRL's, with the run's seed for vLLM.

GRPO alone has a faster way on a CPU (lean_grpo.py). Another of TRL's trainers is one more entry here and in
check_start.py, if it takes the same prompts and reward functions.
"""

from trl import GRPOConfig, RLOOConfig, RLOOTrainer

from quagmires.lean_grpo import LeanGRPOTrainer
from quagmires.seeded_vllm import SeededVLLM


class SeededRLOOTrainer(SeededVLLM, RLOOTrainer):
    """TRL's trainer, on every device."""


TRAINERS = {"GRPO": LeanGRPOTrainer, "RLOO": SeededRLOOTrainer}
CONFIGS = {"GRPO": GRPOConfig, "RLOO": RLOOConfig}
