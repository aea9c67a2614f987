"""Benchmarks: what Gitstead costs, each figure beside its baseline and taken in turn with it. See README.md."""
