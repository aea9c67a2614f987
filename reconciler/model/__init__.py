"""Frozen values that every stage shares. Standard library only; no I/O, no clock."""
