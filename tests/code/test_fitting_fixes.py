"""What a finding says, and which fix it offers, fits the place: each text beside one for which it says otherwise."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import code_of
from stethoscope.core.finding import Finding
from stethoscope.core.rule import Rule
from stethoscope.render.document import text_of
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch
from stethoscope.rules.loop.checkpoint_aliased import CheckpointAliased
from stethoscope.rules.loop.gradients_cleared_before_step import GradientsClearedBeforeStep
from stethoscope.rules.loop.graph_kept_alive import GraphKeptAlive
from stethoscope.rules.loop.result_dropped import ResultDropped
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.loop.validation_in_train_mode import ValidationInTrainMode
from stethoscope.rules.loss.loss_arguments_swapped import LossArgumentsSwapped
from stethoscope.rules.loss.sigmoid_before_bce_with_logits import SigmoidBeforeBceWithLogits
from stethoscope.rules.loss.softmax_before_cross_entropy import SoftmaxBeforeCrossEntropy
from stethoscope.rules.parameters.dropout_without_effect import DropoutWithoutEffect
from stethoscope.rules.parameters.layer_made_in_forward import LayerMadeInForward
from stethoscope.rules.parameters.overwritten_layer import OverwrittenLayer
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

SAMPLED = """
    from torch.utils.data import BatchSampler, DataLoader, DistributedSampler
    from tqdm import tqdm

    def loader_of(data):
        spread = DistributedSampler(data)
        return DataLoader(data, sampler=spread)

    def fit(model, data, optimizer, several):
        loader = loader_of(data)
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
"""
HERE = "spread = DistributedSampler(data)\n        loader = DataLoader(data, sampler=spread)"
SHARE = HERE.replace("(data)", "(data, 8, 0)", 1)
TORCH = "from tqdm import tqdm -> from torch import nn"
PHASES = """for phase in ("train", "eval"):
                if phase == "train":
                    model.train()
                    batches = loader
                else:
                    model.eval()
                    batches = DataLoader(data)
                for x, y in tqdm(batches):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()"""
STEPS = """for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()"""
LAYERS = """
    class Net(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.body = nn.Linear(3, 3)
            self.head = nn.Linear(3, 3)
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.body(x))
"""
TWICE = "self.head = nn.Linear(3, 3)\n            self.head = nn.Linear(3, 2)"
WRAPPED = """self.head = nn.Linear(
                3,
                {},  {}
            )
            """
ROUNDS = "for width in config:\n                self.head = nn.Linear(3, {})"
COPIES = """for _ in range(config.depth):
                head = nn.Linear(3, 2)
                self.head = nn.ModuleList([head for _ in range(config.depth)])"""
CLASSES = """
    class Net(nn.Module):
        def __init__(self, labels=5):
            super().__init__()
            self.out = nn.Linear(64, labels)
            self.softmax = nn.Softmax(dim=1)

        def forward(self, x):
            return self.softmax(self.out(x))

    model = Net(labels=2)
    for x, y in torch.load("data"):
        F.cross_entropy(model(x), y).backward()
"""
TWO_LOSSES = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(64, 5)

        def forward(self, x):
            return self.out(x).softmax(dim=1)

    model = Net()

    with torch.no_grad():
        print(F.cross_entropy(model(torch.load("x")), torch.load("y")))

    def train(x, y):
        F.cross_entropy(model(x), y).backward()
"""
BESIDE = """
    def loss_of(model, x, y):
        shares = torch.softmax(model(x), dim=1)
        return F.cross_entropy(shares, y)
"""
SIGMOID = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(64, 1)

        def forward(self, x):
            return torch.sigmoid(self.out(x))

    model = Net()
    print(F.binary_cross_entropy_with_logits(model(torch.load("x")), torch.load("y")))
"""
BARE = """
    class Net(nn.Module):
        def __init__(self, width):
            self.width = width
            self.fc = nn.Linear(3, width)
            print(width)
"""
SUMS = """
    def epoch(model, loader, optimizer):
        total, data_total, seen = 0.0, 0.0, 0.0
        for x, y in loader:
            fit = F.mse_loss(model(x), y)
            size = model(x).square().mean()
            loss = fit + 0.1 * size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss
            data_total += fit
        return total / len(loader)

    def train(model, loader, optimizer):
        for _ in range(9):
            mean = epoch(model, loader, optimizer)
            print(float(mean.to("cpu").detach()))
"""
PASSING = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(3, 3)
            self.width = 3

        def forward(self, x):
            x = nn.Linear(self.width, 2)(self.body(x))
            return x
"""
RECURRENT = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 5, dropout=0.3)

        def forward(self, x):
            outputs, _ = self.rnn(x)
            return outputs
"""
BLOCK = """class Block(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.conv = nn.Linear(size, 2)

        def forward(self, x):
            return self.conv(x)

    class Net("""
TWO_BLOCKS = BLOCK.replace("class Net(", "") + BLOCK.replace("Block(", "Other(")
CHAINED = "nn.Sequential(nn.Linear(3, 2), nn.Tanh())"
LISTED = """
    class Net(nn.Module):
        def __init__(self, width, out, config):
            super().__init__()
            self.steps = []
            for _ in range(3):
                if width != out:
                    self.steps.append(nn.Linear(width, out))
                else:
                    self.steps.append(nn.Identity())

        def forward(self, x):
            for step in self.steps:
                x = step(x)
            return x
"""
MOVED = """
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.place = torch.device("cuda")
            self.scale = nn.Parameter(torch.ones(width) - 0.5).to(self.place)

        def forward(self, x):
            return x * self.scale
"""
MOVING = "nn.Parameter(torch.ones(width) - 0.5).to(self.place)"
BROKEN = """).to(
                'cuda'
            )"""
KEPT = """
    def train(model, loader, optimizer, score):
        state = model.state_dict()
        best = 0
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            if score(model) > best:
                best, state = score(model), None
                state = model.state_dict()
        model.load_state_dict(state)
"""
METHODS = """
    class Trainer:
        best = None

        def restore(self):
            self.model.load_state_dict(self.best)

        def fit(self, loader, optimizer, score):
            least = 9
            for epoch in range(10):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    optimizer.step()
                loss = score(self.model)
                if loss < least:
                    least, self.best = loss, None
                    self.best = self.model.state_dict(); print(1)
            # in the end
            print(9)
"""
ORDER = """
    def train(model, loader):
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            answer = model(x)
            answer.backward(torch.ones_like(answer))
            optimizer.zero_grad()
            optimizer.step()
"""
MEASURED = """
    def train(model, loader, held_out, optimizer):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        right = 0
        for x, y in held_out:
            right += (model(x).argmax(1) == y).sum().item()
        return right
"""
ALONE = MEASURED.replace(MEASURED[MEASURED.index("    for x, y in loader") : MEASURED.index("    model.eval")], "")
CALLED = """
    def fit(model, loader, held_out, optimizer):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(train(model, loader, held_out, optimizer))
"""
DROPPED = """
    def loss(model, x, mask):
        scores = torch.softmax(model(x), 1)
        scores.masked_fill(mask, 0.0)
        return scores.sum()
"""
UNSWITCHED = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))

        def forward(self, x):
            return self.body(x)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    data = torch.load("data")
    model.train()
    for epoch in range(5):
        for x, y in data:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    right = 0
    for x, y in data:
        right += (model(x).argmax(1) == y).sum().item()
"""
SWITCHED = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.5), nn.Linear(9, 2))

        def forward(self, x):
            return self.body(x)

    def main(loader, held_out):
        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        model.train()
        for epoch in range(5):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                print([model(x).argmax(1) for x, _ in held_out])
"""
FLAT = """
    class Net(nn.Module):
        def __init__(self, many):
            super().__init__()
            self.fc = [nn.Linear(3, n) for n in many]
            print(many)

        def forward(self, x):
            return [one(x) for one in self.fc]
"""
OUTER = SWITCHED[SWITCHED.index("        model.train()") :]
BATCHES = """        for epoch in range(5):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                model.eval()
                with torch.no_grad():
                    print([model(x).argmax(1) for x, _ in held_out])
"""
SWAPPED = """
    def fit(model, loader, optimizer):
        criterion = nn.CrossEntropyLoss(reduction="sum")
        for x, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(labels, model(x), reduction="sum")
            loss.backward()
            optimizer.step()
"""
PLACES: dict[str, tuple[type[Rule], str, str, str, str]] = {
    "a sampler that the loop does not know": (
        DistributedSamplerEpoch, SAMPLED,
        "",
        "loader.sampler.set_epoch(epoch)",
        "spread.set_epoch",
    ),
    "a sampler that it knows": (
        DistributedSamplerEpoch, SAMPLED,
        f"loader = loader_of(data) -> {HERE}",
        "spread.set_epoch(epoch)",
        "loader.sampler",
    ),
    "a sampler that one of two ways makes": (
        DistributedSamplerEpoch, SAMPLED,
        f"loader = loader_of(data) -> {HERE.replace('(data)', '(data) if several else None', 1)}",
        "spread.set_epoch(epoch)",
        "distributed_sampler",
    ),
    "a sampler of batches in another function": (
        DistributedSamplerEpoch, SAMPLED,
        "sampler=spread) -> batch_sampler=BatchSampler(spread, 32, True))",
        "loader.batch_sampler.sampler.set_epoch(epoch)",
        "spread.set_epoch",
    ),
    "a sampler of one process with several devices": (
        DistributedSamplerEpoch, SAMPLED,
        f"loader = loader_of(data) -> model = nn.DataParallel(model); {SHARE} | {TORCH}",
        "Leave the sampler away, so that the one process goes over all samples, and shuffle: DataLoader(..., ",
        "set_epoch(epoch)",
    ),
    "a sampler of several processes": (
        DistributedSamplerEpoch, SAMPLED,
        f"loader = loader_of(data) -> model = nn.DataParallel(model); print('horovod'); {SHARE} | {TORCH}",
        "spread.set_epoch(epoch)",
        "Leave the sampler",
    ),
    "a loader of one of two phases": (
        DistributedSamplerEpoch, SAMPLED,
        f"{STEPS} -> {PHASES}",
        "loader.sampler.set_epoch(epoch)",
        "batches.sampler",
    ),
    "a layer that is called once": (OverwrittenLayer, LAYERS, "", "Remove the line; or", "Give each layer"),
    "two layers that are called": (
        OverwrittenLayer, LAYERS,
        "self.head(self.body(x)) -> self.head(self.head(self.body(x)))",
        "Give each layer its own name, or remove the line: self.head_2 = nn.Linear(...)",
        "Remove the line; or",
    ),
    "a layer that is made twice, over several lines": (
        OverwrittenLayer, LAYERS,
        f"{TWICE} -> {WRAPPED.format(2, '')}{WRAPPED.format(2, '# once more')}",
        "Remove one of the two lines: they make the same layer.",
        "head_2",
    ),
    "a layer that is made twice, over one line and several": (
        OverwrittenLayer, LAYERS,
        f"{TWICE} -> self.head = nn.Linear(3, 2)\n            {WRAPPED.format(2, '')}",
        "Remove one of the two lines: they make the same layer.",
        "head_2",
    ),
    "other sizes over several lines": (
        OverwrittenLayer, LAYERS,
        f"{TWICE} -> {WRAPPED.format(3, '')}{WRAPPED.format(2, '')}",
        "self.head_2 = nn.Linear(...)",
        "same layer",
    ),
    "a layer of each round": (
        OverwrittenLayer, LAYERS,
        f"{TWICE} -> {ROUNDS.format('width')}",
        "one for each round, and call each in `forward`: self.head = nn.ModuleList([nn.Linear(...) for ... in config])",
        "or make one",
    ),
    "the layer behind those of a loop": (
        OverwrittenLayer, LAYERS,
        f"{TWICE} -> {ROUNDS.format('2')}; many.append(width)",
        "Make it behind the loop",
        "ModuleList",
    ),
    "the same layer in each round": (
        OverwrittenLayer, LAYERS,
        f"{TWICE} -> {ROUNDS.format('2')}",
        "or make one, without the loop",
        "one for each round",
    ),
    "a list of one layer, in each round": (
        OverwrittenLayer, LAYERS,
        f"{TWICE} -> {COPIES}",
        "self.head = nn.ModuleList([nn.Linear(...) for _ in range(config.depth)])",
        "behind the loop",
    ),
    "classes that the call says": (
        SoftmaxBeforeCrossEntropy, CLASSES,
        "",
        "least loss that 2 classes can reach: 0.313",
        "1.461",
    ),
    "classes that the default says": (
        SoftmaxBeforeCrossEntropy, CLASSES,
        "Net(labels=2) -> Net()",
        "least loss that 5 classes can reach: 0.905",
        "1.461",
    ),
    "classes that nobody says": (
        SoftmaxBeforeCrossEntropy, CLASSES,
        "Net(labels=2) -> Net(count(data))",
        "0.313 of 2 classes, 1.461 of 10",
        "classes can reach",
    ),
    "a softmax that prediction needs": (
        SoftmaxBeforeCrossEntropy, CLASSES,
        "",
        "Take the `softmax` of line 9 away",
        "Give the loss the scores",
    ),
    "a softmax beside the loss": (
        SoftmaxBeforeCrossEntropy, BESIDE,
        "",
        "Give the loss the scores as they leave the last layer",
        "prediction",
    ),
    "shares over the last dimension": (
        SoftmaxBeforeCrossEntropy, BESIDE,
        "dim=1 -> dim=2",
        "scores.softmax(dim=2)",
        "scores.softmax(dim=1)",
    ),
    "shares over a dimension that is not said": (
        SoftmaxBeforeCrossEntropy, BESIDE,
        "model(x), dim=1 -> model(x), dim=find(x)",
        "scores.softmax(dim=-1)",
        "scores.softmax(dim=1)",
    ),
    "options of the loss": (
        SoftmaxBeforeCrossEntropy, BESIDE,
        "(shares, y) -> (shares, y.view(-1), ignore_index=0)",
        "loss = F.cross_entropy(scores, y.view(-1), ignore_index=0)",
        "targets",
    ),
    "a loss that was made before": (
        SoftmaxBeforeCrossEntropy, BESIDE,
        "return F.cross_entropy(shares, y) -> judge = nn.CrossEntropyLoss(ignore_index=0); return judge(shares[1:], y)",
        "loss = judge(scores, y)",
        "targets",
    ),
    "a loss that is called so itself": (
        SoftmaxBeforeCrossEntropy, BESIDE,
        "return F.cross_entropy(shares, y) -> loss = nn.CrossEntropyLoss(); return loss(shares, y)",
        "batch_loss = loss(scores, y)",
        " loss = loss",
    ),
    "a loss that names what it is given twice": (
        SoftmaxBeforeCrossEntropy, BESIDE,
        "(shares, y) -> (shares, F.softmax(shares, dim=1))",
        "loss = F.cross_entropy(scores, targets)",
        "loss = F.cross_entropy(scores, F",
    ),
    "a sigmoid that prediction needs": (
        SigmoidBeforeBceWithLogits, SIGMOID,
        "",
        "as in prediction, then applies a sigmoid there",
        "Give the loss",
    ),
    "no constructor of the base": (
        SuperInitMissing, BARE,
        "",
        "sets `self.fc`, and never calls `super().__init__()`",
        "sets `self.fc` before",
    ),
    "one that comes too late": (
        SuperInitMissing, BARE,
        "print(width) -> super().__init__()",
        "`Net` sets `self.fc` before `super().__init__()`",
        "never",
    ),
    "a parameter without it": (
        SuperInitMissing, BARE,
        "nn.Linear(3, width) -> nn.Parameter(torch.ones(3))",
        "`nn.Module` refuses parameters",
        "refuses layers",
    ),
    "other sums of the loop": (
        GraphKeptAlive, SUMS,
        "",
        "here and in `data_total`, which holds the same graphs",
        "add the number",
    ),
    "a sum of numbers beside it, and nobody who asks for a tensor": (
        GraphKeptAlive, SUMS,
        'data_total += fit -> data_total += fit.item() | mean.to("cpu").detach() -> mean',
        "Or, where nothing asks for a tensor, add the number: total += loss.item()",
        "data_total",
    ),
    "a layer of a known size": (
        LayerMadeInForward, PASSING,
        "",
        "and call it here: self.linear = nn.Linear(...)",
        "Lazy",
    ),
    "a layer of the input's size": (
        LayerMadeInForward, PASSING,
        "self.width, 2 -> x.shape[1], 2",
        "self.linear = nn.LazyLinear(...)",
        "ModuleList",
    ),
    "a layer of as many outputs as the input says": (
        LayerMadeInForward, PASSING,
        "self.width, 2 -> x.shape[1], x.shape[0]",
        "Its number of outputs is read off the input, which no layer can learn: tell the module when it is made: self.",
        "Lazy",
    ),
    "a layer of each round of forward": (
        LayerMadeInForward, PASSING,
        "x = nn.Linear -> for _ in range(2): x = nn.Linear",
        "self.linears = nn.ModuleList([nn.Linear(...)",
        "Make it once",
    ),
    "a layer that is made once in a pass": (
        LayerMadeInForward, PASSING, "", "is made: 1 for each pass", "round of the loop",
    ),
    "a layer that is made in a loop": (
        LayerMadeInForward, PASSING,
        "x = nn.Linear -> for _ in range(2): x = nn.Linear",
        "is made: 1 for each round of the loop, at each pass",
        "1 for each pass",
    ),
    "a block of the project": (
        LayerMadeInForward, PASSING,
        f"class Net( -> {BLOCK} | nn.Linear(self.width, 2)( -> Block(x.shape[1])(",
        "`Block(...)` in `forward` has fresh random weights, which no optimizer holds. fix Make it once, in `__init__`",
        "nn.Block",
    ),
    "a block that is there": (
        LayerMadeInForward, PASSING,
        f"class Net( -> {BLOCK} | nn.Linear(self.width, 2)( -> Block(3)( | self.width = 3 -> self.out = Block(3)",
        "Call `self.out`, the `Block` that the module makes and never uses",
        "Make it",
    ),
    "another block": (
        LayerMadeInForward, PASSING,
        f"class Net( -> {TWO_BLOCKS} | nn.Linear(self.width, 2)( -> Block(3)( | self.width = 3 -> self.out = Other(3)",
        "Make it once",
        "self.out",
    ),
    "a layer that is there": (
        LayerMadeInForward, PASSING,
        "self.width = 3 -> self.out = nn.Linear(3, 2); self.width = 3",
        "Call `self.out`, the `Linear` that the module makes and never uses",
        "Make it",
    ),
    "a chain that is there": (
        LayerMadeInForward, PASSING,
        f"self.width = 3 -> self.out = {CHAINED}; self.width = 3 | nn.Linear(self.width, 2)( -> {CHAINED}(",
        "Call `self.out`, the `Sequential` that the module makes and never uses",
        "Make it",
    ),
    "another chain": (
        LayerMadeInForward, PASSING,
        f"self.width = 3 -> self.out = nn.Sequential(); self.width = 3 | nn.Linear(self.width, 2)( -> {CHAINED}(",
        "Make it",
        "self.out",
    ),
    "a recurrent layer whose outputs are read": (
        DropoutWithoutEffect, RECURRENT, "", "Drop from its outputs", "the state",
    ),
    "a recurrent layer whose state is read": (
        DropoutWithoutEffect, RECURRENT,
        "outputs, _ = -> _, outputs =",
        "Drop from the state that is read of it",
        "its outputs",
    ),
    "layers under a condition": (
        UnregisteredModules, LISTED,
        "",
        "It gets weights only where `width != out` holds",
        "does not hold",
    ),
    "layers in both branches": (
        UnregisteredModules, LISTED,
        "nn.Identity() -> nn.Linear(out, out)",
        "and not saved.",
        "It gets weights only",
    ),
    "a class that moves its layers itself": (
        UnregisteredModules, LISTED,
        "def forward -> def to(self, place): return [one.cuda() for one in self.steps]\n\n        def forward",
        "not switched by `eval()`",
        "not moved by",
    ),
    "a list that nobody asks for its kind": (
        UnregisteredModules, FLAT,
        "",
        "Register them: self.fc = nn.ModuleList(...)",
        "change line",
    ),
    "a list that forward tells from a layer": (
        UnregisteredModules, FLAT,
        "return [ -> if not isinstance(self.fc, (list, tuple)): return self.fc(x)\n            return [",
        "Register them, and change line 12, which wants a plain list: self.fc = nn.ModuleList(...)",
        "Register them:",
    ),
    "a list that is sorted": (
        UnregisteredModules, FLAT,
        "print(many) -> self.fc.sort(key=str)",
        "and change line 9, which wants a plain list",
        "Register them:",
    ),
    "a list behind another": (
        UnregisteredModules, FLAT,
        "in self.fc] -> in [nn.ReLU()] + self.fc]",
        "and change line 12, which wants a plain list",
        "Register them:",
    ),
    "a list that is lengthened": (
        UnregisteredModules, FLAT,
        "print(many) -> self.fc += [nn.Linear(3, 3)]",
        "Register them: self.fc = nn.ModuleList(...)",
        "change line",
    ),
    "a parameter that is moved": (
        UnregisteredModules, MOVED,
        "",
        "self.scale = nn.Parameter((torch.ones(width) - 0.5).to(self.place))",
        "to(device)",
    ),
    "a parameter in brackets that is moved over several lines": (
        UnregisteredModules, MOVED,
        f"{MOVING} -> {MOVING.replace('nn', '(nn').replace('.to(self.place)', BROKEN)}",
        "self.scale = nn.Parameter((torch.ones(width) - 0.5).to('cuda'))",
        "to()",
    ),
    "a parameter with options that is moved": (
        UnregisteredModules, MOVED,
        "- 0.5).to(self.place) -> * 2, requires_grad=True).cuda()",
        "self.scale = nn.Parameter((torch.ones(width) * 2).cuda())",
        "...",
    ),
    "a parameter that is scaled by a sum": (
        UnregisteredModules, MOVED,
        "nn.Parameter(torch.ones(width) - 0.5).to(self.place) -> nn.Parameter(torch.ones(width)) / (2 + width)",
        "self.scale = nn.Parameter(torch.ones(width) / (2 + width))",
        "to(device)",
    ),
    "a parameter that is scaled": (
        UnregisteredModules, MOVED,
        "nn.Parameter(torch.ones(width) - 0.5).to(self.place) -> 0.1 * nn.Parameter(torch.ones(width))",
        "self.scale = nn.Parameter(0.1 * torch.ones(width))",
        "to(device)",
    ),
    "a state that is kept on two lines": (
        CheckpointAliased, KEPT,
        "",
        "Copy them, here and on line 6:",
        "Copy them:",
    ),
    "a state that is kept on one": (
        CheckpointAliased, KEPT,
        "state = model.state_dict()\n        best -> best",
        "Copy them:",
        "here and on",
    ),
    "a copy of the table alone": (
        CheckpointAliased, KEPT,
        "            state = model.state_dict() ->             state = model.state_dict().copy()",
        "a shallow copy of the table holds the same tensors",
        "optimizer changes in place:",
    ),
    "a state that another method loads": (
        CheckpointAliased, METHODS, "", " 9 | self.model.load_state_dict(self.best)", "23 |",
    ),
    "a state that its own method loads as well": (
        CheckpointAliased, METHODS, "print(9) -> self.model.load_state_dict(self.best)", "23 | self.model.load", " 9 |",
    ),
    "a state that another model gets at once": (
        CheckpointAliased, METHODS,
        "print(1) -> self.other.load_state_dict(self.best)",
        " 9 | self.model.load",
        "| self.other",
    ),
    "no copy": (CheckpointAliased, KEPT, "", "optimizer changes in place:", "shallow"),
    "the loss that trains, of two": (
        SoftmaxBeforeCrossEntropy, TWO_LOSSES, "", "`cross_entropy` on line 19", "line 16",
    ),
    "two losses that do not train": (
        SoftmaxBeforeCrossEntropy, TWO_LOSSES, ".backward() -> ", "`cross_entropy` on line 16", "line 19",
    ),
    "what goes backward": (
        GradientsClearedBeforeStep, ORDER,
        "",
        "answer.backward(torch.ones_like(answer))",
        "loss.backward()",
    ),
    "an evaluation in the function that trains": (
        ValidationBuildsGraph, MEASURED,
        "",
        "Evaluate without a graph",
        "unless",
    ),
    "an evaluation that the training calls": (
        ValidationBuildsGraph, ALONE + CALLED,
        "",
        "Evaluate without a graph",
        "unless",
    ),
    "an evaluation alone": (
        ValidationBuildsGraph, ALONE,
        "",
        "unless a caller that is not in this file switches gradients off",
        "backward()",
    ),
    "a mask that is dropped": (
        ResultDropped, DROPPED,
        "",
        "or remove the line, where it is right without it: scores = scores.masked_fill(mask, 0.0)",
        "shape",
    ),
    "an evaluation with dropout": (
        ValidationInTrainMode, UNSWITCHED,
        "",
        "`model` holds dropout, which acts in train mode: its answers are noisy.",
        "running statistics",
    ),
    "an evaluation with batch normalization": (
        ValidationInTrainMode, UNSWITCHED,
        "nn.Dropout(0.5) -> nn.BatchNorm1d(9)",
        "`model` holds batch normalization: in train mode an answer depends on the rest of its batch, and evaluation",
        "dropout, which",
    ),
    "an evaluation with both": (
        ValidationInTrainMode, UNSWITCHED,
        "nn.Dropout(0.5) -> nn.BatchNorm1d(9), nn.Dropout(0.5)",
        "`model` holds dropout and batch normalization, which act in train mode",
        "dropout or",
    ),
    "training without dropout": (
        TrainingInEvalMode, SWITCHED,
        "",
        "after the first evaluation dropout is off",
        "batch normalization",
    ),
    "training in eval mode from the second round on": (
        TrainingInEvalMode, SWITCHED,
        "",
        "`model` trains in eval mode from the second round on",
        "batch",
    ),
    "training in eval mode from the second batch on": (
        TrainingInEvalMode, SWITCHED,
        f"{OUTER} -> {BATCHES}",
        "`model` trains in eval mode from the second batch of each epoch on",
        "round",
    ),
    "training without statistics": (
        TrainingInEvalMode, SWITCHED,
        "nn.Dropout(0.5) -> nn.BatchNorm1d(9)",
        "batch normalization uses its running statistics",
        "dropout",
    ),
    "a shape that is asserted": (
        ResultDropped, DROPPED,
        "scores.masked_fill(mask, 0.0) -> scores.unsqueeze(1)\n        assert scores.dim() == 3",
        "Keep the result, of which line 8 asserts something:",
        "remove",
    ),
    "a shape that nobody asserts": (
        ResultDropped, DROPPED,
        "scores.masked_fill(mask, 0.0) -> scores.unsqueeze(1)",
        "or remove the line, where what follows wants the shape that it has",
        "asserts",
    ),
    "a tensor that nobody reads": (
        ResultDropped, DROPPED,
        "return scores.sum() -> return 0",
        "Remove the line: nothing reads `scores` behind it.",
        "Keep the result",
    ),
    "a leaf whose gradient is read": (
        ResultDropped, DROPPED,
        "scores.masked_fill(mask, 0.0) -> scores.detach() | scores.sum() -> scores.grad",
        "Remove the line: `scores` is the tensor whose gradient is read",
        "Keep the result",
    ),
    "swapped arguments, beside an option": (
        LossArgumentsSwapped, SWAPPED,
        "",
        "F.cross_entropy(model(x), labels, reduction=\"sum\")",
        "(prediction, target)",
    ),
    "swapped arguments of an object": (
        LossArgumentsSwapped, SWAPPED,
        "F.cross_entropy(labels, model(x), reduction=\"sum\") -> criterion(labels, model(x))",
        "criterion(model(x), labels)",
        "(prediction, target)",
    ),
    "swapped arguments over lines": (
        LossArgumentsSwapped, SWAPPED,
        "F.cross_entropy(labels, model(x), -> F.cross_entropy(labels,\n                model(x),",
        "F.cross_entropy(prediction, target)",
        "F.cross_entropy(model(x)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_text_says_what_fits_its_place(place: str) -> None:
    rule, text, changes, said, unsaid = PLACES[place]
    for change in filter(None, changes.split(" | ")):
        old, _, new = change.partition(" -> ")
        assert old in text
        text = text.replace(old, new)

    found = [one for one in rule().in_code(code_of(textwrap.dedent(text))) if isinstance(one, Finding)]

    assert found
    words = " ".join(text_of(found[0], 400).split())
    assert said in words
    assert unsaid not in words


@pytest.mark.parametrize(
    ("old", "new", "is_safe"),
    [
        ("print(many)", "print(many)", True),
        ("print(many)", "print(isinstance(self.fc, list))", False),
        ("print(many)", "self.fc[1:] = self.fc[:1]", False),
        ("print(many)", "self.fc.append(torch.relu)", False),
        ("print(many)", "self.fc.append(nn.ReLU())", True),
        ("[nn.Linear(3, n) for n in many]", "[nn.Linear(3, 3), many()]", False),
        ("[nn.Linear(3, n) for n in many]", "[nn.Linear(3, 3), nn.ReLU()]", True),
    ],
)
def test_an_edit_makes_a_module_list_where_nothing_wants_a_plain_one(old: str, new: str, is_safe: bool) -> None:
    text = textwrap.dedent(FLAT.replace(old, new))
    found = [one for one in UnregisteredModules().in_code(code_of(text)) if isinstance(one, Finding)]
    assert len(found) == 1
    assert bool(found[0].fixes[0].edits) is is_safe
