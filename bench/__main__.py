"""`python -m bench`: every figure of README.md's table, each beside its baseline and taken in turn with it.

Run by `make bench`. Exit status 1 where a bound that must hold was missed.
"""

from __future__ import annotations

import argparse
import sys

from bench import building, deploying, log_store, passing
from bench.measure import Report
from bench.place import place

PARTS = ("logs", "build", "deploy", "pass", "idle")


def main() -> int:
    options = _options()
    report = Report()
    if "logs" in options.only:
        log_store.measure(report, rounds=1 if options.quick else 5)
    if set(options.only) - {"logs"}:
        _with_engine(options, report)
    report.title("Missed: " + "; ".join(report.missed) if report.missed else "Every bound holds.")
    return 1 if report.missed else 0


def _with_engine(options: argparse.Namespace, report: Report) -> None:
    with place() as here:
        if "build" in options.only:
            building.measure(here, report, rounds=3 if options.quick else 9)
        if "deploy" in options.only:
            deploying.measure(here, report, rounds=3 if options.quick else 9)
        if "pass" in options.only or "idle" in options.only:
            idle_s = (30.0 if options.quick else 60.0) if "idle" in options.only else 0.0
            rounds = (5 if options.quick else 25) if "pass" in options.only else 0
            passing.measure(here, report, sizes=options.sizes, rounds=rounds, idle_s=idle_s)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds, shorter idle time")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10, 50, 150], help="numbers of running apps")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
