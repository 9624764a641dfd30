"""Which samples these are, whatever their order and whatever was made of their inputs."""

import hashlib

import numpy as np


def digest_samples(ids: np.ndarray, targets: np.ndarray) -> str:
    """Return a hex identity of samples by their ids and what is true of them.

    Args:
        ids: (n,) str.
        targets: (n,) or (n, k) numbers.
    """
    order = np.argsort(ids, kind="stable")
    digest = hashlib.sha256("\0".join(np.asarray(ids)[order].tolist()).encode())
    digest.update(np.asarray(targets, np.float64).reshape(len(ids), -1)[order].tobytes())
    return digest.hexdigest()
