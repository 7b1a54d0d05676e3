"""Stands for vLLM where a study is planned and nothing is run: on a machine of tests it is not installed."""
