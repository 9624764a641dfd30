"""The parts of benchmarks/dashboard.py: what the kernel measures, and what the browser sees."""
