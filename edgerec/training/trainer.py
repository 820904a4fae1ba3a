"""Around Lightning's Trainer, where one is used: no chatter, Ctrl-C as everywhere, no damaged checkpoint."""

from __future__ import annotations

import logging
import pickle
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from edgerec.progress import Progress


def is_whole(checkpoint: Path, progress: Progress) -> bool:
    """Is there a checkpoint to go on from? A damaged one is reported, and training starts anew."""
    if not checkpoint.exists():
        return False
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        progress.say(f"{checkpoint}: damaged, so training starts anew")
        return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Lightning on devices, other products and the end of training; its warnings are still printed."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Passes Ctrl-C on; Lightning would end the process with the exit code of a failure, or ignore later ones."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
