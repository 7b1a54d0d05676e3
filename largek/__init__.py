"""largek: evaluate language models at large k.

Sample n answers a problem, grade them, estimate pass@k for every k <= n, measure held-out loss. Importing this package
imports neither torch nor vllm; the commands that need an engine import it when they start.
"""

__version__ = "0.1.0"
