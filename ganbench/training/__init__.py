"""Training: the measured iteration with real data, its log, its saved state, and its pictures."""
