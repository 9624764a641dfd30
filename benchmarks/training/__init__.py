"""The sides of benchmarks/training.py, each in a process of its own."""
