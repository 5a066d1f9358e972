"""Who computes: this process, or the worker processes of a Dask cluster; the results are the same."""

from .base import HERE, Here, Shared, Task, Workers
from .cluster import workers_at

__all__ = ["HERE", "Here", "Shared", "Task", "Workers", "workers_at"]
