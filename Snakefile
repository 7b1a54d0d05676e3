"""Which SFT checkpoint should go into RL? The study, in the order in which it runs."""

from snakemake.utils import min_version

min_version("9.27")

# A study is one complete config file; without --configfile it is the laptop study.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


pathvars:
    results=f"results/{config.get('study', 'unnamed')}",


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"  # reads and validates the config and the sheet of runs
include: "workflow/rules/data.smk"  # make_problems, select_mix
include: "workflow/rules/train.smk"  # pretrain_base, train_sft, import_checkpoint, train_grpo
include: "workflow/rules/evaluate.smk"  # measure_loss, sample, grade, estimate_passk, collect, check_guessing
include: "workflow/rules/analyze.smk"  # tabulate, analyze*, judge_*, estimate_*, plot_*, report


rule figures:
    """All that follows from what was collected: `make figures` makes it again for the published results."""
    input:
        expand("<results>/tables/{name}.csv", name=[*TABLES, "passk"]),
        expand("<results>/figures/{name}.png", name=FIGURES),


rule all:
    default_target: True
    input:
        "<results>/report.html",
        expand("<results>/passk/{model}.csv", model=MODELS),
