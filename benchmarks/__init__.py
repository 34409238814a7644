"""The asv suite: thin, one file per operation, over the project's own engine."""
