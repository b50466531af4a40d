"""A file from the network that is unpickled."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name, Value
from stethoscope.facts.things import MOST_STEPS, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_PICKLES = frozenset({
    "pickle.load", "pickle.loads", "joblib.load", "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads",
    "pandas.read_pickle", "_pickle.load", "cPickle.load", "cPickle.loads", "sklearn.externals.joblib.load",
})  # fmt: skip
_DOWNLOADS = frozenset({
    "huggingface_hub.hf_hub_download", "huggingface_hub.cached_download", "urllib.request.urlopen", "requests.get",
    "urllib.request.urlretrieve", "torch.hub.download_url_to_file", "wget.download", "gdown.download",
    "keras.utils.get_file", "transformers.utils.cached_file", "urllib2.urlopen", "huggingface_hub.snapshot_download",
})  # fmt: skip
_THROUGH = frozenset({
    "builtins.open", "io.BytesIO", "gzip.open", "bz2.open", "lzma.open", "os.path.join", "pathlib.Path",
    "builtins.str", "os.path.abspath", "os.path.expanduser",
})  # fmt: skip


class UnsafeLoad(Rule):
    """What was fetched from the network is unpickled, and can run any code.

    ## What it sees
    `pickle.load`, `joblib.load`, `pd.read_pickle`, `torch.load(..., weights_only=False)` or
    `np.load(..., allow_pickle=True)` of a file that the same lines fetch from the network.
    ## Why it hurts
    A pickle is a program: whoever can change the file, or the repository that it comes from, runs code on this machine
    when it is loaded.
    ## How to fix it
    `torch.load(path, weights_only=True)`, or a format without code: safetensors, npz, parquet.
    ## When it is not a fault
    A file of one's own, which is not fetched: that is not reported. A download whose checksum is compared before.
    ## Sources
    Python documentation, `pickle` ("never unpickle data that could have come from an untrusted source"); PyTorch
    documentation, `torch.load`.
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow what is unpickled to a download."""
        for call in file.calls_of(*_PICKLES, "torch.load", "numpy.load"):
            if call.name == "torch.load" and literal(file, call.keyword("weights_only")) is not False:
                continue
            if call.name == "numpy.load" and literal(file, call.keyword("allow_pickle")) is not True:
                continue
            fetched = _fetched(file, call.argument(0))
            if fetched is None or fetched.keyword("known_hash") or fetched.keyword("file_hash"):
                continue
            name = call.name.rpartition(".")[2]
            whole = f"{call.name.rpartition('.')[0].rpartition('.')[2]}.{name}"
            right = {
                "torch.load": "torch.load(path, weights_only=True)",
                "numpy.load": "np.load(path)",
            }.get(call.name, "safetensors.torch.load_file(path)")
            yield self.finding(
                fitting(f"`{whole}` unpickles a file from the network", "a file from the network is unpickled"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[
                    Evidence(f"what the file that is fetched on {line_of(file, fetched.at)} can do", "run any code",
                             "hold numbers")
                ],
                cause="A pickle is a program: who can change that file runs code here.",
                fixes=["Load it in a way that reads numbers only, or keep it in such a format:\n" + code(right)],
                unless="the file is checked against a known hash.",
                chain=[
                    Link(place_in(file, fetched.at), "the file is fetched"),
                    Link(place_in(file, call.at), "it is unpickled"),
                ],
            )  # fmt: skip

    bad_code = {
        "weights of a hub": """
            import torch
            from huggingface_hub import hf_hub_download

            path = hf_hub_download("someone/model", "pytorch_model.bin")
            state = torch.load(path, map_location="cpu", weights_only=False)  # bad
            """,
        "an answer": """
            import io
            import pickle
            import requests
            import pandas as pd

            def fetch(url):
                answer = requests.get(url)
                with open("table.pkl", "wb") as stream:
                    stream.write(answer.content)
                return pickle.loads(answer.content), pickle.load(io.BytesIO(requests.get(url).content))  # bad
            """,
        "an opened file": """
            import pickle
            from huggingface_hub import hf_hub_download
            import torch

            with open(hf_hub_download("someone/data", "vocabulary.pkl"), "rb") as stream:
                words = pickle.load(stream)  # bad
            """,
    }
    good_code = {
        "numbers only": """
            import torch
            from huggingface_hub import hf_hub_download

            path = hf_hub_download("someone/model", "pytorch_model.bin")
            state = torch.load(path, weights_only=True)
            other = torch.load(path)
            """,
        "a file of one's own": """
            import pickle
            import torch

            state = torch.load("checkpoint.pt", weights_only=False)
            with open("vocabulary.pkl", "rb") as stream:
                words = pickle.load(stream)
            """,
    }


def _fetched(file: Code, value: Value | None) -> Call | None:
    """The download that a path, a stream or bytes come from."""
    waiting = [value]
    for _ in range(MOST_STEPS):
        if not waiting:
            return None
        one = waiting.pop()
        if isinstance(one, Name) and one.binding != NOWHERE:
            binding = file.bindings[one.binding]
            if binding.how in ("assign", "with"):
                waiting.append(binding.value)
        elif isinstance(one, Attribute) and one.name in ("content", "raw"):
            waiting.append(one.value)
        elif isinstance(one, Call):
            if one.name in _DOWNLOADS:
                return one
            if one.name in _THROUGH:
                waiting += one.arguments
            elif one.name in (".open", ".read", ".joinpath"):
                waiting.append(one.receiver)
    return None
