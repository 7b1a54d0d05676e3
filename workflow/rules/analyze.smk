"""Tables, figures and the report, from what was collected. Nothing here needs a model.
Figures and the report take seconds: on a cluster they are no jobs of their own.

in:  {counts.parquet, records.parquet, metrics.parquet} of every base model, and its guessing.csv
     workflow/resources/paper_points.csv
out: <study>/tables/{models, passk, predictors, forecast, regret, rewards, over_promise, inversions, verdicts, paper,
                       paper_over_promise}.csv
     <study>/figures/{name}.png
     <study>/report.html
"""

TABLES = ["models", "predictors", "forecast", "regret", "rewards", "over_promise", "inversions", "verdicts", "paper"]
TABLES += ["paper_over_promise"]
FIGURES = ["sft_vs_rl", "over_promise", "steps", "correlation", "predictors", "regret"]
FIGURES += ["scores", "passk", "training", "paper"]
if EXAMPLES_SEEN:
    TABLES.append("map")
    FIGURES.append("map")

LINEAGE_FILES = [
    f"workflow/scripts/{name}.py" for name in ("bases", "lineages", "predictors", "rank_statistics")
]


rule tabulate_scores:
    """The scores of every model."""
    input:
        script="workflow/scripts/tabulate_scores.py",
        shared=[f"workflow/scripts/{name}.py" for name in ("bases", "lease_gpus", "mixes", "study")],
        largek=PASSK_FILES,
        runs=config["runs"],
        counts=collected("counts.parquet"),
        records=collected("records.parquet"),
    output:
        models=report(
            "<study>/tables/models.csv",
            caption="../report/models.rst",
            category="Tables",
            labels={"table": "models"},
        ),
        passk="<study>/tables/passk.csv",
    log:
        "<study>/tables/tabulate_scores.log",
    benchmark:
        "<study>/tables/tabulate_scores.benchmark.jsonl"
    params:
        bases=bases,
        tables=subpath(output.models, parent=True),
        k=",".join(map(str, config["analysis"]["k"])),
    shell:
        r"""
        python {input.script:q} \
            --bases {params.bases:q} \
            --runs {input.runs:q} \
            --k {params.k:q} \
            --tables {params.tables:q} 2>&1 | tee {log:q}
        """


rule analyze:
    """How well each pre-RL metric predicts the post-RL score."""
    input:
        script="workflow/scripts/analyze.py",
        shared=LINEAGE_FILES,
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
        counts=collected("counts.parquet"),
        metrics=collected("metrics.parquet"),
    output:
        report(
            "<study>/tables/predictors.csv",
            caption="../report/predictors.rst",
            category="Tables",
            labels={"table": "predictors"},
        ),
    log:
        "<study>/tables/analyze.log",
    benchmark:
        "<study>/tables/analyze.benchmark.jsonl"
    params:
        bases=bases,
        k=",".join(map(str, config["analysis"]["k"])),
        scopes=json.dumps(config["analysis"]["scopes"]),
        half_splits=config["analysis"]["half_splits"],
        noise=config["analysis"]["run_noise"]["after"],
    shell:
        r"""
        python {input.script:q} \
            --bases {params.bases:q} \
            --models {input.models:q} \
            --k {params.k:q} \
            --scopes {params.scopes:q} \
            --half-splits {params.half_splits:q} \
            --noise {params.noise:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule forecast_scores:
    """The score after RL forecast in points, fitted on other base models."""
    input:
        script="workflow/scripts/forecast_scores.py",
        shared=[*LINEAGE_FILES, "workflow/scripts/analyze.py"],
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
        counts=collected("counts.parquet"),
        metrics=collected("metrics.parquet"),
    output:
        report(
            "<study>/tables/forecast.csv",
            caption="../report/forecast.rst",
            category="Tables",
            labels={"table": "forecasts of the score after RL"},
        ),
    log:
        "<study>/tables/forecast_scores.log",
    benchmark:
        "<study>/tables/forecast_scores.benchmark.jsonl"
    params:
        bases=bases,
        k=",".join(map(str, config["analysis"]["k"])),
        noise=config["analysis"]["run_noise"]["after"],
    shell:
        r"""
        python {input.script:q} \
            --bases {params.bases:q} \
            --models {input.models:q} \
            --k {params.k:q} \
            --noise {params.noise:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule estimate_regret:
    """Regret against RL compute, when only the best recipes by a predictor go to RL."""
    input:
        script="workflow/scripts/estimate_regret.py",
        shared=LINEAGE_FILES,
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
        counts=collected("counts.parquet"),
        metrics=collected("metrics.parquet"),
        records=collected("records.parquet"),
    output:
        report(
            "<study>/tables/regret.csv",
            caption="../report/regret.rst",
            category="Tables",
            labels={"table": "regret against RL compute"},
        ),
    log:
        "<study>/tables/estimate_regret.log",
    benchmark:
        "<study>/tables/estimate_regret.benchmark.jsonl"
    params:
        bases=bases,
        k=",".join(map(str, config["analysis"]["k"])),
        scopes=json.dumps(config["analysis"]["scopes"]),
        noise=config["analysis"]["run_noise"]["after"],
    shell:
        r"""
        python {input.script:q} \
            --bases {params.bases:q} \
            --models {input.models:q} \
            --k {params.k:q} \
            --scopes {params.scopes:q} \
            --noise {params.noise:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule compare_rewards:
    """RL on a coin flip's reward beside RL on the verifier's: is the gain the reward's doing?"""
    input:
        script="workflow/scripts/compare_rewards.py",
        shared=["workflow/scripts/bases.py", "workflow/scripts/rank_statistics.py"],
        largek="largek/common.py",
        models="<study>/tables/models.csv",
    output:
        report(
            "<study>/tables/rewards.csv",
            caption="../report/rewards.rst",
            category="Tables",
            labels={"table": "coin-flip and verifier's reward"},
        ),
    log:
        "<study>/tables/compare_rewards.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} --models {input.models:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule estimate_over_promise:
    """Which runs promised more before RL than they kept, and which candidates changed places?"""
    input:
        script="workflow/scripts/estimate_over_promise.py",
        shared=["workflow/scripts/bases.py", "workflow/scripts/mixes.py"],
        largek="largek/common.py",
        models="<study>/tables/models.csv",
        counts=collected("counts.parquet"),
    output:
        over_promise=report(
            "<study>/tables/over_promise.csv",
            caption="../report/over_promise.rst",
            category="Tables",
            labels={"table": "over-promise of runs"},
        ),
        inversions=report(
            "<study>/tables/inversions.csv",
            caption="../report/inversions.rst",
            category="Tables",
            labels={"table": "inversions"},
        ),
    log:
        "<study>/tables/estimate_over_promise.log",
    benchmark:
        "<study>/tables/estimate_over_promise.benchmark.jsonl"
    params:
        bases=bases,
        noise=[config["analysis"]["run_noise"][when] for when in ("before", "after")],
    shell:
        r"""
        python {input.script:q} \
            --models {input.models:q} \
            --bases {params.bases:q} \
            --noise {params.noise:q} \
            --over-promise {output.over_promise:q} \
            --inversions {output.inversions:q} 2>&1 | tee {log:q}
        """


rule judge_hypotheses:
    """Do SFT scores mislead, and what predicts better? A verdict on each hypothesis, over base models."""
    input:
        script="workflow/scripts/judge_hypotheses.py",
        shared=[
            *(f"workflow/scripts/{name}.py" for name in ("estimate_over_promise", "kinds", "mixes")),
            *LINEAGE_FILES,
        ],
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
    output:
        report(
            "<study>/tables/verdicts.csv",
            caption="../report/verdicts.rst",
            category="Tables",
            labels={"table": "verdicts"},
        ),
    log:
        "<study>/tables/judge_hypotheses.log",
    benchmark:
        "<study>/tables/judge_hypotheses.benchmark.jsonl"
    params:
        noise=[config["analysis"]["run_noise"][when] for when in ("before", "after")],
        hypotheses=json.dumps(config["analysis"]["hypotheses"]),
    shell:
        r"""
        python {input.script:q} \
            --models {input.models:q} \
            --noise {params.noise:q} \
            --hypotheses {params.hypotheses:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule map_knowledge:
    """Where the score before RL misleads, by what the base model knows and the steps of RL."""
    input:
        script="workflow/scripts/map_knowledge.py",
        shared=[
            *(f"workflow/scripts/{name}.py" for name in ("judge_hypotheses", "estimate_over_promise", "kinds", "mixes")),
            *LINEAGE_FILES,
        ],
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
    output:
        report(
            "<study>/tables/map.csv",
            caption="../report/map.rst",
            category="Tables",
            labels={"table": "where the score before RL misleads"},
        ),
    log:
        "<study>/tables/map_knowledge.log",
    params:
        examples=[f"{seed}={examples}" for seed, examples in EXAMPLES_SEEN.items()],
    shell:
        r"""
        python {input.script:q} \
            --models {input.models:q} \
            --examples {params.examples:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule analyze_paper:
    """The same statistics on the points of the paper's figures."""
    input:
        script="workflow/scripts/analyze_paper.py",
        analyze=[f"workflow/scripts/{name}.py" for name in ("analyze", "estimate_over_promise", "mixes")] + LINEAGE_FILES,
        largek=["largek/common.py", "largek/passk.py"],
        points="workflow/resources/paper_points.csv",
    output:
        paper=report(
            "<study>/tables/paper.csv",
            caption="../report/paper.rst",
            category="Tables",
            labels={"table": "the paper's own points"},
        ),
        over_promise=report(
            "<study>/tables/paper_over_promise.csv",
            caption="../report/paper_over_promise.rst",
            category="Tables",
            labels={"table": "over-promise of the paper's points"},
        ),
    log:
        "<study>/tables/analyze_paper.log",
    benchmark:
        "<study>/tables/analyze_paper.benchmark.jsonl"
    params:
        half_splits=config["analysis"]["half_splits"],
    shell:
        r"""
        python {input.script:q} \
            --points {input.points:q} \
            --half-splits {params.half_splits:q} \
            --output {output.paper:q} \
            --over-promise {output.over_promise:q} 2>&1 | tee {log:q}
        """


rule plot_sft_vs_rl:
    """The score after RL against the score before it, and the over-promise of every recipe."""
    input:
        script="workflow/scripts/plot_sft_vs_rl.py",
        style=FIGURE_FILES,
        models="<study>/tables/models.csv",
        over_promise="<study>/tables/over_promise.csv",
    output:
        report(
            "<study>/figures/sft_vs_rl.png",
            caption="../report/sft_vs_rl.rst",
            category="Figures",
            labels={"figure": "1. score after RL against score before"},
        ),
    log:
        "<study>/figures/sft_vs_rl.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} \
            --models {input.models:q} \
            --over-promise {input.over_promise:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_over_promise:
    """Over-promise by kind of data, tokens seen and steps of RL."""
    input:
        script="workflow/scripts/plot_over_promise.py",
        style=FIGURE_FILES,
        models="<study>/tables/models.csv",
        over_promise="<study>/tables/over_promise.csv",
        verdicts="<study>/tables/verdicts.csv",
    output:
        report(
            "<study>/figures/over_promise.png",
            caption="../report/over_promise_figure.rst",
            category="Figures",
            labels={"figure": "2. over-promise by kind of data"},
        ),
    log:
        "<study>/figures/over_promise.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} \
            --models {input.models:q} \
            --over-promise {input.over_promise:q} \
            --verdicts {input.verdicts:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_steps:
    """What ranks the scores after RL, by the steps of RL."""
    input:
        script="workflow/scripts/plot_steps.py",
        style=FIGURE_FILES,
        predictors="<study>/tables/predictors.csv",
    output:
        report(
            "<study>/figures/steps.png",
            caption="../report/steps.rst",
            category="Figures",
            labels={"figure": "3. what predicts, as RL goes on"},
        ),
    log:
        "<study>/figures/steps.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} --predictors {input.predictors:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_correlation:
    """Rank correlation of pass@k with the score after RL, as k grows."""
    input:
        script="workflow/scripts/plot_correlation.py",
        style=FIGURE_FILES,
        predictors="<study>/tables/predictors.csv",
    output:
        report(
            "<study>/figures/correlation.png",
            caption="../report/correlation.rst",
            category="Figures",
            labels={"figure": "4. what predicts, as k grows"},
        ),
    log:
        "<study>/figures/correlation.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} --predictors {input.predictors:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_predictors:
    """All predictors compared."""
    input:
        script="workflow/scripts/plot_predictors.py",
        style=FIGURE_FILES,
        predictors="<study>/tables/predictors.csv",
    output:
        report(
            "<study>/figures/predictors.png",
            caption="../report/predictors_figure.rst",
            category="Figures",
            labels={"figure": "5. all predictors"},
        ),
    log:
        "<study>/figures/predictors.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} --predictors {input.predictors:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_regret:
    """Regret against RL compute."""
    input:
        script="workflow/scripts/plot_regret.py",
        style=FIGURE_FILES,
        regret="<study>/tables/regret.csv",
    output:
        report(
            "<study>/figures/regret.png",
            caption="../report/regret_figure.rst",
            category="Figures",
            labels={"figure": "6. regret against RL compute"},
        ),
    log:
        "<study>/figures/regret.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} --regret {input.regret:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_scores:
    """Scores and held-out losses of every recipe."""
    input:
        script="workflow/scripts/plot_scores.py",
        style=FIGURE_FILES,
        models="<study>/tables/models.csv",
    output:
        report(
            "<study>/figures/scores.png",
            caption="../report/scores.rst",
            category="Figures",
            labels={"figure": "7. scores and losses of every recipe"},
        ),
    log:
        "<study>/figures/scores.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} --models {input.models:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_passk:
    """pass@k before and after RL by kind of data."""
    input:
        script="workflow/scripts/plot_passk.py",
        style=FIGURE_FILES,
        passk="<study>/tables/passk.csv",
        models="<study>/tables/models.csv",
    output:
        report(
            "<study>/figures/passk.png",
            caption="../report/passk.rst",
            category="Figures",
            labels={"figure": "8. pass@k before and after RL"},
        ),
    log:
        "<study>/figures/passk.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} \
            --passk {input.passk:q} \
            --models {input.models:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_training:
    """Reward, entropy, groups without variance and length over the GRPO steps."""
    input:
        script="workflow/scripts/plot_training.py",
        style=FIGURE_FILES,
        metrics=collected("metrics.parquet"),
        models="<study>/tables/models.csv",
    output:
        report(
            "<study>/figures/training.png",
            caption="../report/training.rst",
            category="Figures",
            labels={"figure": "9. GRPO step by step"},
        ),
    log:
        "<study>/figures/training.log",
    localrule: True
    params:
        bases=bases,
    shell:
        r"""
        python {input.script:q} \
            --bases {params.bases:q} \
            --models {input.models:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_paper:
    """The paper's points beside this study's runs."""
    input:
        script="workflow/scripts/plot_paper.py",
        style=FIGURE_FILES,
        paper="<study>/tables/paper_over_promise.csv",
        models="<study>/tables/models.csv",
        over_promise="<study>/tables/over_promise.csv",
    output:
        report(
            "<study>/figures/paper.png",
            caption="../report/paper_figure.rst",
            category="Figures",
            labels={"figure": "10. the paper's points beside this study's"},
        ),
    log:
        "<study>/figures/paper.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} \
            --paper {input.paper:q} \
            --models {input.models:q} \
            --over-promise {input.over_promise:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


rule plot_map:
    """Where the score before RL misleads: what the base model knows against the steps of RL."""
    input:
        script="workflow/scripts/plot_map.py",
        style=FIGURE_FILES,
        map="<study>/tables/map.csv",
    output:
        report(
            "<study>/figures/map.png",
            caption="../report/map.rst",
            category="Figures",
            labels={"figure": "11. where the score before RL misleads"},
        ),
    log:
        "<study>/figures/map.log",
    localrule: True
    shell:
        r"""
        python {input.script:q} --map {input.map:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule report:
    """The main figure and what was found; figures and tables with captions, run times, the graph (Snakemake's report)."""
    input:
        script="workflow/scripts/report.py",
        shared=[f"workflow/scripts/{name}.py" for name in ("summary", "kinds", "mixes", "predictors")],
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
