"""Measuring: the timing loop, the worker process that runs it, and the rounds of workers."""
