"""Builds every part of a running platform and hands each what it needs; the only place that does.

`state` makes the folder and who we are, `platform` builds one reconciler, `reading` builds what the
CLI needs to look without changing anything. Called by `service` and `cli`; decides nothing about projects.
"""
