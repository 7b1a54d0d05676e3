"""Tables of what was found, from what was collected. Nothing here needs a model.

in:  {counts.parquet, records.parquet, metrics.parquet} of every base model
     workflow/resources/paper_points.csv
out: <study>/tables/{models, passk, predictors, forecast, regret, rewards, over_promise, inversions, verdicts, paper,
                       paper_over_promise}.csv, and map.csv where base models have seen unlike amounts of data
"""

TABLES = ["models", "predictors", "forecast", "regret", "rewards", "over_promise", "inversions", "verdicts", "paper"]
TABLES += ["paper_over_promise", *(["map"] if EXAMPLES_SEEN else [])]

LINEAGE_FILES = modules("bases", "lineages", "predictors", "rank_statistics")
HYPOTHESIS_FILES = [*LINEAGE_FILES, *modules("hypotheses", "kinds", "mixes", "promises")]


rule tabulate_scores:
    """The scores of every model."""
    input:
        script="workflow/scripts/tabulate_scores.py",
        shared=modules("bases", "mixes", "study"),
        largek=PASSK_FILES,
        runs=config["runs"],
        counts=collected("counts.parquet"),
        records=collected("records.parquet"),
    output:
        models=table("models"),
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
        shared=[*LINEAGE_FILES, *modules("half_splits")],
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
        counts=collected("counts.parquet"),
        metrics=collected("metrics.parquet"),
    output:
        table("predictors"),
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
        shared=LINEAGE_FILES,
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
        counts=collected("counts.parquet"),
        metrics=collected("metrics.parquet"),
    output:
        table("forecast", "forecasts of the score after RL"),
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
        table("regret", "regret against RL compute"),
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
        shared=modules("bases", "rank_statistics"),
        largek="largek/common.py",
        models="<study>/tables/models.csv",
    output:
        table("rewards", "coin-flip and verifier's reward"),
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
        shared=modules("bases", "mixes", "promises"),
        largek="largek/common.py",
        models="<study>/tables/models.csv",
        counts=collected("counts.parquet"),
    output:
        over_promise=table("over_promise", "over-promise of runs"),
        inversions=table("inversions"),
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
        shared=HYPOTHESIS_FILES,
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
    output:
        table("verdicts"),
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
        shared=HYPOTHESIS_FILES,
        largek=PASSK_FILES,
        models="<study>/tables/models.csv",
    output:
        table("map", "where the score before RL misleads"),
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
        shared=modules("bases", "half_splits", "mixes", "promises", "rank_statistics"),
        largek=["largek/common.py", "largek/passk.py"],
        points="workflow/resources/paper_points.csv",
    output:
        paper=table("paper", "the paper's own points"),
        over_promise=table("paper_over_promise", "over-promise of the paper's points"),
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
