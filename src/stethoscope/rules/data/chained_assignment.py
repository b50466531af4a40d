"""A value that is assigned to a selection of a table, which is a copy."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.attributes import variable_at
from stethoscope.facts.code import Code
from stethoscope.facts.expressions import is_table
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_SELECTING = ("", ".loc", ".iloc")


class ChainedAssignment(Rule):
    """A value is assigned through two selections of a table, and the table may not change.

    ## What it sees
    `df[a][b] = value` and `df.loc[a][b] = value` on what is certainly a table of pandas.
    ## Why it hurts
    The first selection gives another table, and the value is written into that: always so from pandas 3 on, and before
    it whenever the selection is a copy. The table that goes on keeps the old values, missing ones too.
    ## How to fix it
    One selection for both: `df.loc[a, b] = value`.
    ## When it is not a fault
    Dictionaries of tables, lists of lists, arrays: what is not certainly a table is not reported.
    ## Sources
    pandas user guide, "Copy-on-Write: Chained Assignment" and "Returning a view versus a copy".
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for assignments through two selections."""
        for number, binding in enumerate(file.bindings) if file.says("pandas", "fastai") else ():
            if not binding.name.endswith("[][]") or binding.how not in ("assign", "augment"):
                continue
            path = binding.name[:-4]
            ending = next(one for one in (".iloc", ".loc", "") if path.endswith(one))
            name = path.removesuffix(ending)
            if ending not in _SELECTING or not is_table(file, variable_at(file, name, number)):
                continue
            yield self.finding(
                "a value is assigned to a selection of a selection",
                sureness=Sureness.CERTAIN,
                place=place_in(file, binding.at),
                evidence=[Evidence(f"selections that {line_of(file, binding.at)} assigns through", 2, 1)],
                cause=f"The first selection gives another table: the value is written into that, and `{name}` may keep "
                "what it holds.",
                fixes=["Select rows and column at once:\n" + code(f"{name}.loc[rows, column] = value")],
            )

    bad_code = {
        "rows, then a column": """
            import pandas as pd

            df = pd.read_csv("data.csv")
            df[df["age"] < 0]["age"] = 0  # bad
            df["age"][df["age"] > 99] = 99  # bad
            df.loc[df["age"] > 3]["old"] = 1  # bad
            """,
    }
    good_code = {
        "at once": """
            import pandas as pd

            df = pd.read_csv("data.csv")
            df.loc[df["age"] < 0, "age"] = 0
            df["age"] = df["age"].clip(0)
            """,
        "no table": """
            import pandas as pd

            grid = [[0, 1], [2, 3]]
            grid[0][1] = 5
            tables = {"a": pd.read_csv("data.csv")}
            tables["a"]["age"] = 3

            def change(data):
                data["a"]["b"] = 3
            """,
    }
