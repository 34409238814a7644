"""How long a test waits for what it started, before it calls that hung."""

LIMIT_S = 600  # ten times what the slowest command of a test takes on a calm machine
