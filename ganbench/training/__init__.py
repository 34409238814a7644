"""Training: the measured iteration fed with real data, from the first epoch to a picture of what was learned."""
