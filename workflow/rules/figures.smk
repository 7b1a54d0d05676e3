"""The figures, from the tables, and the report. They take seconds: on a cluster they are no jobs of their own.

in:  <study>/tables/, metrics.parquet of every base model
out: <study>/figures/{name}.png
     <study>/report.html
"""

# The figures in the order of the report: the program is plot_{name}.py; what it shows, and the tables that it takes, by
# the name of its option. The caption is {name}_figure.rst where a table has the caption {name}.rst.
PLOTS = {
    "sft_vs_rl": ("score after RL against score before", {"models": "models", "over_promise": "over_promise"}),
    "over_promise": (
        "over-promise by kind of data",
        {"models": "models", "over_promise": "over_promise", "verdicts": "verdicts"},
    ),
    "steps": ("what predicts, as RL goes on", {"predictors": "predictors"}),
    "correlation": ("what predicts, as k grows", {"predictors": "predictors"}),
    "predictors": ("all predictors", {"predictors": "predictors"}),
    "regret": ("regret against RL compute", {"regret": "regret"}),
    "scores": ("scores and losses of every recipe", {"models": "models"}),
    "passk": ("pass@k before and after RL", {"passk": "passk", "models": "models"}),
    "training": ("RL step by step", {"bases": "metrics", "models": "models"}),
    "paper": (
        "the paper's points beside this study's",
        {"paper": "paper_over_promise", "models": "models", "over_promise": "over_promise"},
    ),
    "map": ("where the score before RL misleads", {"map": "map"}),
}
FIGURES = [name for name in PLOTS if name != "map" or EXAMPLES_SEEN]

for number, (name, (title, _)) in enumerate(PLOTS.items(), start=1):

    rule:
        name:
            f"plot_{name}"
        input:
            **tables_of(name),
            script=f"workflow/scripts/plot_{name}.py",
            style=FIGURE_FILES,
        output:
            figure(name, f"{number}. {title}"),
        log:
            f"<study>/figures/{name}.log",
        localrule: True
        params:
            options=options_of_plot,
        shell:
            r"""
            python {input.script:q} {params.options:q} --output {output:q} 2>&1 | tee {log:q}
            """


rule report:
    """The main figure and what was found; figures and tables with captions, run times, the graph (Snakemake's report)."""
    input:
        script="workflow/scripts/report.py",
        shared=modules("bases", "configs", "kinds", "mixes", "predictors", "study", "summary"),
        largek="largek/common.py",
        captions=CAPTIONS,
        stylesheet="workflow/report/report.css",
        tables=[
            *expand("<study>/tables/{name}.csv", name=TABLES),
            *of_each_base("tables/guessing.csv"),
        ],
        figures=expand("<study>/figures/{name}.png", name=FIGURES),
    output:
        "<study>/report.html",
    log:
        "<study>/report.log",
    localrule: True
    params:
        config=as_json(config),
        study=subpath(output[0], parent=True),
    shell:
        r"""
        python {input.script:q} \
            --config {params.config:q} \
            --targets {input.tables:q} {input.figures:q} \
            --tables {params.study:q}/tables \
            --figure {params.study:q}/figures/sft_vs_rl.png \
            --stylesheet {input.stylesheet:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """
