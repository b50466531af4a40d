"""Faults put into fresh packages that nothing was said of: losses, each beside a healthy twin."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import how_sure
from stethoscope.rules.loop.loss_detached import LossDetached
from stethoscope.rules.loss.loss_arguments_swapped import LossArgumentsSwapped

SWAPPED: dict[str, tuple[str, str, str]] = {
    "an answer called `out`": (
        """
        class Net(Base):
            def training_step(self, batch, batch_idx):
                x = torch.cat([x for x, y, _ in batch])
                y = torch.cat([y for x, y, _ in batch])
                out = self.model(x)
                return F.cross_entropy(out, y)
        """,
        "cross_entropy(out, y)",
        "cross_entropy(y, out)",
    ),
    "an answer of the module itself, in parts": (
        """
        class Net(Base):
            def training_step(self, batch, batch_idx):
                seq, class_targets, _ = batch
                outs = self(seq)
                return F.cross_entropy(outs[0].squeeze(1), class_targets)
        """,
        "cross_entropy(outs[0].squeeze(1), class_targets)",
        "cross_entropy(class_targets, outs[0].squeeze(1))",
    ),
    "lists of answers and of targets": (
        """
        class Net(Base):
            def training_step(self, parts, batch_idx):
                self.classifier = self.model[1]
                said = [self.classifier(x) for x, _ in parts]
                targets = [y for _, y in parts]
                return sum(F.cross_entropy(said[i], targets[i]) for i in range(len(parts)))
        """,
        "cross_entropy(said[i], targets[i])",
        "cross_entropy(targets[i], said[i])",
    ),
    "a field of the batch": (
        """
        class Trainer:
            def criterion(self, preds, batch):
                return F.cross_entropy(preds, batch["cls"], reduction="sum") / self.args.nbs
        """,
        'cross_entropy(preds, batch["cls"]',
        'cross_entropy(batch["cls"], preds',
    ),
    "positions": (
        """
        def logits_to_loss(start_logits, labels):
            start_position = labels[:, 0, 0]
            start_logits = start_logits.squeeze(-1)
            criterion = nn.CrossEntropyLoss()
            return criterion(start_logits, start_position)
        """,
        "criterion(start_logits, start_position)",
        "criterion(start_position, start_logits)",
    ),
    "scores that a method scales": (
        """
        class Head(nn.Module):
            def temperature_scale(self, logits):
                return logits / self.temperature

            def calibrate(self, logits, positions):
                criterion = nn.CrossEntropyLoss()
                return criterion(self.temperature_scale(logits), positions.to(logits.device))
        """,
        "criterion(self.temperature_scale(logits), positions.to(logits.device))",
        "criterion(positions.to(logits.device), self.temperature_scale(logits))",
    ),
    "distances that are computed of an answer": (
        """
        class Codec(nn.Module):
            def __init__(self, context_model):
                super().__init__()
                self.context_model = context_model

            def loss(self, inputs, code, labels):
                outs = self.context_model(inputs)[0]
                dist = -(outs.pow(2).sum(2, keepdim=True) - 2 * outs @ code)
                return F.cross_entropy(dist.transpose(1, 2), labels)
        """,
        "cross_entropy(dist.transpose(1, 2), labels)",
        "cross_entropy(labels, dist.transpose(1, 2))",
    ),
    "a part of an argument with a name of its own": (
        """
        class Codec(Base):
            def loss(self, enc_out, ppg):
                logits = self.ppg_head(enc_out)
                ppg = ppg[:, ::2]
                return F.cross_entropy(logits, ppg)
        """,
        "cross_entropy(logits, ppg)",
        "cross_entropy(ppg, logits)",
    ),
    "one axis, and what one of two layers gives": (
        """
        class Decoder(Base):
            def forward(self, hidden, ys):
                ys_out_pad = pad_list([torch.cat([y, self.eos]) for y in ys], -1)
                y_all = self.output(hidden)
                return F.cross_entropy(y_all, ys_out_pad.view(-1))
        """,
        "cross_entropy(y_all, ys_out_pad.view(-1))",
        "cross_entropy(ys_out_pad.view(-1), y_all)",
    ),
    "a function of the project that reshapes": (
        """
        reshape = lambda x, *args: x.reshape(*args)

        def loss(Y_hat, Y):
            Y_hat = reshape(Y_hat, (-1, Y_hat.shape[-1]))
            Y = reshape(Y, (-1,))
            return F.cross_entropy(Y_hat, Y)
        """,
        "cross_entropy(Y_hat, Y)",
        "cross_entropy(Y, Y_hat)",
    ),
    "arguments of a loss of one's own": (
        """
        class Focal(nn.Module):
            def forward(self, inputs, targets):
                ce = F.cross_entropy(inputs, targets, reduction="none")
                return ((1 - torch.exp(-ce)) ** 2 * ce).mean()
        """,
        "cross_entropy(inputs, targets",
        "cross_entropy(targets, inputs",
    ),
}
UNSAID = {
    "labels that a method makes": """
        class Net(Base):
            def step(self, batch):
                return F.cross_entropy(batch["label_scores"], self.label_fn(batch["y"]))
        """,
    "what a student says, beside the logits of a teacher": """
        class Net(Base):
            def step(self, student, x):
                teacher_logits = self.teacher(x)
                return F.cross_entropy(student, teacher_logits)
        """,
    "distances, and logits that are their target": """
        class Net(Base):
            def step(self, sims, x):
                logits = self.head(x)
                return F.cross_entropy(sims, logits)
        """,
}
DETACHED: dict[str, tuple[str, str, str]] = {
    "scaled behind the cut": (
        """
        def train(model, loader, optimizer, config):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                loss = loss * (1 / config.accumulate_step)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        """,
        "(model(x), y)\n",
        "(model(x), y).detach()\n",
    ),
    "in one of two branches": (
        """
        def train(model, loader, optimizer, config):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                many = 1
                if config.auxiliary:
                    loss = loss + model.auxiliary(x).mean()
                    many += 1
                loss /= many
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        """,
        "(model(x), y)\n",
        "(model(x), y).detach()\n",
    ),
    "where an input is asked for gradients": (
        """
        def train(model, loader, optimizer):
            for x, y in loader:
                x.requires_grad_()
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
        """,
        "(model(x), y)\n",
        "(model(x), y).detach()\n",
    ),
    "where a total is not": (
        """
        def train(model, loader, optimizer):
            total = torch.tensor(0.0, requires_grad=False)
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
        """,
        "(model(x), y)\n",
        "(model(x), y).detach()\n",
    ),
}
UNCUT = {
    "scaled by a learned number": """
        def train(model, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                loss = model.log_alpha * F.mse_loss(model(x), y).detach()
                loss.backward()
                optimizer.step()
        """,
    "weighing what has a graph": """
        def train(model, loader, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y).detach() * model.log_prob(x)
                loss.backward()
                optimizer.step()
        """,
    "a number that is kept behind the step": """
        def train(model, loader, optimizer, every):
            loss = torch.zeros(1)
            for i, (x, y) in enumerate(loader):
                loss = loss + F.mse_loss(model(x), y)
                if i % every == 0:
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    loss = loss.detach()
        """,
    "asked for gradients again": """
        def train(model, loader, optimizer, config):
            for x, y in loader:
                loss = F.mse_loss(model(x), y).detach()
                loss.requires_grad_()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        """,
}


@pytest.mark.parametrize("name", SWAPPED)
def test_swapped_arguments_are_possible_and_their_twin_is_silent(name: str) -> None:
    text, healthy, faulty = SWAPPED[name]
    text = textwrap.dedent(text)
    assert healthy in text
    assert how_sure(LossArgumentsSwapped, text) < 0 <= how_sure(LossArgumentsSwapped, text.replace(healthy, faulty))


@pytest.mark.parametrize("name", UNSAID)
def test_names_that_may_be_meant_say_nothing(name: str) -> None:
    assert how_sure(LossArgumentsSwapped, textwrap.dedent(UNSAID[name])) < 0


@pytest.mark.parametrize("name", DETACHED)
def test_a_loss_cut_off_is_seen_and_its_twin_is_silent(name: str) -> None:
    text, healthy, faulty = DETACHED[name]
    text = textwrap.dedent(text)
    assert healthy in text
    assert how_sure(LossDetached, text) < 0 <= how_sure(LossDetached, text.replace(healthy, faulty))


@pytest.mark.parametrize("name", UNCUT)
def test_what_still_has_a_graph_is_not_cut_off(name: str) -> None:
    assert how_sure(LossDetached, textwrap.dedent(UNCUT[name])) < 0
