"""One section for each stage after the data."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from edgerec.config.base import Expression, Settings, problem

Member = Literal["ease", "als", "popularity", "own", "transitions", "reranker", "boosting"]
"""A model that judges beside the network."""


Regression = Literal["huber", "median", "ordinal"]
"""A loss of amounts."""


class EvaluationConfig(Settings):
    """What the report is computed on."""

    part: Literal["test", "valid"] = "test"
    """valid: fitted on train, to choose settings; test: fitted on train and valid, once."""
    k: tuple[Annotated[int, Field(ge=1)], ...] = (10, 20)
    """Lengths of the lists that ranking metrics look at."""
    segments: tuple[str, ...] = ()
    """User attributes (categorical columns of ``[data.users]``) by whose values quality is told, with the gaps."""
    random_exposure: bool = False
    """What was shown in the evaluation split was chosen evenly at random: then the report tells by replay what each stage
    would have earned by showing the best of some random items."""
    min_ndcg_retained: float = Field(0.8, ge=0)
    """Gate: the share of the teacher's NDCG@10 (related: capped recall@10) that the bundle keeps, for everyone. A
    figure fails where its one-sided 95 % interval lies below its gate; then the stage ends with exit code 1."""
    max_auc_drop: float = Field(0.02, ge=0)
    """Gate: the AUC of a binary task, or XAUC of an amount, that may be lost against the teacher."""
    min_overlap: float | None = Field(None, ge=0, le=1)
    """Gate: the share of its ten best that the bundle has in common with the same weights in float32. None: 0.95 for a
    table of int8, 0.8 for int4 and pq, which keep less by their nature."""


class TeacherConfig(Settings):
    """The teacher's network."""

    text_model: str | None = None
    """Folder or hub name of a `transformers` encoder or decoder with safetensors; None: the packaged MiniLM, if any."""
    text_components: int = Field(64, ge=1)
    """Leading principal components of the text vectors that teacher and student see."""
    text_tuning: Literal["frozen", "lora", "full"] = "frozen"
    """frozen: vectors as they come; lora, full: first tuned on pairs of items that are consumed together."""
    text_epochs: int = Field(1, ge=1)
    """Passes over the sessions, of many a random part each time, when the text model is tuned."""
    text_joint: int = Field(0, ge=0)
    """Texts that a tuned text model reads anew in each step of the joint training, where it goes on learning; the
    others are as they were when the epoch began. 0: it is tuned before, and then stays. Takes long on a CPU."""
    dim: int = Field(48, ge=4)
    """Width of item and user vectors."""
    hidden: int = Field(96, ge=4)
    """Hidden units of each part."""
    heads: int = Field(4, ge=1)
    """Attention heads over the history."""
    sharing: Literal["shared-bottom", "mmoe", "ple"] = "mmoe"
    """What the tasks share: one network, experts weighed by each task, or experts of all and of each task."""
    experts: int = Field(4, ge=1)
    """Experts that the tasks share; a shared bottom is as wide as all of them."""
    graph_layers: int = Field(0, ge=0)
    """Layers of the graph network over users, items, sessions and the knowledge graph; 0 leaves it out."""
    graph_neighbours: int = Field(0, ge=0)
    """Neighbours that a layer draws for each node; 0 takes all, which needs the whole graph in memory at each step."""
    sequence: int = Field(0, ge=0)
    """Latest raw events that the causal transformer reads; 0 leaves it out."""
    sequence_layers: int = Field(2, ge=1)
    """Layers of the causal transformer."""
    regression: Regression = "huber"
    """How amounts such as watch time are learned: huber: about the mean of their logs; median: its quantile loss;
    ordinal: being above each of 24 equally frequent amounts."""
    loss_weights: Literal["fixed", "uncertainty", "gradnorm", "pcgrad"] = "fixed"
    """How the tasks' losses are joined; each is first multiplied by its task's weight, where learned ones start.
    gradnorm and pcgrad go backward once for each task."""
    dropout: float = Field(0.2, ge=0, lt=1)
    item_dropout: float = Field(0.0, ge=0, lt=1)
    """Each past item is left out of a training history with this probability."""
    adversarial: NonNegativeFloat = 0.0
    """Length of the worst step of each item's vector that training must withstand, in standard deviations of them; 0:
    none. Doubles the time of training."""
    epochs: int = Field(7, ge=1)
    """At most; fewer where the validation loss stops falling."""
    patience: int = Field(2, ge=1)
    """Epochs without a better validation loss before training stops."""
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1.0
    """Of the item ids' own vectors; all else has 0.01."""
    sessions: int = Field(128, ge=1)
    """Requests of a training step."""
    impressions: int = Field(1024, ge=1)
    """Impressions of a training step."""
    sessions_per_epoch: int = Field(20_000, ge=1)
    """Of more sessions a random part is learned from, the same in each epoch."""
    folds: int = Field(3, ge=2)
    """Groups of users; one teacher is trained without each and labels it for the student. Their mean is the teacher."""

    @model_validator(mode="after")
    def _text_is_tuned(self) -> Self:
        if self.text_joint and self.text_tuning == "frozen":
            raise problem('text_joint trains the text model: set text_tuning = "lora" or "full"')
        return self

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.sequence and self.dim % self.heads:
            raise problem(
                f"with a sequence, dim must be a multiple of heads, got dim = {self.dim}, heads = {self.heads}"
            )
        return self


class EnsembleConfig(Settings):
    """Closed-form and tree models that judge beside the teacher's network, blended into one score a task."""

    members: tuple[Member, ...] = get_args(Member)
    """Who judges beside the network; weights chosen on valid can still be 0, and [] leaves the network alone."""
    windows: int = Field(10, ge=1)
    """Moments, rolled back from the end of the rows, whose requests the re-ranker learns from."""
    window: str = "14d"
    """Time between these as-of times."""
    candidates: int = Field(200, ge=10)
    """Items beside the history that the re-ranker looks at, those that some other member ranks highest."""
    requests: int = Field(8_000, ge=1)
    """The re-ranker learns from the latest ones, of each user the first one in a window."""
    trees: int = Field(200, ge=1)
    """Of the re-ranker, a task."""
    leaves: int = Field(31, ge=2)
    learning_rate: PositiveFloat = 0.05


class TrainingConfig(Settings):
    """How networks are trained, whatever they are."""

    allow_leaks: tuple[str, ...] = ()
    """Columns that tell a label nearly alone, and yet are known before the item is shown; see edgerec doctor."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """auto: bf16 where a GPU has it, fp16 on other GPUs, 32 bits on a CPU."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are added up before a step."""
    compile: bool = False
    """Compile the model with torch.compile."""
    accelerator: str = "auto"
    """cpu, gpu (or cuda), mps; auto takes what there is, GPUs first."""
    devices: int = Field(1, ge=1)
    """GPUs, or processes on a CPU, of each machine."""
    num_nodes: int = Field(1, ge=1)
    """Machines. Give each the same command, a run folder of its own, and MASTER_ADDR, MASTER_PORT and NODE_RANK."""
    strategy: str = "auto"
    """ "ddp" (or "auto", "ddp_spawn"): Lightning starts a process a device for each training, and they share every
    batch; the rest of the command stays in one process."""
    checkpoint_minutes: PositiveFloat = 5.0
    """A checkpoint is written after each epoch, and this often within one."""
    wandb: str | None = None
    """Project of Weights & Biases; needs the package wandb."""
    mlflow: str | None = None
    """Tracking address or folder of MLflow; needs the package mlflow."""


Size = Literal["nano", "small", "std", "large"]
"""Of a student."""
SIZES: dict[Size, tuple[int, int, int]] = {
    "nano": (8, 16, 2),
    "small": (16, 32, 2),
    "std": (32, 64, 4),
    "large": (64, 128, 4),
}
"""Width of the item table, hidden units and attention heads of each size."""


class StudentConfig(Settings):
    """The student."""

    size: Size = "std"
    """nano, small, std or large: 8, 16, 32 or 64 dimensions, twice as many hidden units."""
    dim: int | None = Field(None, ge=4)
    """Width of the item table; None: by size."""
    hidden: int | None = Field(None, ge=4)
    """Hidden units of the request tower; None: by size."""
    heads: int | None = Field(None, ge=1)
    """Attention heads over the history; None: by size."""
    factor: int | None = Field(None, ge=0)
    """Width of the vectors of the items' ids while they are learned, which a matrix folds into the table: a product of
    two factors learns better than the narrow table alone. None: four times `dim`; 0: as narrow as they are kept."""
    transitions: int = Field(0, ge=0)
    """Items that most often come next after each item, kept with a weight for each, three bytes together: for logs in
    which the order of the items tells more than their kind; then the past is seen in its order too. 0: neither."""
    max_history: int = Field(256, ge=1)
    """Distinct past items that are looked at, the latest ones."""

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """dim, hidden, heads and factor."""
        dim, hidden, heads = SIZES[self.size]
        dim = self.dim or dim
        return dim, self.hidden or hidden, self.heads or heads, 4 * dim if self.factor is None else self.factor


class DistillationConfig(Settings):
    """How the student learns from the teacher."""

    start_from: str | None = None
    """Folder of an earlier run: the student starts where that one's ended, see edgerec refresh; None: from nothing."""
    hard: NonNegativeFloat = 0.5
    """Weight of the log's own labels."""
    probabilities: NonNegativeFloat = 0.5
    """Weight of the teacher's probabilities and amounts of impressions. 0 leaves a term out, here and below; without
    any of the teacher's terms the student is trained by the log alone, and no teacher is needed."""
    listwise: NonNegativeFloat = 0.5
    """Weight of the teacher's softmax over the whole catalogue, of rankings and related items."""
    top_list: NonNegativeFloat = 1.0
    """Weight of the order of the teacher's best 20 items."""
    neighbours: NonNegativeFloat = 0.0
    """Weight of whom the teacher's networks see near an item."""
    alignment: NonNegativeFloat = 0.0
    """Weight of the teacher's item vectors, which the student's, projected, are pulled to; fades away until six tenths
    of the training are done."""
    temperature: PositiveFloat = 1.0
    """Softens teacher and student logits of the catalogue alike."""
    confidence: bool = False
    """Weigh each request by how sure the teacher is."""
    early_teacher_epochs: int = Field(0, ge=0)
    """First epochs that are taught by the teacher's networks as they were after a third of their training, which know
    what is easy; then the whole teacher takes over. 0: it teaches from the start."""
    qat: float = Field(0.25, ge=0, le=1)
    """Last part of the training in which the item table is rounded to INT8 as in the bundle, with steps that are
    learned."""
    min_ndcg_retained: float = Field(0.8, ge=0)
    """Gate: the share of the teacher's NDCG@10, or capped recall@10 of related items, that the student must keep on the
    evaluation split. A figure fails where its one-sided 95 % interval lies below its gate; then the stage ends with exit code
    1."""
    max_auc_drop: float = Field(0.02, ge=0)
    """Gate: the AUC of a binary task, or XAUC of an amount, that may be lost against the teacher."""
    pseudo_labelled: NonNegativeFloat = 1.0
    """Requests of the same users at other times, labelled by the teacher alone: this many for each session."""
    future: NonNegativeFloat = 0.5
    """The same after the end of the log, where the student will be asked."""
    requests_per_epoch: int = Field(16_000, ge=1)
    """Sessions and pseudo-labelled requests that an epoch sees, a random part of them."""
    epochs: int = Field(16, ge=1)
    learning_rate: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 1.0
    """Of the item ids' own vectors; all else has 0.01."""
    dropout: float = Field(0.1, ge=0, lt=1)
    history_dropout: float = Field(0.1, ge=0, lt=1)
    """Each past item is left out of a training history with this probability."""


class PruningConfig(Settings):
    """What is cut out of the student."""

    hidden: float = Field(0.25, ge=0, lt=1)
    """Share of hidden units to cut, the least important ones."""
    dim: float = Field(0.0, ge=0, lt=1)
    """Share of the item table's width to cut."""
    heads: float = Field(0.0, ge=0, lt=1)
    """Share of the attention's heads to cut."""
    never_shown: Expression | None = None
    """SQL condition over the items' attributes, and idle_days since an item's last event, such as "idle_days > 180":
    items that it is true for leave the bundle. They are not shown, and where they were bought they are not seen."""
    rounds: int = Field(1, ge=1)
    """Each round cuts a part, lets the student recover, and looks anew at what matters least."""
    epochs: int = Field(2, ge=0)
    """Recovery training in each round."""


class QuantizationConfig(Settings):
    """How the student becomes an INT8 bundle."""

    table: Literal["int8", "int4", "pq"] = "int8"
    """How the item table lies in the bundle: a byte a number; four bits a number, which the recovery after pruning
    gets used to; or product quantization, a byte for two numbers and a codebook. The last two save bytes, not time."""
    kernel: Literal["auto", "u8s8", "nbits8", "fp32"] = "auto"
    """How the graphs multiply the item table, see `edgerec devices NAME`. auto: as the device's profile says, held
    against float32 on this machine, which are kept where INT8 is much slower or finds other items."""
    web: bool = False
    """Also write the catalogue as catalog.json, which JavaScript reads; a browser's profile always does."""
    newer_rows: str | None = None
    """A log with rows after those of the dataset, columns as in [data]: the items' priors then say what is popular
    now. The model stays, so that a delta to the new bundle is small."""
    items_now: str | None = None
    """The items of today, columns as in [data.items], and available (0 or 1) if it has it. New items get a row by their
    words and attributes; those that it lacks are no longer shown."""
    conformance: int = Field(200, ge=1)
    """Requests whose answers are kept in the bundle, so that every runtime can check itself."""
