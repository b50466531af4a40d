"""What we use of rich. It draws from Python's random numbers when it is imported, which may be in the middle of a
training: they are put back.
"""

import random

_state = random.getstate()

from rich.console import Console as Console  # noqa: E402
from rich.table import Table as Table  # noqa: E402
from rich.text import Text as Text  # noqa: E402

random.setstate(_state)
