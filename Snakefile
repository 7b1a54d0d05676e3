"""Which SFT checkpoint should go into RL? The study, in the order in which it runs."""

from snakemake.utils import min_version

min_version("9.27")

# A study is one config file, perhaps over another that it extends; without --configfile it is the laptop study.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/config.smk"  # the config, complete where its file extends another


# <study> holds what is made of all base models; <results> what is made of each, where there are several in a folder each.
pathvars:
    study=f"results/{config.get('study', 'unnamed')}",
    results=(
        f"results/{config.get('study', 'unnamed')}"
        if "base_seeds" not in config
        else f"results/{config.get('study', 'unnamed')}/base-{{base_model}}"
    ),


# With --sdm apptainer jobs run in this image, made from the Dockerfile; without it where Snakemake is installed.
container: "quagmires.sif"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"  # validates the config, reads the sheet of runs
include: "workflow/rules/data.smk"  # make_problems, select_mix
include: "workflow/rules/train.smk"  # pretrain_base, train_sft, average_weights, import_checkpoint, train_grpo
include: "workflow/rules/measure.smk"  # measure_loss, sample
include: "workflow/rules/evaluate.smk"  # grade, estimate_passk, collect, check_guessing
include: "workflow/rules/tables.smk"  # tabulate_scores, analyze*, judge_*, estimate_*, ...
include: "workflow/rules/figures.smk"  # plot_*, report


rule figures:
    """All that follows from what was collected: `make figures` makes it again for the published results."""
    input:
        expand("<study>/tables/{name}.csv", name=[*TABLES, "passk"]),
        expand("<study>/figures/{name}.png", name=FIGURES),


rule all:
    default_target: True
    input:
        "<study>/report.html",
        # every k of every model; of several base models tables/passk.csv has the powers of two
        expand("<results>/passk/{model}.csv", model=["base", *SFT, *GRPO] if "base_seeds" not in config else []),
