"""Checksums over all that a training script leaves behind, printed; the programs beside it end with them."""

import hashlib
import random
import struct
from collections.abc import Iterable, Mapping

import numpy as np
import torch


def seed_everything(seed):
    """Seed torch, numpy and random."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def print_fingerprints(*, models=(), optimizers=(), losses=(), outputs=()):
    """Print a line for each part of the state: two runs that print the same are the same to the last bit."""
    parts = {
        "weights": [model.state_dict() for model in models],
        "gradients": [[p.grad for p in model.parameters()] for model in models],
        "modes": [[(name, m.training) for name, m in model.named_modules()] for model in models],
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "losses": losses,
        "outputs": outputs,
        "torch random state": torch.get_rng_state(),
        "numpy random state": np.random.get_state(),
        "python random state": random.getstate(),
        "settings": [torch.is_grad_enabled(), torch.get_num_threads(), str(torch.get_default_dtype())],
    }
    for name, part in parts.items():
        digest = hashlib.sha256()
        for piece in _bytes_of(part):
            digest.update(piece)
        print(f"{name}: {digest.hexdigest()}")


def _bytes_of(thing):
    if isinstance(thing, torch.Tensor):
        array = thing.detach().contiguous()
        yield f"{array.dtype} {tuple(array.shape)}".encode()
        yield array.view(torch.uint8).numpy().tobytes() if array.dim() else struct.pack("d", array.item())
    elif isinstance(thing, np.ndarray):
        yield thing.tobytes()
    elif isinstance(thing, float):
        yield struct.pack("d", thing)
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield repr(key).encode()
            yield from _bytes_of(value)
    elif isinstance(thing, Iterable) and not isinstance(thing, str | bytes):
        for each in thing:
            yield from _bytes_of(each)
    else:
        yield repr(thing).encode()
