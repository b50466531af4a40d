"""A table's method that gives a new table, as a statement."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Constant, Item, Name
from stethoscope.facts.expressions import is_table
from stethoscope.rules.changing import Edits
from stethoscope.rules.lines import fitting, insertion, line_of, place_in, quoted
from stethoscope.rules.sites import code

METHODS = frozenset({
    ".dropna", ".fillna", ".drop", ".drop_duplicates", ".rename", ".reset_index", ".set_index", ".sort_values",
    ".sort_index", ".replace", ".astype", ".ffill", ".bfill", ".interpolate", ".clip", ".assign",
})  # fmt: skip
"""Methods that change nothing unless they are told `inplace=True`."""


class InPlaceResultLost(Rule):
    """A method of a table gives a new table, and the result is thrown away.

    ## What it sees
    `df.dropna()`, `df.drop(...)`, `df.fillna(...)` and their like as a statement of its own, without `inplace=True`, on
    what is certainly a table of pandas.
    ## Why it hurts
    The table stays as it is: the missing values, the duplicates or the column are still there, without an error.
    ## How to fix it
    Keep the result: `df = df.dropna()`.
    ## When it is not a fault
    The last line of a notebook's cell, which shows the result; a line in `try`. Neither is reported; in a script that
    was made of a notebook it is only possible.
    ## Sources
    pandas documentation, `DataFrame.dropna` ("DataFrame with NA entries dropped from it or None if inplace=True").
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such calls whose value nobody takes."""
        for bare in file.bare:
            call = bare.value
            if not isinstance(call, Call) or call.name not in METHODS or bare.displayed:
                continue
            if call.keyword("inplace") is not None or call.is_open or not is_table(file, call.receiver):
                continue
            if any(here.kind in ("try", "with") for here in file.around(bare.context)):
                continue
            if _is_from_a_notebook(file):
                return
            table = quoted(file, call.receiver, "the table")
            yield self.finding(
                fitting(f"`{call.name[1:]}` leaves {table} as it is", f"the result of `{call.name[1:]}` is dropped"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"what takes the result on {line_of(file, call.at)}", "0 variables", "1")],
                cause=f"Without `inplace=True`, `{call.name[1:]}` returns a new table and leaves {table} as it is.",
                fixes=[
                    Fix(
                        "Keep the result:\n" + code(f"{table.strip('`')} = {file.text(call.at)}"),
                        edits=_kept(file, call),
                    )
                ],
            )

    on_trial = True
    bad_code = {
        "rows and columns": """
            import pandas as pd

            df = pd.read_csv("data.csv")
            df.dropna()  # bad
            df["age"].fillna(0)  # bad
            df = df.drop_duplicates()
            df.drop("id", axis=1)  # bad
            X = df.values
            """,
    }
    good_code = {
        "kept, or in place": """
            import pandas as pd

            df = pd.read_csv("data.csv")
            df = df.dropna()
            df.drop("id", axis=1, inplace=True)
            df.head()
            """,
        "something unknown": """
            import pandas as pd

            def clean(words, table):
                words.replace("a", "b")
                table.drop("users")
            """,
    }


def _is_from_a_notebook(file: Code) -> bool:
    """Whether a script was made of a notebook, whose cells showed such results: then variables are statements too."""
    if file.cells:
        return False
    marks = ("# In[", "#%%", "# %%", "# <codecell>", "# In [")
    return any(line.startswith(marks) for line in file.lines) or any(isinstance(bare.value, Name) for bare in file.bare)


def _kept(file: Code, call: Call) -> Edits:
    """The table, or the column, as what the result is given to."""
    table = call.receiver
    is_column = isinstance(table, Item) and isinstance(table.value, Name) and isinstance(table.key, Constant)
    if table is None or not (isinstance(table, Name) or is_column) or table.at.line != table.at.end_line:
        return ()
    return (insertion(file, call.at.line, call.at.column, f"{file.text(table.at)} = "),)
