"""largek: evaluate language models at large k.

Every command is a function; shapes, units, errors and sources of formulas stand in their docstrings.

    demo      largek.demo.run            stores of real answers, to try the other commands
    sample    largek.sample.run          n answers for every problem, into a store that grows
    import    largek.imported.run        files of other tools to a store
    export    largek.export.run          a store to a log of inspect_ai
    grade     largek.grade.run           a verdict on every answer
    passk     largek.passk.run           files to a table; estimate, passk and majk work on counts;
                                         largek.budget: by tokens, and problems by difficulty
    compare   largek.compare.run         files to a table; compare, band and sign_flip_p work on counts
    coverage  largek.coverage.run        files to two tables; coverage and draw_rates work on counts
    band      largek.band.run            grades to JSONL of problems; measure and choose work on counts
    report    largek.report.run          stores to one HTML page
    loss      largek.loss.run            loss on held-out worked examples
    rank      largek.rank.run            model folders or stores to a table; rank works on counts and losses

largek.callback.LargeK measures while a trainer of transformers or TRL works.

Wrong input raises largek.common.InputError. Importing this package imports neither torch nor vllm; what needs an engine
imports it when it starts.
"""

__version__ = "0.1.0"
