"""Where an item's utility comes from, by asking again without each part."""

from __future__ import annotations

from dataclasses import replace

from edgerec.runtime.arrays import ArrayRecommender
from edgerec.runtime.engine import Ranked
from edgerec.runtime.events import Events
from edgerec.runtime.model import RequestArguments
from edgerec.runtime.removals import Filters
from edgerec.runtime.results import Contribution, Explanation
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import floats, ints

MAX_CONTRIBUTIONS = 10
"""Past items that are taken out one by one."""


def explain_item(arrays: ArrayRecommender, item: str, filters: Filters, request: RequestArguments) -> Explanation:
    """See `Recommender.explain`."""
    model = arrays.model
    request = {**request, "now": model.now_ms(request.get("now"))}  # one time for all questions
    index, history = model.known(item), arrays.history(request.get("history"))
    weights, may_repeat = model.weights(request.get("weights"))

    def ask(encoded: Encoded) -> Ranked:
        return arrays.scoring.score(encoded, weights, ints([index]))

    without_past = model.encode(model.no_history, request)
    without_context = replace(
        without_past,
        context_categorical=ints([0] * len(without_past.context_categorical)),
        context_numeric=floats([0.0] * len(without_past.context_numeric)),
    )
    whole = ask(model.encode(history, request))
    total, alone, popular = (r.utility[0] for r in (whole, ask(without_past), ask(without_context)))
    contributions = []
    reason = whole.reason[0]
    for at in sorted(range(len(reason)), key=lambda at: -abs(reason[at]))[:MAX_CONTRIBUTIONS]:
        cause = whole.history[at]
        events = zip(history.items, history.kinds, history.time_ms, strict=True)
        others = [event for event in events if event[0] != cause]
        rest = model.encode_history(Events(ints(e[0] for e in others), [e[1] for e in others], [e[2] for e in others]))
        lost = total - ask(model.encode(rest, request)).utility[0]
        contributions.append(Contribution(*model.catalog.named(cause), reason[at], lost))
    removed = arrays.removed(filters, request, history, may_repeat)
    return Explanation(
        *model.catalog.named(index),
        utility=total,
        popular=popular,
        context=alone - popular,
        history=total - alone,
        past=tuple(contributions),
        removed_by=next((cause for cause, gone in removed if index in gone), None),
    )
