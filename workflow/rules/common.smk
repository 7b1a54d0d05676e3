"""Validate the study's config, and read and validate its sheet of runs.

in:  config, the sheet it names, workflow/schemas/
out: RUNS (the sheet, one row a run), cell() of it, lists of model names, constraints on wildcards
"""

import json
import os
import re
import sys
import threading
from pathlib import Path

import snakemake
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import DeploymentMethod

from quagmires.check_start import check_start
from quagmires.study import function_files, grpo_seeds, read_runs, recipe_files, reward_files, validate_study


envvars:
    "PATH",


# Jobs find `python` where this Snakemake is installed, or in the image, and largek here.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.update(PYTHONPATH=os.pathsep.join([workflow.basedir, *filter(None, [os.getenv("PYTHONPATH")])]))
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Threads that wait for each other sleep instead of spinning: beside other work on the same cores, two that spin train
# twenty times slower than two that sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def look_again(scheduler, delay):
    """In place of the method of Snakemake 9.27, which starts one more timer for every job that ends while others are
    ready; each looks at all ready jobs every second. After 200 jobs that took a third of a core; one is enough."""
    timer = getattr(scheduler, "timer", None)
    if timer is None or not timer.is_alive():
        scheduler.timer = threading.Timer(delay, scheduler._open_jobs.release)
        scheduler.timer.start()


if snakemake.__version__.startswith("9.27."):  # another version may mean something else by that name
    JobScheduler._schedule_reevalutation = look_again

try:
    validate_study(config, WHERE)
    RUNS = read_runs(config)
    # A report of what is there starts no job. Without a limit of GPUs, as in profiles/slurm, jobs run on other machines.
    if workflow.is_main_process and "--report" not in [word.partition("=")[0] for word in sys.argv]:
        limit = workflow.global_resources.get("gpu")
        image = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
        check_start(config, WHERE, limit and limit.value, image)
except StudyError as error:
    raise WorkflowError(in_its_file(str(error), WHERE, CONFIG_FILES))

# Everything but the tables, the figures and the report is made for every base model, in <results>: the study's folder, or
# where the study has several base models base-{base_model} in it.
BASE_SEEDS = [int(seed) for seed in config.get("base_seeds", [config.get("seed")])]


def of_each_base(path):
    """The file of that path in the folder of every base model."""
    folders = [f"<study>/base-{seed}" for seed in BASE_SEEDS] if "base_seeds" in config else ["<study>"]
    return [f"{folder}/{path}" for folder in folders]


def collected(name):
    """The table of that name of every base model."""
    return of_each_base(f"tables/{name}")


def bases(wildcards, input):
    """SEED=FOLDER of every base model: where its collected tables lie."""
    tables = input.get("counts") or input.get("bases")
    tables = [tables] if isinstance(tables, str) else tables
    return [f"{seed}={Path(table).parent}" for seed, table in zip(BASE_SEEDS, tables)]


def study_seed(wildcards):
    """The seed of a job's base model, its problems and its samples."""
    return int(getattr(wildcards, "base_model", BASE_SEEDS[0]))


# A study of the lab makes its problems and its base model; one of language models takes both from elsewhere.
LAB = "lab" in config
# How much each base model is trained on, by its seed, where they differ in that.
EXAMPLES_SEEN = config["lab"]["base"]["examples"] if LAB else {}
EXAMPLES_SEEN = {int(seed): n for seed, n in EXAMPLES_SEEN.items()} if isinstance(EXAMPLES_SEEN, dict) else {}


def lab_of_base(wildcards):
    """The lab section, as JSON, for one base model."""
    lab = config["lab"]
    if EXAMPLES_SEEN:
        lab = lab | {"base": lab["base"] | {"examples": EXAMPLES_SEEN[study_seed(wildcards)]}}
    return json.dumps(lab)


GPUS = config["gpus"]
if not any(GPUS.values()):
    os.environ.update(CUDA_VISIBLE_DEVICES="")  # jobs of a study without GPUs see none
LORA = ["--lora", config["recipes"]["lora"]] if "lora" in config["recipes"] else []
NAMED_BY_RECIPE = {stage: recipe_files(config, stage) for stage in ("sft", "grpo")}
CHAT_TEMPLATE = "no" if LAB or not config["data"]["chat_template"] else "yes"

ENGINE = ["--engine", config["sampling"]["engine"]]
if config["sampling"]["engine"] == "vllm":
    ENGINE += ["--gpu-memory", config["sampling"]["gpu_memory"], "--tensor-parallel", GPUS["sample"] or 1]

# Regular expressions for the wildcard `run`; one that matches nothing stands for an empty list.
NO_RUN = "(?!)"
TRAINED_RUNS = "|".join(map(re.escape, RUNS.index[RUNS["mix"] != ""])) or NO_RUN
IMPORTED_RUNS = "|".join(map(re.escape, RUNS.index[RUNS["checkpoint"] != ""])) or NO_RUN
AVERAGED_RUNS = "|".join(map(re.escape, RUNS.index[RUNS["average_of"] != ""])) or NO_RUN

SFT = [f"sft/{run}" for run in RUNS.index]
SEEDS = grpo_seeds(config, RUNS)
GRPO = [f"grpo/{run}/seed-{seed}" for run, seeds in SEEDS.items() for seed in seeds]
# The same trainings after fewer steps, and trainings by a coin flip.
GRPO_STEPS = config.get("grpo_steps", [])
PARTS = ["", *(f"{os.sep}steps-{steps}" for steps in GRPO_STEPS)]  # of the folder of one training
AT_STEPS = [f"{model}/steps-{steps}" for model in GRPO for steps in GRPO_STEPS]
COIN = [f"grpo/{run}/coin-{seed}" for run in config.get("coin_runs", []) for seed in SEEDS[run]]
MODELS = ["base", *SFT, *GRPO, *AT_STEPS, *COIN]
AFTER_RL = [*GRPO, *AT_STEPS, *COIN]

SAMPLING = config["sampling"]
BLOCKS = range(SAMPLING["blocks"])
BLOCKS_AFTER_RL = range(SAMPLING["blocks_after_rl"])
OUTCOME_SAMPLES = SAMPLING.get("outcome_samples")
GREEDY = SAMPLING.get("greedy", False)
ALL_GRADES = [
    *expand("<results>/grades/{model}/block-{block}.parquet", model=["base", *SFT], block=BLOCKS),
    *expand("<results>/grades/{model}/block-{block}.parquet", model=AFTER_RL, block=BLOCKS_AFTER_RL),
    *expand("<results>/grades/{model}/greedy.parquet", model=["base", *SFT] if GREEDY else []),
]
# Whether answers can be guessed is looked at before RL and at its end.
GUESSED = [
    *expand("<results>/grades/{model}/block-{block}.parquet", model=["base", *SFT], block=BLOCKS),
    *expand("<results>/grades/{model}/block-{block}.parquet", model=GRPO, block=BLOCKS_AFTER_RL),
]


def problems_of_block(wildcards):
    """The problems that a block before RL holds answers to."""
    splits = ["predict", "outcome"]
    if OUTCOME_SAMPLES:
        splits = ["outcome"] if int(wildcards.block) == max(BLOCKS) else ["predict"]
    return [f"<results>/problems/{split}.jsonl" for split in splits]


def samples_of_block(wildcards):
    """The sample indices of a block, as --samples takes them."""
    before_rl = not getattr(wildcards, "model", "grpo/").startswith("grpo/")
    number = int(wildcards.block)
    if OUTCOME_SAMPLES and before_rl and number == max(BLOCKS):  # the one block of outcome problems
        return f"0:{OUTCOME_SAMPLES}"
    size = SAMPLING["block_size"] if before_rl or not OUTCOME_SAMPLES else OUTCOME_SAMPLES
    return f"{number * size}:{(number + 1) * size}"


def modules(*names):
    """The files of modules that scripts share."""
    return [f"workflow/scripts/quagmires/{name}.py" for name in names]


# Files that a rule's program imports; a change of their content is a change of the rule.
TRAINING_FILES = modules("training", "callbacks", "provenance", "recipe", "recipe_keys", "weights")
MODEL_FILES = [f"largek/{name}.py" for name in ("model_files", "models", "quick", "quick_models")]
TRAINING_FILES += ["largek/common.py", *MODEL_FILES]
DECODE_FILES = ["largek/decode.py", "largek/compiled.py", "largek/decode_step.c"]
CPU_FILES = [*modules("cpu_llama"), *DECODE_FILES]
# The verifier is an input by itself, since --consider-ancient does not see into a list; what it imports is another. Of
# one in an installed package there is no file.
VERIFIER, *VERIFIER_FILES = function_files(config["verifier"], Path(workflow.basedir)) or [[]]
REWARD_FILES = reward_files(config, Path(workflow.basedir))
REWARD = ["--reward", *(f"{name}={weight}" for name, weight in config["reward"].items())] if "reward" in config else []
RL_FILES = [*TRAINING_FILES, *CPU_FILES, "largek/verify.py"]
RL_FILES += modules("known_fields", "lean_grpo", "rewards", "rl_trainers", "seeded_vllm")
SAMPLE_FILES = [
    f"largek/{name}.py"
    for name in (
        *("answers", "asking", "chunks", "common", "engines", "problems", "sample", "store", "tasks", "thoughts"),
        f"engine_{config['sampling']['engine']}",
    )
]
SAMPLE_FILES += [*MODEL_FILES, *DECODE_FILES]
LOSS_FILES = [f"largek/{name}.py" for name in ("common", "formats", "loss", "problems", "tasks")]
LOSS_FILES += [*MODEL_FILES, *DECODE_FILES]
PASSK_FILES = [f"largek/{name}.py" for name in ("common", "grades", "intervals", "passk")]
GRADE_FILES = [
    f"largek/{name}.py" for name in ("common", "formats", "grade", "grade_file", "problems", "store", "tasks", "verify")
]
FIGURE_FILES = [
    "workflow/scripts/quagmires/figure.mplstyle",
    *modules("bases", "figures", "kinds", "mixes", "predictors", "promises", "rank_statistics"),
    "largek/common.py",
    "largek/quick.py",
]
CAPTIONS = sorted(
    str(path.relative_to(workflow.basedir)) for path in Path(workflow.basedir).glob("workflow/report/*.rst")
)


def table(name, label=""):
    """A table of the study, shown in the report."""
    caption, labels = f"../report/{name}.rst", {"table": label or name}
    return report(f"<study>/tables/{name}.csv", caption=caption, category="Tables", labels=labels)


def figure(name, label):
    """A figure of the study, shown in the report."""
    own = f"{name}_figure.rst"  # where the table of that name has a caption too
    caption = f"../report/{own if f'workflow/report/{own}' in CAPTIONS else f'{name}.rst'}"
    return report(f"<study>/figures/{name}.png", caption=caption, category="Figures", labels={"figure": label})


def tables_of(name):
    """The input of a figure by the option that takes it."""
    tables = PLOTS[name][1].items()
    return {o: collected(f"{t}.parquet") if o == "bases" else f"<study>/tables/{t}.csv" for o, t in tables}


def options_of_plot(wildcards, input):
    """The options of a figure's program, in the order of PLOTS."""
    words = []
    for option, path in input.items():
        if option not in ("script", "style"):
            words += [f"--{option.replace('_', '-')}", *(bases(wildcards, input) if option == "bases" else [path])]
    return words


def powers_of_two(n):
    """The k that pass@k is shown for: powers of two up to n, and n."""
    return ",".join(map(str, sorted({n, *(2**i for i in range(n.bit_length()))})))


def lease(stage):
    """What stands before a command that uses the GPUs of its stage."""
    return ["python", "workflow/scripts/lease_gpus.py", "--gpus", GPUS[stage], "--"] if GPUS[stage] else []


def training(stage):
    """The program of a training: one process for each of its GPUs."""
    several = ["torchrun", "--standalone", "--nproc-per-node", GPUS[stage]]
    return [*lease(stage), *(several if GPUS[stage] > 1 else ["python"])]


def cell(column):
    """A column of the sheet, for the run of a job. For 5,000 jobs it saves two seconds of planning against `lookup`."""

    def of_run(wildcards):
        return [RUNS.at[wildcards.run, column]]  # a list, as `lookup` gave: a param of another type is a changed param

    return of_run


def start_of_run(wildcards):
    """The model that RL starts from."""
    return f"<results>/models/{'base' if wildcards.run == 'base' else f'sft/{wildcards.run}'}/model"


def tuned_of_average(wildcards):
    """The fine-tuned model of a run that is an average."""
    return f"<results>/models/sft/{RUNS.at[wildcards.run, 'average_of']}/model"


def as_json(value):
    """A param that may hold `{problem}`: given by a function it is not searched for wildcards."""

    def of_job(wildcards):
        return json.dumps(value)

    return of_job


wildcard_constraints:
    run="[a-z0-9][a-z0-9.-]*",
    seed="[0-9]+",
    block="[0-9]+",
    base_model="[0-9]+",
    model=r"base|sft/[a-z0-9.-]+|grpo/[a-z0-9.-]+/(seed|coin)-[0-9]+(/steps-[0-9]+)?",
