"""The fleet: one plan measured on many machines, through dask.distributed. Nothing here is imported by a run."""
