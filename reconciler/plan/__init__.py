"""Pure decisions: desired, observed, history and now in; a plan out."""
