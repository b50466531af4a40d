"""Distributed samplers that are followed from the loop to where they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_programs import code_of
from stethoscope.core.finding import Finding, Sureness
from stethoscope.core.settings import Settings
from stethoscope.linting import lint
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch

IMPORTS = """
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from tqdm import tqdm
import torch.nn.functional as F
"""
STEP = """
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
"""


def is_told(text: str) -> bool:
    """Whether a sampler of a text is named."""
    return any(hasattr(one, "title") for one in DistributedSamplerEpoch().in_code(code_of(IMPORTS + text)))


@pytest.mark.parametrize(
    ("train", "test", "told"), [("True", "False", True), ("False", "False", False), ("shuffled", "False", False)]
)
def test_a_function_that_makes_loaders_for_several_uses(train: str, test: str, told: bool) -> None:
    text = f"""
def loader_of(data, shuffle):
    return DataLoader(data, batch_size=32, sampler=DistributedSampler(data, shuffle=shuffle))

def main(model, data, held_out, optimizer, shuffled):
    loader, other = loader_of(data, {train}), loader_of(held_out, {test})
    for epoch in range(10):
            for x, y in loader:{STEP}
"""
    assert is_told(text) is told


@pytest.mark.parametrize(("asked", "told"), [('mode == "train"', True), ('mode == "test"', False), ("mode", True)])
def test_a_sampler_that_shuffles_for_training(asked: str, told: bool) -> None:
    text = f"""
def main(model, data, optimizer, mode):
    loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data, shuffle={asked}))
    for epoch in range(10):
            for x, y in loader:{STEP}
"""
    assert is_told(text) is told


@pytest.mark.parametrize(("key", "told"), [('"train"', True), ("phase", True), ('"test"', False)])
def test_loaders_in_a_dict(key: str, told: bool) -> None:
    text = f"""
def main(model, data, held_out, optimizer, phase):
    loaders = {{
        "train": DataLoader(data, batch_size=32, sampler=DistributedSampler(data)),
        "test": DataLoader(held_out, batch_size=32),
    }}
    for epoch in range(10):
            for x, y in loaders[{key}]:{STEP}
"""
    assert is_told(text) is told


def test_a_loader_that_gets_a_bar_of_progress() -> None:
    text = f"""
class Trainer:
    def __init__(self, data):
        self.loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))

    def epoch(self, model, optimizer, rank):
            if rank == 0:
                self.loader = tqdm(self.loader)
            for x, y in self.loader:{STEP}

    def fit(self, model, optimizer, rank):
        for epoch in range(10):
            self.epoch(model, optimizer, rank)
"""
    assert is_told(text)


FORMS = {
    "a dict that is filled": """
    loaders = {}
    loaders["train"] = DataLoader(data, sampler=DistributedSampler(data))
    loaders["val"] = DataLoader(held_out)
    for epoch in range(10):
            for x, y in loaders["train"]:""",
    "a dict made by a comprehension": """
    sets = {"train": data, "val": held_out}
    samplers = {key: DistributedSampler(one) for key, one in sets.items()}
    loaders = {key: DataLoader(one, sampler=samplers[key]) for key, one in sets.items()}
    for epoch in range(10):
            for x, y in loaders["train"]:""",
    "a dict that a function gives": """
    loaders = both(data, held_out)
    for epoch in range(10):
            for x, y in loaders["train"]:""",
    "options that are filled": """
    options = {}
    if ranks > 1:
        options["sampler"] = DistributedSampler(data)
    loader = DataLoader(data, **options)
    for epoch in range(10):
            for x, y in loader:""",
    "a sampler at its place": """
    loader = DataLoader(data, 32, False, DistributedSampler(data))
    for epoch in range(10):
            for x, y in loader:""",
    "two loaders at once": """
    loader, other = DataLoader(data, sampler=DistributedSampler(data)), DataLoader(held_out)
    for epoch in range(10):
            for (x, y), _ in zip(loader, other):""",
    "an endless generator": """
    batches = cycle(DataLoader(data, sampler=DistributedSampler(data)))
    for step in range(1000):
                x, y = next(batches)""",
    "over an endless generator": """
    for x, y in cycle(DataLoader(data, sampler=DistributedSampler(data))):""",
    "a tuple of tuples": """
    (loader, sampler), other = nested(data, held_out)
    for epoch in range(10):
            for x, y in loader:""",
    "shuffled in one case": """
    loader = of_split(data, "train")
    for epoch in range(10):
            for x, y in loader:""",
    "shuffled where it is no test": """
    loader = unless_test(data)
    for epoch in range(10):
            for x, y in loader:""",
    "made anew in each epoch": """
    for epoch in range(10):
            loader = DataLoader(data, sampler=DistributedSampler(data))
            for x, y in loader:""",
    "made where some run asks for it": """
    loader = DataLoader(data, sampler=DistributedSampler(data) if ranks > 1 else None)
    for epoch in range(10):
            for x, y in loader:""",
}
SILENT = {
    "a dict for validation": """
    loaders = {}
    loaders["train"] = DataLoader(data, shuffle=True)
    loaders["val"] = DataLoader(held_out, sampler=DistributedSampler(held_out))
    for epoch in range(10):
            for x, y in loaders["train"]:""",
    "options that are filled later": """
    options = {"sampler": None}
    loader = DataLoader(data, **options)
    options["sampler"] = DistributedSampler(held_out)
    for epoch in range(10):
            for x, y in loader:""",
    "a generator of one round": """
    batches = once(DataLoader(data, sampler=DistributedSampler(data)))
    for step in range(1000):
                x, y = next(batches)""",
    "a split that is not shuffled": """
    loader = of_split(data, "test")
    other = unless_test(data, test=True)
    ordered = DataLoader(data, sampler=DistributedSampler(data, shuffle=ranks == "test"))
    for epoch in range(10):
            for x, y in ordered:""",
    "Accelerate tells it": """
    loader = DataLoader(data, sampler=DistributedSampler(data))
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for epoch in range(10):
            for x, y in loader:""",
    "Fabric tells it": """
    loader = fabric.setup_dataloaders(DataLoader(data, sampler=DistributedSampler(data)))
    for epoch in range(10):
            for x, y in loader:""",
    "another seed for each epoch": """
    for epoch in range(10):
            loader = DataLoader(data, sampler=DistributedSampler(data, seed=epoch))
            for x, y in loader:""",
    "a sampler of other data each time": """
    for part in range(10):
            rows = data[part]
            loader = DataLoader(rows, sampler=DistributedSampler(rows))
            for x, y in loader:""",
    "a function makes both each time": """
    for part in range(10):
            loader = of_part(data, part)
            for x, y in loader:""",
    "its number is set": """
    sampler = DistributedSampler(data)
    loader = DataLoader(data, sampler=sampler)
    for epoch in range(10):
            sampler.epoch = epoch
            for x, y in loader:""",
    "its seed is set": """
    loader = DataLoader(data, sampler=DistributedSampler(data))
    for epoch in range(10):
            loader.sampler.seed = epoch
            for x, y in loader:""",
    "no call asks for one": """
    loader = asked_for(data, False)
    for epoch in range(10):
            for x, y in loader:""",
}
MAKERS = """
from accelerate import Accelerator
from lightning.fabric import Fabric

accelerator, fabric = Accelerator(), Fabric()

def both(data, held_out):
    found = {"train": DataLoader(data, sampler=DistributedSampler(data)), "val": DataLoader(held_out)}
    return found

def nested(data, held_out):
    sampler = DistributedSampler(data)
    return (DataLoader(data, sampler=sampler), sampler), DataLoader(held_out)

def of_split(data, split):
    return DataLoader(data, sampler=DistributedSampler(data, shuffle=True if split == "train" else False))

def unless_test(data, test=False):
    return DataLoader(data, sampler=DistributedSampler(data, shuffle=not test))

def asked_for(data, distributed):
    return DataLoader(data, sampler=DistributedSampler(data) if distributed else None)

def of_part(data, part):
    rows = data[part]
    return DataLoader(rows, sampler=DistributedSampler(rows))

def cycle(loader):
    while True:
        for batch in loader:
            yield batch

def once(loader):
    for batch in loader:
        yield batch

def main(model, data, held_out, optimizer, ranks):"""


@pytest.mark.parametrize("form", FORMS)
def test_a_loader_in_some_form_is_followed_to_its_sampler(form: str) -> None:
    assert is_told(f"{MAKERS}{FORMS[form]}{STEP}")


@pytest.mark.parametrize("form", SILENT)
def test_what_is_told_or_goes_in_order_is_not_reported(form: str) -> None:
    assert not is_told(f"{MAKERS}{SILENT[form]}{STEP}")


def test_what_is_said_of_telling_tells_nobody() -> None:
    own = 'class Data:\n    """Call `sampler.set_epoch(0)`.\n\n    >>> sampler.set_epoch(0)\n    """\n'
    own += "    def __init__(self):\n        self.set_epoch(0)\n"
    own += "    def set_epoch(self, epoch):\n        self.number = epoch\n"

    assert is_told(f"{own}{MAKERS}{FORMS['a sampler at its place']}{STEP}")


def test_a_sampler_of_ones_own_that_could_be_told_tells_no_other() -> None:
    own = "class Weighted:\n    def set_epoch(self, epoch):\n        self.epoch = epoch\n"

    assert is_told(f"{own}{MAKERS}{FORMS['a sampler at its place']}{STEP}")


STARTED = "\nif __name__ == '__main__':\n    {}main(*parts())\n"
DATA = """
from torch.utils.data import DataLoader, DistributedSampler

def loaders(data, held_out):
    sampler = DistributedSampler(data)
    return DataLoader(data, batch_size=32, sampler=sampler), DataLoader(held_out, batch_size=32), sampler
"""
TRAIN = f"""
import torch.nn.functional as F
from data import loaders

def train(model, loader, optimizer):
            for x, y in loader:{STEP}

def main(model, data, held_out, optimizer):
    loader, other, sampler = loaders(data, held_out)
    for epoch in range(10):
        train(model, loader, optimizer)
"""


@pytest.mark.parametrize(
    ("there", "here", "told"),
    [
        ("", "", True),
        ("", "        sampler.set_epoch(epoch)\n", False),
        ("def tell(loader, epoch): loader.sampler.set_epoch(epoch)", "", False),
        # The other file makes loaders for a program of many processes; this one is started as one, and gets no sampler.
        ("", STARTED.format(""), False),
        ("", STARTED.format("torch.distributed.init_process_group('nccl')\n    "), True),
        ("import torch\ndef begin(): torch.distributed.init_process_group('nccl')", STARTED.format(""), True),
    ],
)
def test_loaders_that_another_file_of_the_project_makes(
    there: str, here: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.py").write_text(DATA + there, "utf-8")
    (tmp_path / "train.py").write_text(TRAIN + here, "utf-8")
    monkeypatch.chdir(tmp_path)

    findings = lint(".", settings=Settings(), processes=1).findings

    places = [(one.place.file, one.chain[0].place.file) for one in findings if one.rule == DistributedSamplerEpoch.name]
    assert places == ([("train.py", "data.py")] if told else [])


@pytest.mark.parametrize(("given", "shown"), [("", False), (", distributed=True", True), (", **options", True)])
def test_a_sampler_of_another_file_that_no_call_asks_for(
    given: str, shown: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = "DistributedSampler(data, num_replicas=2, rank=0)"
    (tmp_path / "data.py").write_text(
        f"""{IMPORTS}
def loader_of(data, distributed=False):
    if distributed:
        sampler = {made}
    else:
        sampler = None
    return DataLoader(data, batch_size=32, sampler=sampler)
""",
        "utf-8",
    )
    (tmp_path / "train.py").write_text(
        f"""{IMPORTS}
from data import loader_of

def main(model, data, optimizer, options):
    loader = loader_of(data{given})
    for epoch in range(10):
            for x, y in loader:{STEP}
""",
        "utf-8",
    )
    monkeypatch.chdir(tmp_path)

    findings = lint(".", settings=Settings(), processes=1).findings

    sure = {one.sureness.strength for one in findings if one.rule == DistributedSamplerEpoch.name}
    assert any(one >= Sureness.LIKELY.strength for one in sure) is shown


ENGINE = f"""
import torch.nn.functional as F
from tqdm import tqdm

def train(model, optimizer, loader, epoch):
            for x, y in tqdm(loader):{STEP}

def logged(model, optimizer, loader, logger):
            for x, y in logger.log_every(loader, 10):{STEP}

def fetched(model, optimizer, loader):
            batches = Prefetcher(loader)
            x, y = batches.next()
            while x is not None:{STEP}                x, y = batches.next()
"""
OBJECT = """
class Rounds:
    def __init__(self, model, loader, optimizer):
        self.model, self.loader, self.optimizer = model, loader, optimizer

    def step(self, x, y):
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()

    def epoch(self):
        for x, y in self.loader:
            self.step(x, y)

class Phases(Rounds):
    def __init__(self, model, loaders, optimizer):
        self.model, self.loaders, self.optimizer = model, loaders, optimizer

    def phase(self):
        for x, y in self.loaders["train"]:
            self.step(x, y)
"""
FITS = """
    def fit(self, epochs):
        for epoch in range(epochs):
            self.epoch()
"""
CALLS = {
    "in each epoch": ("for epoch in range(9):", "train(model, optimizer, loader, epoch)", True),
    "by a name": ("for epoch in range(9):", "train(model, epoch=epoch, loader=loader, optimizer=optimizer)", True),
    "through a logger": ("for epoch in range(9):", "logged(model, optimizer, loader, logger)", True),
    "fetched before": ("for epoch in range(9):", "fetched(model, optimizer, loader)", True),
    "by an object, in each epoch": (
        "trainer = Trainer(model, loader, optimizer)\n    while True:",
        "trainer.epoch()",
        True,
    ),
    "by an object, in a dict": (
        "phases = Phases(model, {'train': loader, 'val': held_out}, optimizer)\n    while True:",
        "phases.phase()",
        True,
    ),
    "by an object's own epochs": ("if True:", "Trainer(model, loader, optimizer).fit(9)", True),
    "once": ("if True:", "train(model, optimizer, loader, 0)", False),
    "by an object, once": ("rounds = Rounds(model, loader, optimizer)\n    if True:", "rounds.epoch()", False),
    "another loader": ("for epoch in range(9):", "train(model, optimizer, held_out, epoch)", False),
    "told": ("for epoch in range(9):", "sampler.set_epoch(epoch); train(model, optimizer, loader, epoch)", False),
    "a sampler of each fold": (
        "for fold in range(9):\n        loader = DataLoader(data, sampler=DistributedSampler(data))",
        "train(model, optimizer, loader, fold)",
        False,
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_loop_in_another_file_that_is_handed_its_loader(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, call, told = CALLS[case]
    (tmp_path / "engine.py").write_text(ENGINE + OBJECT + OBJECT.replace("Rounds", "Trainer") + FITS, "utf-8")
    main = "def main(model, data, held_out, optimizer, logger):\n    sampler = DistributedSampler(data)\n"
    (tmp_path / "main.py").write_text(
        f"{IMPORTS}from engine import Phases, Rounds, Trainer, fetched, logged, train\n\n{main}"
        f"    loader = DataLoader(data, sampler=sampler)\n    {head}\n        {call}\n",
        "utf-8",
    )
    monkeypatch.chdir(tmp_path)

    findings = lint(".", settings=Settings(), processes=1).findings

    places = [(one.place.file, one.chain[1].place.file) for one in findings if one.rule == DistributedSamplerEpoch.name]
    assert places == ([("main.py", "engine.py")] if told else [])


def test_the_fix_names_the_sampler_that_is_told_also_inside_of_one_of_batches() -> None:
    text = """
    from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

    def fit(model, data, optimizer):
        spread = DistributedSampler(data)
        loader = DataLoader(data, batch_sampler=BatchSampler(spread, 32, drop_last=True))
        for epoch in range(9):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
    """

    found = [*DistributedSamplerEpoch().in_code(code_of(text))]

    assert isinstance(found[0], Finding)
    assert "    spread.set_epoch(epoch)" in found[0].fixes[0].text
