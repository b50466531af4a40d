"""The training loops whose cost of being listened to is measured at each door: one small model, fed from a tape.

Each function builds its model anew and trains through its door until the tape says that it is enough.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

BATCH, FEATURES, CLASSES = 64, 64, 10
TEXTS, TOKENS = 16, 32
"""Of a batch of texts: so few that an opening of a thousand steps takes seconds."""
RATE = 1e-4
UNTIMED = 3
"""Steps at the beginning of a stretch: Python's caches, and steps that began before it."""


class Enough(Exception):
    """The block is over: thrown from the data, it ends every kind of loop."""


class Clock:
    """Times stretches of steps that take turns: the training calls `tick` before each step.

    Args:
        is_warm: asked with the number of each step before the first stretch, which begins where it says yes.
        turn: called with the number of each stretch before it begins.
        stretches: how many there are.
        steps: in each.
        now: tells the CPU seconds so far, of whatever does the work.
    """

    def __init__(
        self,
        is_warm: Callable[[int], bool],
        turn: Callable[[int], object],
        stretches: int,
        steps: int,
        now: Callable[[], float] = time.thread_time,
    ) -> None:
        self._is_warm, self._turn, self._now = is_warm, turn, now
        self.times = np.empty((stretches, steps))
        """CPU seconds by stretch and step."""
        self._course = self._ticks()

    def tick(self) -> None:
        """A step begins.

        Raises:
            Enough: all stretches are over.
        """
        next(self._course)

    def _ticks(self) -> Iterator[None]:
        number = 0
        while not self._is_warm(number):
            yield
            number += 1
        for stretch, times in enumerate(self.times):
            self._turn(stretch)
            for _ in range(UNTIMED):
                yield
            marks = [self._now()]
            for _ in times:
                yield
                marks.append(self._now())
            times[:] = np.diff(marks)
        raise Enough


class Tape(IterableDataset):  # type: ignore[type-arg]
    """Batches without end for loops on torch, whose drawing is the clock's tick.

    Args:
        clock: throws `Enough` in the end.
        as_tokens: batches of texts, as a dict, instead of rows.
    """

    def __init__(self, clock: Clock, as_tokens: bool = False) -> None:
        self._clock = clock
        generator = torch.Generator().manual_seed(0)
        labels = [torch.randint(CLASSES, (BATCH,), generator=generator) for _ in range(16)]
        if as_tokens:
            texts = [torch.randint(CLASSES, (TEXTS, TOKENS), generator=generator) for _ in range(16)]
            self._batches: list[Any] = [
                {"input_ids": text, "labels": label[:TEXTS]} for text, label in zip(texts, labels, strict=True)
            ]
        else:
            rows = [torch.randn(BATCH, FEATURES, generator=generator) for _ in range(16)]
            self._batches = list(zip(rows, labels, strict=True))

    def __iter__(self) -> Iterator[Any]:
        for batch in itertools.cycle(self._batches):
            self._clock.tick()
            yield batch

    def loader(self) -> DataLoader[Any]:
        """As frameworks want it."""
        return DataLoader(self, batch_size=None)


def net() -> nn.Sequential:
    """64-256-256-10: 85 thousand parameters, as in bench/workloads.py; the smallest model is the hardest case."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, CLASSES)
    )  # fmt: skip


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """Its optimizer."""
    return torch.optim.AdamW(model.parameters(), lr=RATE)


def plain(tape: Tape) -> None:
    """A loop of one's own."""
    model = net()
    optimizer = adam(model)
    for x, y in tape.loader():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def lightning_trainer(tape: Tape) -> None:
    """Lightning's Trainer."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return adam(self)

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), tape.loader())


def lightning_fabric(tape: Tape) -> None:
    """Lightning's Fabric."""
    import lightning

    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    model = net()
    model, optimizer = fabric.setup(model, adam(model))
    for x, y in fabric.setup_dataloaders(tape.loader()):
        optimizer.zero_grad()
        fabric.backward(F.cross_entropy(model(x), y))
        optimizer.step()


def accelerate_loop(tape: Tape) -> None:
    """Accelerate; the loader is our own, since Accelerate reads one batch ahead."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = net()
    model, optimizer = accelerator.prepare(model, adam(model))
    for x, y in tape.loader():
        optimizer.zero_grad()
        accelerator.backward(F.cross_entropy(model(x), y))
        optimizer.step()


def skorch_classifier(tape: Tape) -> None:
    """skorch."""
    from skorch import NeuralNetClassifier

    classifier = NeuralNetClassifier(
        net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=RATE, max_epochs=1, train_split=None,
        iterator_train=lambda *_, **__: tape.loader(), verbose=0, classes=list(range(CLASSES)),
    )  # fmt: skip
    x, y = tape._batches[0]
    classifier.fit(x.numpy(), y.numpy())


def ignite_engine(tape: Tape) -> None:
    """Ignite."""
    from ignite.engine import create_supervised_trainer

    model = net()
    create_supervised_trainer(model, adam(model), F.cross_entropy).run(tape.loader(), max_epochs=1)


def _trainer(model: nn.Module, tape: Tape) -> None:
    from transformers import Trainer, TrainingArguments

    class Fed(Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> DataLoader[Any]:
            return tape.loader()

    arguments = TrainingArguments(
        tempfile.mkdtemp(), max_steps=1_000_000, learning_rate=RATE, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    Fed(model, arguments, train_dataset=tape).train()


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return BertForSequenceClassification(
        BertConfig(vocab_size=CLASSES, max_position_embeddings=TOKENS, num_labels=CLASSES, **sizes)
    )  # type: ignore[no-any-return]


def transformers_trainer(tape: Tape) -> None:
    """Hugging Face's Trainer with a small BERT."""
    _trainer(_bert(), tape)


def peft_lora(tape: Tape) -> None:
    """The same with LoRA adapters."""
    from peft import LoraConfig, get_peft_model

    _trainer(get_peft_model(_bert(), LoraConfig(r=8, target_modules=["query", "value", "dense"])), tape)


def keras_fit(tape: Tape) -> None:
    """Keras on torch."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(CLASSES, "softmax")]
    )  # fmt: skip
    model.compile(keras.optimizers.AdamW(RATE), "sparse_categorical_crossentropy")
    model.fit(tape.loader(), epochs=1, verbose=0)


def ddp_two_ranks(tape: Tape) -> None:
    """Distributed data parallel, in each of the processes."""
    model = nn.parallel.DistributedDataParallel(net())
    optimizer = adam(model)
    for x, y in tape.loader():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def fsdp_two_ranks(tape: Tape) -> None:
    """FSDP2, in each of the processes."""
    from torch.distributed.fsdp import fully_shard

    model = net()
    fully_shard(model)
    optimizer = adam(model)
    for x, y in tape.loader():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


LOOPS: dict[str, tuple[Callable[[Tape], None], tuple[str, ...]]] = {
    "plain_loop": (plain, ()),
    "lightning_trainer": (lightning_trainer, ("lightning",)),
    "lightning_fabric": (lightning_fabric, ("lightning",)),
    "accelerate_loop": (accelerate_loop, ("accelerate",)),
    "skorch_classifier": (skorch_classifier, ("skorch",)),
    "ignite_engine": (ignite_engine, ("ignite",)),
    "transformers_trainer": (transformers_trainer, ("transformers", "accelerate")),
    "peft_lora": (peft_lora, ("transformers", "peft")),
    "keras_fit": (keras_fit, ("keras",)),
    "ddp_two_ranks": (ddp_two_ranks, ()),
    "fsdp_two_ranks": (fsdp_two_ranks, ()),
}
"""By the names of docs/doors.md: the loop, and the packages that it needs by the names of their imports."""
READS_TOKENS = ("transformers_trainer", "peft_lora")
TWO_RANKS = ("ddp_two_ranks", "fsdp_two_ranks")


def hush() -> None:
    """No framework talks: it would be timed."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def run(name: str, tape: Tape) -> None:
    """Train through a door until the tape is at its end."""
    logging.disable(logging.CRITICAL)  # Ignite tells every exception
    try:
        LOOPS[name][0](tape)
    except Enough:
        return
    raise RuntimeError(f"{name} ended before its tape did")
