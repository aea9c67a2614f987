"""One outside system each; each module is the only importer of its library."""
