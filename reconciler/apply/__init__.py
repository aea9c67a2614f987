"""Carries out a plan's operations and runs jobs; decides nothing."""
