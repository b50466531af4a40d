"""The looks so far, in memory: thinned when they grow, since the store has them all."""

from __future__ import annotations

import numpy as np

from stethoscope.facts.training import LAYER_STATISTICS, PARAMETER_STATISTICS, Floats, Telemetry

MOST_BYTES = 24 << 20


class LookLog:
    """Statistics of the looks so far."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._layers: list[Floats] = []
        self._parameters: list[Floats] = []
        self._bytes = 0

    def add(self, step: int, layers: Floats, parameters: Floats) -> None:
        """Append a look; when all take more than 24 MiB, every second one of the older three quarters goes."""
        self._steps.append(step)
        self._layers.append(layers)
        self._parameters.append(parameters)
        self._bytes += layers.nbytes + parameters.nbytes
        if self._bytes > MOST_BYTES:
            old = slice(8, len(self._steps) * 3 // 4, 2)
            for series in (self._steps, self._layers, self._parameters):
                del series[old]
            self._bytes = sum(a.nbytes + b.nbytes for a, b in zip(self._layers, self._parameters, strict=True))

    def __len__(self) -> int:
        return len(self._steps)

    def fact(self) -> Telemetry:
        """The frozen form; layers and parameters that came later have NaN before."""
        return Telemetry(
            np.array(self._steps, np.int64),
            _padded(self._layers, len(LAYER_STATISTICS)),
            _padded(self._parameters, len(PARAMETER_STATISTICS)),
        )


def _padded(tables: list[Floats], columns: int) -> Floats:
    rows = max((table.shape[0] for table in tables), default=0)
    joined = np.full((len(tables), rows, columns), np.nan, np.float32)
    for index, table in enumerate(tables):
        joined[index, : table.shape[0]] = table
    return joined
