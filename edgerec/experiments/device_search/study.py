"""The trials of a device search, in one Optuna study on disk that a later call goes on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import optuna
from optuna.trial import FrozenTrial, TrialState

from edgerec.config import Scalar
from edgerec.experiments.device_search.context import SearchContext
from edgerec.experiments.device_search.cost import Costs
from edgerec.experiments.device_search.report import SearchTrial, front
from edgerec.experiments.device_search.short_bundle import ShortBundle
from edgerec.experiments.device_search.space import Space, first_of, simplest
from edgerec.experiments.tuning.space import Values

STARTUP_TRIALS = 6
"""Trials that are drawn at random before the sampler learns from them."""


class DeviceStudy:
    """The trials: high quality, few bytes and a short time are wanted at once."""

    def __init__(self, context: SearchContext, space: Space) -> None:
        """Open or begin the study of these settings, this space, this device and this teacher."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        context.folder.mkdir(parents=True, exist_ok=True)
        self.space, self.profile = space, context.profile
        settings = context.trials.config.model_dump_json(exclude={"device", "name"})
        self.optuna = optuna.create_study(
            storage=f"sqlite:///{context.folder / 'study.db'}",
            study_name=context.key("\n".join([settings, repr(space), repr(context.profile)])),
            load_if_exists=True,
            directions=["maximize", "minimize", "minimize"],
        )
        seed = context.run.config.seed + len(self.optuna.trials)
        self.optuna.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        for values in first_of(context.run.config, space):
            self.optuna.enqueue_trial(values, skip_if_exists=True)

    @property
    def n_trained(self) -> int:
        """Trials that were trained and judged."""
        return len(self._trials(TrialState.COMPLETE))

    @property
    def other_bytes(self) -> int:
        """Bytes of a bundle's files beside model and catalog; 0 until a trial has made a bundle."""
        return int(self.optuna.user_attrs.get("other_bytes", 0))

    def ask(self) -> tuple[optuna.Trial, Values]:
        """The next trial and its settings."""
        trial = self.optuna.ask()
        drawn = {key: cast(Scalar, trial.suggest_categorical(key, choices)) for key, choices in self.space.items()}
        values = simplest(drawn)
        trial.set_user_attr("settings", values)
        return trial, values

    def expect(self, trial: optuna.Trial, costs: Costs) -> None:
        """Note what the bundle of a trial is expected to cost."""
        trial.set_user_attr("expected", asdict(costs))

    def skip(self, trial: optuna.Trial, why: str | None = None) -> None:
        """End a trial that is not trained: its settings were tried before, or, with `why`, they cannot fit."""
        if why is not None:
            trial.set_user_attr("why", why)
        self.optuna.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial) -> None:
        """End a trial that could not be made; its settings may be tried again."""
        self.optuna.tell(trial, state=TrialState.FAIL)

    def finish(self, trial: optuna.Trial, bundle: ShortBundle, costs: Costs) -> None:
        """End a trial that was trained and judged."""
        self.expect(trial, costs)
        self.optuna.set_user_attr("other_bytes", bundle.other_bytes)
        trial.set_user_attr("tasks", dict(bundle.tasks))
        self.optuna.tell(trial, [bundle.quality, costs.bundle_mb, costs.p95_ms])

    def tried_before(self, values: Values, number: int) -> bool:
        """Has a trial other than `number` had these settings?"""
        return any(
            trial.user_attrs.get("settings") == values
            for trial in self._trials(TrialState.COMPLETE, TrialState.PRUNED)
            if trial.number != number
        )

    def rows(self) -> list[SearchTrial]:
        """Every trial that was trained, or that could not fit."""
        rows = [self._row(trial) for trial in self._trials() if _counts(trial)]
        best = front([row for row in rows if row.quality is not None])
        return [row.on_front() if row in best else row for row in rows]

    def _row(self, trial: FrozenTrial) -> SearchTrial:
        quality = trial.values[0] if trial.state == TrialState.COMPLETE else None
        attributes, costs = trial.user_attrs, Costs(**trial.user_attrs["expected"])
        tasks, over = attributes.get("tasks", {}), costs.over(self.profile)
        return SearchTrial(trial.number, attributes["settings"], quality, tasks, costs, over)

    def _trials(self, *states: TrialState) -> Sequence[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False, states=states or None)


def _counts(trial: FrozenTrial) -> bool:
    same_as_before = trial.state == TrialState.PRUNED and "why" not in trial.user_attrs
    return "expected" in trial.user_attrs and not same_as_before
