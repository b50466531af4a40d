"""A comparison with NaN, which never holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Constant, Symbol, Value
from stethoscope.facts.expressions import operations_of
from stethoscope.rules.lines import place_in, quoted
from stethoscope.rules.sites import code

NAN = frozenset({"numpy.nan", "numpy.NaN", "numpy.NAN", "math.nan", "torch.nan", "pandas.NA", "pandas.NaT"})
_WORDS = re.compile(r"[=!]=|\bnan\b", re.I)


class NanComparedByEquals(Rule):
    """Missing values are looked for by `== np.nan`, which is never true.

    ## What it sees
    `==` or `!=` with `np.nan`, `math.nan`, `float("nan")`, `pd.NaT` or `pd.NA`.
    ## Why it hurts
    NaN equals nothing, itself included: the comparison is false for every value (`!=`: true), missing ones stay where
    they are, and no error says so.
    ## How to fix it
    `isna()` of pandas, `np.isnan`, `math.isnan`, `torch.isnan`.
    ## When it is not a fault
    `x != x`, which is a test for NaN; that is not reported.
    ## Sources
    IEEE 754-2019, 5.11; pandas user guide, "Working with missing data".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such comparisons."""
        if not file.says("nan", "NaN", "NAN", "pd.NA", "NaT") or not file.matches(_WORDS):
            return
        for operation in operations_of(file, "==", "!="):
            named = [one for one in operation.operands if _is_nan(one)]
            if len(named) != 1:
                continue
            other = next(one for one in operation.operands if one is not named[0])
            value = quoted(file, other, "`x`").strip("`")
            result = "false" if operation.operator == "==" else "true"
            yield self.finding(
                f"a comparison with NaN is {result} for every value",
                sureness=Sureness.CERTAIN,
                place=place_in(file, operation.at),
                evidence=[
                    Evidence("values for which it is another", 0, "the missing ones", "by IEEE 754, and for `pd.NA`")
                ],
                cause="NaN equals nothing, itself included.",
                fixes=["Ask whether it is missing:\n" + code(f"pd.isna({value})")],
            )

    on_trial = True
    bad_code = {
        "rows without an age": """
            import numpy as np
            import pandas as pd

            df = pd.read_csv("data.csv")
            missing = df[df["age"] == np.nan]  # bad
            """,
        "in a condition": """
            import math

            def clean(loss):
                if loss != math.nan:  # bad
                    return loss
                if float("nan") == loss:  # bad
                    return 0
            """,
    }
    good_code = {
        "asked": """
            import numpy as np
            import pandas as pd

            df = pd.read_csv("data.csv")
            missing = df[df["age"].isna()]
            odd = [x for x in df["age"] if x != x or x is np.nan]
            """,
        "a replacement": """
            import numpy as np

            def clean(df):
                return df.replace("?", np.nan) if df.size == 0 else df
            """,
    }


def _is_nan(value: Value) -> bool:
    if isinstance(value, Symbol):
        return value.name in NAN
    text = (
        value.arguments[0] if isinstance(value, Call) and value.name == "builtins.float" and value.arguments else None
    )
    return isinstance(text, Constant) and isinstance(text.value, str) and text.value.strip("+- ").lower() == "nan"
