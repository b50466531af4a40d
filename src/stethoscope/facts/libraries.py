"""What calls into libraries give, by their full names. No file of the user's is asked here."""

from __future__ import annotations

import re
from functools import lru_cache

_OPTIMIZERS = re.compile(
    r"torch\.optim\.(?!lr_scheduler|swa_utils)[A-Z]\w*"
    r"|(?:transformers|transformers\.optimization)\.(?:AdamW|Adafactor)|bitsandbytes\.optim\.\w+"
    r"|apex\.optimizers\.\w+|(?:lion_pytorch|torch_optimizer|pytorch_optimizer|adabelief_pytorch)\.[A-Z]\w*"
    r"|timm\.optim(?:\.\w+)*\.(?:create_optimizer\w*|[A-Z]\w*)"
)
_SCHEDULERS = re.compile(
    r"torch\.optim\.(?:lr_scheduler|swa_utils)\.(?!AveragedModel)[A-Z]\w*"
    r"|(?:transformers|transformers\.optimization|diffusers\.optimization)\.get_(?:\w+_)?sched\w*"
)
_LOADERS = re.compile(r"torch\.utils\.data\.DataLoader|torch_geometric\.(?:loader|data)\.\w*Loader")
_SCALERS = re.compile(r"torch\.(?:cuda\.)?amp\.(?:grad_scaler\.)?GradScaler")
_MODELS = re.compile(
    r"torchvision\.models(?:\.\w+)*\.[a-z]\w*|timm(?:\.models)?\.create_model|torch\.hub\.load"
    r"|transformers\.\w*(?:Model|For\w+)(?:\.from_pretrained|\.from_config)?|segmentation_models_pytorch\.[A-Z]\w*"
    r"|torch\.optim\.swa_utils\.AveragedModel|torch_geometric\.nn\.[A-Z]\w*"
)
_DATASETS = re.compile(
    r"torchvision\.datasets(?:\.\w+)*\.[A-Z]\w*|torch\.utils\.data\.(?:TensorDataset|Subset|ConcatDataset)"
)
_FRAMEWORKS = re.compile(
    r"accelerate\.Accelerator|lightning\.(?:fabric\.)?Fabric|lightning\.pytorch\.Trainer|lightning\.Trainer"
    r"|deepspeed\.initialize|transformers\.(?:Seq2Seq)?Trainer|ignite\.engine\.\w+|fastai\.\w+(?:\.\w+)*"
    r"|torch\.distributed\.optim\.DistributedOptimizer|torch\.distributed\.autograd\.context"
)
SAME = {
    "torch.compile", "torch.jit.script", "torch.jit.trace", "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.parallel.DataParallel", "copy.deepcopy", "copy.copy", "torch.nn.utils.spectral_norm",
    "torch.nn.utils.weight_norm", "torch.nn.utils.parametrizations.spectral_norm",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm", "torch.distributed.fsdp.FullyShardedDataParallel",
    "apex.parallel.DistributedDataParallel", "horovod.torch.DistributedOptimizer", "torch.distributed.fsdp.fully_shard",
}  # fmt: skip
"""Calls that give what they were given, wrapped."""
SAME_METHODS = {
    ".to", ".cuda", ".cpu", ".half", ".float", ".double", ".bfloat16", ".train", ".eval", ".requires_grad_", ".apply",
    ".share_memory", ".type", ".xpu", ".to_empty", ".compile", ".module",
}  # fmt: skip
"""Methods of a module that give the module."""
NUMBERS = {".item", ".tolist", ".numpy", ".size", ".dim", ".numel", ".state_dict", ".backward", ".data_ptr"}
_TENSORS = re.compile(r"torch\.(?:(?:fft|linalg|special)\.)?\w+")
_NO_TENSORS = re.compile(
    r"torch\.(?:manual_seed|device|save|load|no_grad|set_\w+|is_\w+|get_\w+|backends\..*|cuda\..*|utils\..*|hub\..*"
    r"|distributed\..*|jit\..*|onnx\..*|optim\..*|autograd\..*|Size|Generator|finfo|iinfo|profiler\..*|amp\..*|nn\.init\..*"
    r"|float\d*|int\d*|long|bool|half|double|bfloat16|uint8|dtype|inference_mode|enable_grad|random\..*|fx\..*|\w*Storage|_\w.*)"
)
ITERATING = {"builtins.enumerate": 1, "tqdm.tqdm": 0, "tqdm.auto.tqdm": 0, "tqdm.notebook.tqdm": 0, "tqdm.trange": 0,
              "builtins.iter": 0, "builtins.reversed": 0, "tqdm": 0, "rich.progress.track": 0,
              "tqdm.tqdm_notebook": 0, "tqdm.std.tqdm": 0}  # fmt: skip
MODULE_BASES = {
    "torch.nn.Module", "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.jit.ScriptModule",
    "lightning.LightningModule", "transformers.PreTrainedModel", "transformers.modeling_utils.PreTrainedModel",
}  # fmt: skip
_DATASET_BASE = re.compile(r"torch\.utils\.data\.\w*Dataset")
_TYPES = {
    "torch.nn.Module": "module", "torch.Tensor": "tensor", "torch.optim.Optimizer": "optimizer",
    "torch.utils.data.DataLoader": "loader", "torch.FloatTensor": "tensor", "torch.LongTensor": "tensor",
    "torch.utils.data.Dataset": "dataset", "builtins.int": "number", "builtins.float": "number",
    "builtins.bool": "number", "builtins.str": "text", "builtins.dict": "container", "builtins.list": "container",
    "accelerate.Accelerator": "framework", "torch.optim.lr_scheduler.LRScheduler": "scheduler",
    "torch.optim.lr_scheduler._LRScheduler": "scheduler",
}  # fmt: skip


@lru_cache(maxsize=20_000)
def kind_of_library(name: str) -> str:
    """The kind of thing (`Thing.kind`) that calling this gives; unknown where that is not known."""
    last = name.rpartition(".")[2]
    for kind, pattern in _KINDS:
        if pattern.fullmatch(name):
            return kind
    if name.startswith("torch.nn.functional."):
        return "tensor"
    if name.startswith("torch.nn.") and not name.startswith(("torch.nn.init.", "torch.nn.utils.")):
        if not last[:1].isupper():
            return "unknown"
        return "loss" if last.endswith("Loss") else "tensor" if last in ("Parameter", "Buffer") else "module"
    if _TENSORS.fullmatch(name) and not _NO_TENSORS.fullmatch(name):
        return "tensor"
    return _BUILTINS.get(name, "unknown")


def kind_of_type(name: str) -> str:
    """The kind of thing that an annotation promises."""
    if name in _TYPES:
        return _TYPES[name]
    kind = kind_of_library(name)
    return kind if kind in ("optimizer", "scaler", "scheduler", "loader") else "unknown"


_KINDS = (
    ("optimizer", _OPTIMIZERS), ("scheduler", _SCHEDULERS), ("loader", _LOADERS), ("scaler", _SCALERS),
    ("framework", _FRAMEWORKS), ("dataset", _DATASETS), ("dataset", _DATASET_BASE), ("module", _MODELS),
)  # fmt: skip
_BUILTINS = {
    "builtins.float": "number", "builtins.int": "number", "builtins.len": "number", "builtins.round": "number",
    "builtins.list": "container", "builtins.tuple": "container", "builtins.dict": "container",
}  # fmt: skip
