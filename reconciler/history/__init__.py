"""The store: what happened, what people asked for, what builds printed."""
