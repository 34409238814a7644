"""The built-in backends, one file per framework, found through the entry points ``ganbench.backends``."""
