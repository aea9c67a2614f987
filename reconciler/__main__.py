"""Lets `python -m reconciler` be the `gitstead` program; calls `cli` and nothing else."""

from reconciler.cli import main

main(prog_name="gitstead")
