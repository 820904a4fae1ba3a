"""The processes that train one model together: one by itself, or several that share every batch."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from edgerec import errors
from edgerec.config.stages import TrainingConfig
from edgerec.errors import ConfigError, EdgerecError

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """One process of `size`: number `rank` of all, `local_rank` of its machine."""

    device: torch.device
    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add `tensor` up over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def of_first(self, value: T) -> T:
        """The `value` of the first process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, device=self.device)
        return values[0]


def in_group(training: TrainingConfig, function: Callable[..., T], *arguments: object) -> T:
    """Call ``function(group, *arguments)`` in each process that the settings ask for.

    Several processes are spawned by Lightning for this call. They get copies of the arguments, so their changes to them
    are not seen here.
    Returns:
        What the first process of this machine returns.
    Raises:
        ConfigError: the machine lacks the accelerator, or the strategy is none of ours.
        EdgerecError: as raised in any of the processes; or one of them was killed.
    """
    if training.strategy not in ("auto", "ddp", "ddp_spawn"):
        raise ConfigError(f'[training] strategy = "{training.strategy}": expected "auto", "ddp" or "ddp_spawn"')
    if training.devices * training.num_nodes == 1:
        return function(Group(_device(training.accelerator)), *arguments)
    from lightning.fabric import Fabric  # seconds: loaded on use
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        fabric = Fabric(
            accelerator=training.accelerator,
            devices=training.devices,
            num_nodes=training.num_nodes,
            strategy="ddp_spawn",
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"[training] accelerator, devices: {message}") from None
    try:
        result: _Opaque = fabric.launch(_in_process, _Opaque((function, arguments)))  # type: ignore[arg-type]
    except ProcessRaisedException as error:
        raise _ours(error) from None
    except ProcessExitedException as error:
        raise EdgerecError(
            f"a process of the training ended ({error}); was memory short? lower [teacher] sessions and impressions"
        ) from None
    finally:
        for process in multiprocessing.active_children():
            process.terminate()
    value: T = result.value
    return value


class _Opaque:
    """A value on its way to or from another process; Lightning would search it for tensors, and refuse dataclasses."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __setstate__(self, state: dict[str, Any]) -> None:
        for part in ("fabric", "pytorch"):  # this runs before Lightning logs how it starts
            logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)
        self.__dict__.update(state)


def _in_process(fabric: Any, call: _Opaque) -> _Opaque:
    function, arguments = call.value
    for argument in arguments:
        if isinstance(argument, nn.Module):
            for tensor in (*argument.parameters(), *argument.buffers()):
                tensor.data = tensor.data.clone()  # comes in memory that all processes would write to
    group = Group(fabric.device, fabric.global_rank, fabric.world_size, fabric.local_rank)
    result = _Opaque(function(group, *arguments))
    # Its threads can abort a process that ends before they do; the first process holds the place where all meet.
    dist.barrier()
    dist.destroy_process_group()
    return result


def _ours(error: ProcessRaisedException) -> Exception:
    """The error of another process, which comes as the text of its traceback."""
    kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
    name = kind.removeprefix("edgerec.errors.")
    if name in errors.__all__ and name != kind:
        known: type[EdgerecError] = getattr(errors, name)
        return known(message)
    return error


def _device(accelerator: str) -> torch.device:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    name = "cuda" if accelerator == "gpu" else accelerator
    if name == "auto":
        name = next(name for name, is_there in available.items() if is_there)
    if name not in available:
        raise ConfigError(f'[training] accelerator = "{accelerator}": expected "auto", "cpu", "gpu", "cuda" or "mps"')
    if not available[name]:
        raise ConfigError(f'[training] accelerator = "{accelerator}": not found on this machine; set it to "auto"')
    return torch.device(name)


def uses_gpu(training: TrainingConfig) -> bool:
    """Would a training with these settings run on something else than the CPU?"""
    return _device(training.accelerator).type != "cpu"
