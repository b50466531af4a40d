"""Code that was written for a torch of long ago, in which other lines were right."""

from __future__ import annotations

import re

from stethoscope.facts.code import Code
from stethoscope.facts.events import Event, name_of

_VOLATILE = re.compile(r"\bvolatile\s*=")


_NEWER = re.compile(
    r"\bget_last_lr\b|\bset_to_none\b|\btorch\.inference_mode\b|\binference_mode\(|\bpersistent_workers\b"
    r"|\bprefetch_factor\b|\bload\([^\n]*\bweights_only\s*="
    r"|\btorch\.utils\.tensorboard\b|\btorch\.utils import tensorboard\b"
    r"|\bautocast\b|\bGradScaler\b|\btorch(?:\.cuda)?\.amp\b"
    r"|\btorch\.(?:compile|linalg|special|func|vmap|bool|nan_to_num|use_deterministic_algorithms|optim\.swa_utils)\b"
    r"|\btorch\.fft\.\w|\btorch\.meshgrid\([^\n]*indexing|\btorch\.distributed\.(?:run|elastic|fsdp|pipeline)\b"
    r"|\btorch\.backends\.(?:mps|cuda\.matmul)\b|\b(?:device\(|to\(|= ?)['\"]mps\b"
    r"|\boptim\.(?:AdamW|RAdam|NAdam)\b|\bfrom torch\.optim import [^\n]*\bAdamW\b"
    r"|\blr_scheduler(?:\.| import [^\n]*\b)(?:OneCycleLR|CyclicLR|CosineAnnealingWarmRestarts|SequentialLR|LinearLR"
    r"|PolynomialLR|ConstantLR|ChainedScheduler|MultiplicativeLR)\b"
    r"|\bnn\.(?:Transformer\w*|MultiheadAttention|GELU|SiLU|Mish|Hardswish|Flatten|Unflatten|SyncBatchNorm|Lazy\w+"
    r"|GaussianNLLLoss|HuberLoss|init\.trunc_normal_)\b"
    r"|\bF\.(?:silu|gelu|mish|hardswish|scaled_dot_product_attention|huber_loss)\b"
    r"|\bCrossEntropyLoss\([^)\n]*label_smoothing|\bIterableDataset\b|_Weights\b|\bweights\s*=\s*['\"](?:DEFAULT|IMAGENET1K_V)"
    r"|\bmodels\.(?:efficientnet_|vit_|convnext_|swin_|mobilenet_v3|regnet_|maxvit_)"
    r"|\b(?:from|import) (?:lightning|transformers|torchmetrics|accelerate|peft|hydra|datasets\.load|torcheval)\b"
    r"|\| None\b|-> (?:list|dict|tuple)\[|\(\w+ := "
)
"""What came with torch 1.1 (May 2019) or later, or is of a library or a grammar that came later."""


def knows_newer_torch(code: Code) -> bool:
    """Whether something in a file, or in one of its project that it imports, shows a torch since 1.1."""
    return code.matches(_NEWER) or code.linked.match(_NEWER)


def knows_volatile(code: Code) -> bool:
    """Whether its inputs may be volatile, as before torch 0.4: these built no graph."""
    return code.says("volatile") and code.matches(_VOLATILE)


def schedules_step_first(code: Code) -> bool:
    """Whether it only runs in a torch in which a schedule was stepped before the optimizer, as it was before 1.1.

    The number of a loss was read as `loss.data[0]`, which raises since 0.5.
    """
    if knows_volatile(code):
        return True
    losses = {name_of(code, call.receiver) for call in code.calls_of(".backward")} - {""}
    return code.says(".data[0]") and any(
        code.matches(re.compile(rf"(?<![\w.]){re.escape(name)}\.data\[0\]")) for name in losses
    )


def may_step_schedules_first(code: Code, schedule: Event) -> bool:
    """Whether it may be older than torch 1.1, as far as its lines tell, or not: they still work.

    The rates of the schedule are asked for by `get_lr()`, which is `get_last_lr()` since torch 1.4; or it draws with
    `tensorboardX`, in whose place torch 1.1, which changed the order, has `torch.utils.tensorboard`. Nor does code tell
    that has nothing of what came with torch 1.1 or later.
    """
    if any(name.partition(".")[0] == "tensorboardX" for name, _, _ in code.imports) or not knows_newer_torch(code):
        return True
    return any(name_of(code, call.receiver) == schedule.name for call in code.calls_of(".get_lr"))
