"""A Keras callback that watches a number which no epoch reports."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Constant, Group, Name, Value
from stethoscope.facts.old_keras import is_before_renaming
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_CALLBACKS = ("EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint")
_OTHER = {"val_acc": "val_accuracy", "acc": "accuracy", "val_accuracy": "val_acc", "accuracy": "acc"}


class MonitoredMetricMissing(Rule):
    """A Keras callback watches a number that is never reported, so it never acts.

    ## What it sees
    `EarlyStopping`, `ReduceLROnPlateau` or `ModelCheckpoint(save_best_only=True)` given to a `fit` without validation
    data while it watches `val_...`; or one that watches `val_acc` where the model is compiled with `"accuracy"`.
    ## Why it hurts
    Keras prints a warning among the progress bars and goes on: training never stops early, the rate never falls, and
    the best model is never saved. What is loaded afterwards is an older file, or none.
    ## How to fix it
    Give `fit` validation data, and watch a number by the name under which it is reported.
    ## When it is not a fault
    Keras before 2.3 reported `"accuracy"` as `acc`, and so did TensorFlow 1. Where a file calls what these had, nothing
    is said; where nothing tells that its version is newer, it is only possible. So it is where a callback or a
    `train_step` of the project's own may report the number.
    ## Sources
    Keras documentation, `EarlyStopping`; release notes of Keras 2.3: "metrics and losses are now reported under the
    exact name specified by the user".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the callbacks of each `fit`."""
        if not file.says(*_CALLBACKS):
            return
        told = set()
        for fit in file.calls_of(".fit"):
            for callback in _callbacks(file, fit):
                watched = _watched(file, callback)
                if watched is None or callback.number in told:
                    continue
                validates = fit.keyword("validation_data") or fit.keyword("validation_split") or fit.argument(5)
                if watched.startswith("val_") and validates is None and not fit.is_open:
                    told.add(callback.number)
                    yield self._read(file, callback, fit, watched, "", fit, is_open=_reports_its_own(file, fit))
                elif watched in _OTHER:
                    compiled = _compiled(file, fit)
                    names = _metrics(file, compiled) if compiled is not None else None
                    right = _OTHER[watched]
                    if right.endswith("accuracy") and is_before_renaming(file):
                        continue
                    if compiled is not None and names is not None and right.removeprefix("val_") in names and (
                        watched.removeprefix("val_") not in names
                    ):  # fmt: skip
                        told.add(callback.number)
                        yield self._read(file, callback, fit, watched, right, compiled)

    def _read(
        self, file: Code, callback: Call, fit: Call, watched: str, right: str, why: Call, *, is_open: bool = False
    ) -> Finding:
        kind = callback.name.rpartition(".")[2]
        if right:
            cause = f"The model reports that number as `{right}`: `{kind}` finds no `{watched}`, and does nothing."
            fix = "Watch it by its name:\n" + code(f'{kind}(monitor="{right}")')
            words = "names the metric"
        else:
            cause = f"`fit` gets no validation data, so there is no `{watched}`, and `{kind}` does nothing."
            fix = "Hold some data back:\n" + code("model.fit(x, y, validation_split=0.2, callbacks=[...])")
            words = "has no validation data"
        return self.finding(
            fitting(f"`{kind}` watches `{watched}`, which is never reported", f"`{watched}` is never reported"),
            sureness=Sureness.POSSIBLE if is_open else _how_sure(file, right),
            place=place_in(file, callback.at),
            evidence=[Evidence(f"epochs of `fit` on {line_of(file, fit.at)} that report `{watched}`", 0, "all")],
            cause=cause,
            fixes=[fix],
            unless="Keras is older than 2.3." if right else "",
            chain=[Link(place_in(file, callback.at), "the callback is made"), Link(place_in(file, why.at), words)],
        )

    bad_code = {
        "no validation data": """
            import keras
            from keras.layers import Dense

            def train(x, y):
                model = keras.Sequential([Dense(8, activation="relu"), Dense(1)])
                model.compile("adam", "mse")
                stop = keras.callbacks.EarlyStopping(patience=3)  # bad
                model.fit(x, y, epochs=10, callbacks=[stop])
            """,
        "by another name": """
            from tensorflow import keras
            from tensorflow.keras.callbacks import ModelCheckpoint

            def train(model, x, y):
                model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
                best = ModelCheckpoint("best.keras", monitor="val_acc", save_best_only=True)  # bad
                model.fit(x, y, validation_split=0.2, callbacks=[best])
            """,
    }
    good_code = {
        "reported": """
            from tensorflow import keras
            from tensorflow.keras.callbacks import EarlyStopping, ModelCheckpoint

            def train(model, x, y):
                model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
                callbacks = [EarlyStopping(monitor="val_accuracy"), EarlyStopping(monitor="val_loss")]
                model.fit(x, y, validation_split=0.2, callbacks=callbacks)
                every = ModelCheckpoint("last.keras")
                model.fit(x, y, callbacks=[every, EarlyStopping(monitor="loss")])
                model.fit(x, y, 32, 10, 1, callbacks, 0.1)
            """,
        "a Keras that reported it so": """
            from keras.callbacks import ModelCheckpoint
            from keras.layers import Dense
            from keras.models import Sequential

            def train(x, y):
                model = Sequential()
                model.add(Dense(12, input_dim=8, init="uniform", activation="relu"))
                model.add(Dense(1, init="uniform", activation="sigmoid"))
                model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
                best = ModelCheckpoint("best.h5", monitor="val_acc", save_best_only=True)
                model.fit(x, y, validation_split=0.33, nb_epoch=150, callbacks=[best])
            """,
        "not known": """
            from tensorflow import keras
            from tensorflow.keras.callbacks import EarlyStopping

            def train(model, x, y, metrics, options):
                model.compile("adam", "binary_crossentropy", metrics=metrics)
                model.fit(x, y, validation_split=0.2, callbacks=[EarlyStopping(monitor="val_acc")])
                model.fit(x, y, callbacks=[EarlyStopping()], **options)
            """,
    }


def _how_sure(file: Code, right: str) -> Sureness:
    """Certain without validation data; with another name it hangs on the version, which `acc` itself does not."""
    if not right:
        return Sureness.CERTAIN
    is_told = not right.endswith("accuracy") or is_before_renaming(file) is False
    return Sureness.LIKELY if is_told else Sureness.POSSIBLE


_LIBRARIES = ("keras.", "tensorflow.", "wandb.", "tqdm.", "mlflow.", "neptune.", "comet_ml.")


def _reports_its_own(file: Code, fit: Call) -> bool:
    """Whether a model or another callback of the project may report numbers by names of its own."""
    given, _ = followed(file, fit.keyword("callbacks"))
    made = [followed(file, one)[0] for one in (given.items if isinstance(given, Group) else ())]
    own = any(not isinstance(one, Call) or not one.name.startswith(_LIBRARIES) for one in made)
    return own or file.says("def train_step(", ".add_metric(")


def _callbacks(file: Code, fit: Call) -> Iterator[Call]:
    """The callbacks of Keras that a `fit` is given, in a list."""
    given, _ = followed(file, fit.keyword("callbacks"))
    for one in given.items if isinstance(given, Group) and given.kind in ("list", "tuple") else (given,):
        made, _ = followed(file, one)
        if isinstance(made, Call) and made.name.startswith("keras.callbacks.") and made.name.endswith(_CALLBACKS):
            yield made


def _watched(file: Code, callback: Call) -> str | None:
    """What a callback watches; None where that is not known, or it acts anyway."""
    if callback.is_open:
        return None
    if callback.name.endswith("ModelCheckpoint"):
        if literal(file, callback.keyword("save_best_only")) is not True:
            return None
        value = callback.argument(1, "monitor")
    else:
        value = callback.argument(0, "monitor")
    if value is None:
        return "val_loss"
    found = literal(file, value)
    return found if isinstance(found, str) else None


def _compiled(file: Code, fit: Call) -> Call | None:
    """The call that compiled the model which is fitted, the last before."""
    found = None
    for call in file.calls_of(".compile"):
        first, second = call.receiver, fit.receiver
        same = isinstance(first, Name) and isinstance(second, Name) and first.binding == second.binding != NOWHERE
        if same and call.number < fit.number:
            found = call
    return found


def _metrics(file: Code, compiled: Call) -> list[str] | None:
    """The names of the metrics of a compiled model; None where one is not known."""
    given, _ = followed(file, compiled.keyword("metrics"))
    items: tuple[Value, ...] = given.items if isinstance(given, Group) else ()
    if isinstance(given, Constant):
        items = (given,)
    names = [literal(file, one) for one in items]
    known = [name for name in names if isinstance(name, str)]
    return known if items and len(known) == len(names) and not compiled.is_open else None
