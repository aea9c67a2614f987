"""Text in, values out: YAML to desired state. No I/O."""
