"""Values that are written into rows of `iterrows`, which are copies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Binding, Call, Code
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class RowWritesLost(Rule):
    """Values are written into the rows that `iterrows` gives, which are copies of the table's.

    ## What it sees
    `for index, row in table.iterrows(): row["column"] = value`, where the row is used for nothing else.
    ## Why it hurts
    With columns of several types each row is a new `Series`: what is written is dropped at the end of the round,
    and the table that goes into training is the old one.
    ## How to fix it
    Compute the whole column at once, or write by `table.loc[index, "column"] = value`.
    ## When it is not a fault
    Rows that are collected, returned or handed on after they were changed. That is not reported.
    ## Sources
    pandas documentation, `DataFrame.iterrows`: "You should never modify something you are iterating over".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for rows that are written to, and go nowhere."""
        told = set()
        for binding in file.bindings if file.calls_of(".iterrows") else ():
            if not binding.name.endswith("[]") or binding.how not in ("assign", "augment"):
                continue
            rows = _rows_of(file, binding)
            if rows is None or rows in told:
                continue
            loop = file.contexts[file.bindings[rows].context]
            source, _ = followed(file, loop.value)
            if not isinstance(source, Call) or _goes_on(file, rows, binding):
                continue
            told.add(rows)
            yield self._read(file, binding, source)

    def _read(self, file: Code, binding: Binding, source: Call) -> Finding:
        row = binding.name[:-2].removesuffix(".loc").removesuffix(".at")
        table = quoted(file, source.receiver, "`table`").strip("`")
        return self.finding(
            fitting(f"`{row}` is a copy: what is written into it is lost", "what is written into a row is lost"),
            sureness=Sureness.LIKELY,
            place=place_in(file, binding.at),
            evidence=[Evidence(f"values that {line_of(file, binding.at)} changes in `{table}`", 0, "1 a round")],
            cause=f"`iterrows` gives each row as a new `Series`, and nothing brings it back into `{table}`.",
            fixes=[
                "Write into the table itself:\n" + code(f'{table}.loc[index, "column"] = value'),
                "Or compute the column at once:\n" + code(f'{table}["column"] = {table}["other"].map(change)'),
            ],
            unless="all columns are of one type, in a pandas before 3.",
            chain=[
                Link(place_in(file, source.at), "each row is a copy"),
                Link(place_in(file, binding.at), "it is written to"),
            ],
        )

    bad_code = {
        "written and dropped": """
            import pandas as pd

            df = pd.read_csv("data.csv")
            for index, row in df.iterrows():
                if row["age"] < 0:
                    row["age"] = 0  # bad
            """,
        "of a part": """
            import pandas as pd

            def clean(table):
                for _, row in table[table.age > 3].iterrows():
                    row.loc["age"] = row["age"] / 2  # bad
                return table
            """,
    }
    good_code = {
        "written into the table": """
            import pandas as pd

            df = pd.read_csv("data.csv")
            for index, row in df.iterrows():
                df.loc[index, "age"] = row["age"] / 2
            """,
        "collected": """
            import pandas as pd

            def clean(table):
                rows = []
                for _, row in table.iterrows():
                    row["age"] = row["age"] / 2
                    rows.append(row)
                return pd.DataFrame(rows)
            """,
        "put back": """
            import pandas as pd

            def clean(table):
                for index, row in table.iterrows():
                    row["age"] = row["age"] / 2
                    table.loc[index] = row
                return table
            """,
        "a table of its own": """
            import pandas as pd

            def count(table):
                counts = {}
                for _, row in table.iterrows():
                    counts[row["age"]] = 1
                    row = dict(row)
                    row["age"] = 3
                    yield row
            """,
        "used after it was changed": """
            import pandas as pd

            def show(table):
                for _, row in table.iterrows():
                    row["age"] = row["age"] * 2
                    print(f"{row['age']:3} years")
            """,
    }


def _rows_of(file: Code, binding: Binding) -> int | None:
    """The number of the loop variable of `iterrows` that an assignment writes into."""
    name = binding.name[:-2].removesuffix(".loc").removesuffix(".at").removesuffix(".iloc")
    first, last = file.functions[file.function_at(binding.context)].bindings
    around = set(file.numbers_around(binding.context))
    for number in range(last - 1, first - 1, -1):
        one = file.bindings[number]
        if one.name != name or one.order > binding.order or one.at > binding.at:
            continue
        source, _ = followed(file, one.value)
        is_row = one.how == "for" and one.item == (1,) and isinstance(source, Call) and source.name == ".iterrows"
        return number if is_row and one.context in around else None
    return None


def _goes_on(file: Code, number: int, binding: Binding) -> bool:
    """Whether a row is used after it was written to, or as a whole: what its text says behind the line decides."""
    row, loop = file.bindings[number], file.contexts[file.bindings[number].context]
    if loop.kind != "for" or row.context == NOWHERE:
        return True
    name = row.name
    for line in range(loop.at.line, loop.at.end_line + 1):
        text = file.lines[line - 1].partition("#")[0]
        if line == loop.at.line or name not in text:
            continue
        if line > binding.at.end_line or not _only_by_key(text, name):
            return True
    return False


def _only_by_key(text: str, name: str) -> bool:
    """Whether a line speaks of a row by its keys or attributes only."""
    pieces = text.split(name)
    return all(
        piece[:1] in ("[", ".") or (before[-1:].isalnum() or before[-1:] in ("_", "'", '"'))
        or piece[:1].isalnum() or piece[:1] == "_"
        for before, piece in pairwise(pieces)
    )  # fmt: skip
