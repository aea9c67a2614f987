"""Turns triggers into runs: which project is looked at when, and by whom."""
