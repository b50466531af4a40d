"""Models whose parameters are spread over processes (`fully_shard`): which tensor an optimizer holds."""

from __future__ import annotations

from torch import Tensor, nn


def shards_of(model: nn.Module) -> dict[tuple[nn.Module, str], Tensor]:
    """The shards in this process, by the module and the name that they stand under.

    Around a forward pass the whole parameters stand in the modules instead, which no optimizer knows. Empty for a
    model that is not spread, and for a version of torch that keeps its shards elsewhere.
    """
    found: dict[tuple[nn.Module, str], Tensor] = {}
    for part in model.modules():
        state = getattr(part, "_get_fsdp_state", None)
        group = getattr(state(), "_fsdp_param_group", None) if callable(state) else None
        for one in getattr(group, "fsdp_params", None) or ():
            info, shard = getattr(one, "_module_info", None), getattr(one, "sharded_param", None)
            if info is None or not isinstance(shard, Tensor):
                continue
            found[info.module, info.param_name] = shard
            for owner, name in zip(info.shared_modules, info.shared_param_names, strict=True):
                found[owner, name] = shard
    return found
