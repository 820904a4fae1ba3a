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
        """`tensor` added up over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def of_first(self, value: T) -> T:
        """What the first process holds."""
        if self.size == 1:
            return value
        held: list[Any] = [value]
        dist.broadcast_object_list(held, device=self.device)
        found: T = held[0]
        return found


def in_group(training: TrainingConfig, function: Callable[..., T], *arguments: object) -> T:
    """Call ``function(group, *arguments)`` in every process of the settings; what the first of this machine returns.

    Several processes are new ones that Lightning spawns for this call: the arguments are copied to them, and what they
    change in them is not seen here.
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
        told = " ".join(str(error).split())
        raise ConfigError(f"[training] accelerator, devices: {told}") from None
    try:
        found: _Opaque = fabric.launch(_member, _Opaque((function, arguments)))  # type: ignore[arg-type]
    except ProcessRaisedException as error:
        raise _ours(error) from None
    except ProcessExitedException as error:
        raise EdgerecError(
            f"a process of the training ended ({error}); was memory short? lower [teacher] rows"
        ) from None
    finally:
        for process in multiprocessing.active_children():
            process.terminate()
    answer: T = found.value
    return answer


class _Opaque:
    """A value on its way to or from another process; Lightning would search it for tensors, and refuse dataclasses."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __setstate__(self, state: dict[str, Any]) -> None:
        for room in ("fabric", "pytorch"):  # arrives before Lightning says how it starts
            logging.getLogger(f"lightning.{room}").setLevel(logging.WARNING)
        self.__dict__.update(state)


def _member(fabric: Any, call: _Opaque) -> _Opaque:
    function, arguments = call.value
    for argument in arguments:
        if isinstance(argument, nn.Module):
            for tensor in (*argument.parameters(), *argument.buffers()):
                tensor.data = tensor.data.clone()  # comes in memory that all processes would write to
    group = Group(fabric.device, fabric.global_rank, fabric.world_size, fabric.local_rank)
    found = _Opaque(function(group, *arguments))
    # Its threads can abort a process that ends before they do; the first process holds the place where all meet.
    dist.barrier()
    dist.destroy_process_group()
    return found


def _ours(error: ProcessRaisedException) -> Exception:
    """The error of another process, which comes as the text of its traceback."""
    kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
    name = kind.removeprefix("edgerec.errors.")
    if name in errors.__all__ and name != kind:
        known: type[EdgerecError] = getattr(errors, name)
        return known(message)
    return error


def _device(accelerator: str) -> torch.device:
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    name = "cuda" if accelerator == "gpu" else accelerator
    if name == "auto":
        name = next(name for name, found in there.items() if found)
    if name not in there:
        raise ConfigError(f'[training] accelerator = "{accelerator}": expected "auto", "cpu", "gpu", "cuda" or "mps"')
    if not there[name]:
        raise ConfigError(f'[training] accelerator = "{accelerator}": not found on this machine; set it to "auto"')
    return torch.device(name)


def uses_gpu(training: TrainingConfig) -> bool:
    """Would a training with these settings run on something else than the CPU?"""
    return _device(training.accelerator).type != "cpu"
