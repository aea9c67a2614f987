"""The status page: reads history, leaves requests; has no power of its own (invariant 9)."""
