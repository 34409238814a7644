"""How a number is earned: the engine, the worker that runs it, and the rounds of workers."""
