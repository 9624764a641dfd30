"""Warm kernels: a kernel is forked from a process that has the imports behind it.

A client (JupyterLab, papermill, nbclient) asks its kernel provisioner (`provisioner`, `launch`) for a kernel.
That finds or starts (`client`) the nursery of its environment (`environment`), a process that has imported
the heavy packages (`preload`) and forks a kernel for each request (`nursery`, `child`).
"""
