"""The sections of the stages that follow the data."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from edgerec.config.base import Expression, Settings, problem

Member = Literal["ease", "als", "graph", "popularity", "own", "transitions", "sequence", "reranker", "boosting"]
"""A member of the ensemble beside the teacher's network."""
Regression = Literal["huber", "median", "ordinal"]
"""A loss for regression targets."""


class EvaluationConfig(Settings):
    """The data that the report is computed on, and the quality gates."""

    part: Literal["test", "valid"] = "test"
    """The evaluation split. valid: models are trained on train, to choose settings; test: models are trained on train
    and valid, for the final figures."""
    k: tuple[Annotated[int, Field(ge=1)], ...] = (10, 20)
    """List lengths at which ranking metrics are computed."""
    users: int = Field(30_000, ge=1)
    """Most users who are judged, in valid and in test. Of more, every second, third ... is: the figures stay as sure as
    a decision needs, and judging a log of millions of rows ends. The report says of how many one is."""
    segments: tuple[str, ...] = ()
    """User attributes (columns of ``categorical`` or ``multi`` of ``[data.users]``). The report gives the quality for
    each of their values, and the gaps between those of ``categorical``; a user with two values of a column of ``multi``
    counts in both."""
    random_exposure: bool = False
    """Set it if the items shown in the evaluation split were drawn uniformly at random. The report then estimates by
    replay what each stage would have earned by showing the best of a few random items."""
    min_ndcg_retained: float = Field(0.8, ge=0)
    """Gate: the least share of the teacher's NDCG@10 (related tasks: capped recall@10) that the bundle must retain,
    over all users. A figure fails if its one-sided 95 % confidence interval lies below the gate; the stage then ends
    with exit code 1."""
    max_auc_drop: float = Field(0.02, ge=0)
    """Gate: the largest drop from the teacher in AUC (binary tasks) or XAUC (regression tasks)."""
    beat_baselines: bool = True
    """Gate: no task may be worse than its best simple baseline (popularity of the right age, own frequency,
    co-occurrence, rates), and at least one must be better, beyond chance. The settings of the baselines are chosen on
    valid. Where the data cannot tell, the gate holds, and the verdict is to wait."""
    min_overlap: float | None = Field(None, ge=0, le=1)
    """Gate: the least overlap of the bundle's ten best items with those of the same weights in float32. None: 0.95 for
    an int8 table, 0.8 for int4 and pq, which are less exact."""


class TeacherConfig(Settings):
    """The teacher's network and its training."""

    text_model: str | None = None
    """Folder or hub name of a `transformers` encoder or decoder with safetensors; None: the packaged MiniLM, if it is
    installed."""
    text_components: int = Field(64, ge=1)
    """Number of leading principal components of the text vectors that teacher and student see."""
    text_tuning: Literal["frozen", "lora", "full"] = "frozen"
    """frozen: the text model stays as it is; lora, full: it is fine-tuned on pairs of items that are consumed together,
    with LoRA or in all weights."""
    text_epochs: int = Field(1, ge=1)
    """Epochs of fine-tuning the text model; of many sessions, each epoch takes a random part."""
    text_joint: int = Field(0, ge=0)
    """Texts that a fine-tuned text model encodes anew in each step of the joint training, in which it then keeps
    learning; the other texts keep their vectors from the start of the epoch. 0: the text model is fine-tuned first and
    then frozen. Slow on a CPU."""
    dim: int = Field(48, ge=4)
    """Dimensions of item and user vectors."""
    hidden: int = Field(96, ge=4)
    """Hidden units of each part of the network."""
    heads: int = Field(4, ge=1)
    """Attention heads over the history."""
    sharing: Literal["shared-bottom", "mmoe", "ple"] = "mmoe"
    """Sharing strategy of the tasks. shared-bottom: one shared network; mmoe: shared experts, weighted by a gate for
    each task; ple: shared experts and experts of each task."""
    experts: int = Field(4, ge=1)
    """Number of shared experts; a shared bottom is as wide as all of them together."""
    graph_layers: int = Field(0, ge=0)
    """Layers of the graph neural network over users, items, sessions and the knowledge graph; 0: no graph network."""
    graph_neighbours: int = Field(0, ge=0)
    """Neighbours that a layer samples for each node; 0: all, which needs the whole graph in memory at each step."""
    sequence: int = Field(0, ge=0)
    """Number of latest events that a causal transformer inside the network reads; 0: none. Where order matters, the
    member "sequence" of [ensemble] is the stronger one, and is chosen by itself."""
    sequence_layers: int = Field(2, ge=1)
    """Layers of that transformer."""
    regression: Regression = "huber"
    """Loss of regression targets such as watch time. huber: Huber loss on the logarithm; median: quantile loss of the
    median; ordinal: whether the target exceeds each of 24 equally frequent thresholds."""
    loss_weights: Literal["fixed", "uncertainty", "gradnorm", "pcgrad"] = "fixed"
    """How the losses of the tasks are combined. Each loss is multiplied by its task's weight, from which learned
    weights start. gradnorm and pcgrad need a backward pass for each task."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout probability of hidden units."""
    item_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which each item is left out of a training history."""
    adversarial: NonNegativeFloat = 0.0
    """Adversarial training: length of the perturbation of each item vector, in standard deviations of the vectors; 0:
    no adversarial training. Doubles the training time."""
    epochs: int = Field(7, ge=1)
    """Most epochs; early stopping may end training before."""
    patience: int = Field(2, ge=1)
    """Early stopping: epochs without a better validation loss after which training ends."""
    learning_rate: PositiveFloat = 2e-3
    """Peak learning rate of the optimizer."""
    weight_decay: NonNegativeFloat = 1.0
    """Weight decay of the embeddings of item ids; all other weights have 0.01."""
    sessions: int = Field(128, ge=1)
    """Batch size: sessions in a training step."""
    impressions: int = Field(1024, ge=1)
    """Batch size: impressions in a training step."""
    sessions_per_epoch: int = Field(20_000, ge=1)
    """Most sessions in an epoch. Of more sessions a random part is used, the same in each epoch."""
    impressions_per_epoch: int = Field(1_000_000, ge=1)
    """Most impressions in an epoch, of teacher and student alike; of more impressions each epoch takes a random part of
    its own."""
    folds: int = Field(3, ge=2)
    """Folds of users. For each fold a network is trained without its users and labels them for the student. The teacher
    is the mean of these networks."""

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
    """The teacher's ensemble: closed-form and tree models beside the network, blended into one score for each task."""

    members: tuple[Member, ...] = get_args(Member)
    """Members of the ensemble beside the network. Their weights are chosen on valid and can be 0; []: the network
    alone."""
    sequence: int = Field(50, ge=2)
    """Latest events that the member "sequence" reads: a causal transformer, which is only trained where transitions
    rank the requests of valid about as well as the members that know no order."""
    sequence_dim: int = Field(64, ge=4, multiple_of=2)
    """Dimensions of its item vectors."""
    sequence_dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout probability of its hidden units."""
    sequence_epochs: int = Field(30, ge=1)
    """Its most epochs; it ends when the ranking of valid gets no better."""
    sequence_events: int = Field(1_000_000, ge=1)
    """Most events of its epochs; of more, each takes a random part."""
    windows: int = Field(10, ge=1)
    """Time windows, counted back from the end of the training rows, whose requests train the re-ranker."""
    window: str = "14d"
    """Length of a window, such as "14d"; each window begins at an as-of time of its own."""
    candidates: int = Field(200, ge=10)
    """Candidates of the re-ranker for each request, beside the history: those that the other members rank highest."""
    requests: int = Field(8_000, ge=1)
    """Most requests that train the re-ranker: the latest ones, and of each user the first in a window."""
    trees: int = Field(200, ge=1)
    """Trees of the re-ranker, for each task."""
    leaves: int = Field(31, ge=2)
    """Most leaves of a tree of the re-ranker."""
    learning_rate: PositiveFloat = 0.05
    """Learning rate of the re-ranker's trees."""


class TrainingConfig(Settings):
    """How all networks are trained, teacher and student alike."""

    allow_leaks: tuple[str, ...] = ()
    """Columns that `edgerec doctor` reports as leaks but that are known before the item is shown: training accepts
    them."""
    precision: Literal["auto", "32", "bf16", "fp16"] = "auto"
    """auto: bf16 on GPUs that have it, fp16 on other GPUs, float32 on a CPU."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are accumulated before an optimizer step."""
    compile: bool = False
    """Compile the models with torch.compile."""
    accelerator: str = "auto"
    """cpu, gpu (or cuda) or mps; auto: what the machine has, GPUs first."""
    devices: int = Field(1, ge=1)
    """GPUs, or processes on a CPU, for each machine."""
    num_nodes: int = Field(1, ge=1)
    """Number of machines. Start the same command on each, with a run folder of its own and the environment variables
    MASTER_ADDR, MASTER_PORT and NODE_RANK."""
    strategy: str = "auto"
    """Lightning's strategy: "ddp" (or "auto", "ddp_spawn") starts one process for each device, and they share every
    batch. Everything but training stays in one process."""
    checkpoint_minutes: PositiveFloat = 5.0
    """Minutes between checkpoints within an epoch; one is also written after each epoch."""
    wandb: str | None = None
    """Project in Weights & Biases to log to; needs the package wandb."""
    mlflow: str | None = None
    """Tracking address or folder of MLflow to log to; needs the package mlflow."""


Size = Literal["nano", "small", "std", "large"]
"""The size of a student."""
SIZES: dict[Size, tuple[int, int, int]] = {
    "nano": (8, 16, 2),
    "small": (16, 32, 2),
    "std": (32, 64, 4),
    "large": (64, 128, 4),
}
"""Dimensions of the item table, hidden units and attention heads of each size."""


class StudentConfig(Settings):
    """The size and inputs of the student."""

    size: Size = "std"
    """nano, small, std, large: an item table of 8, 16, 32 or 64 dimensions, and twice as many hidden units."""
    dim: int | None = Field(None, ge=4)
    """Dimensions of the item table; None: by `size`."""
    hidden: int | None = Field(None, ge=4)
    """Hidden units of the request tower; None: by `size`."""
    heads: int | None = Field(None, ge=1)
    """Attention heads over the history; None: by `size`."""
    factor: int | None = Field(None, ge=0)
    """Dimensions of the embeddings of item ids during training. A matrix then folds them into the table, since a
    product of two factors learns better than a narrow table alone. None: four times `dim`; 0: `dim`, without a
    matrix."""
    transitions: int | None = Field(None, ge=0)
    """Item transition lists: for each item, this many items that most often come next, with a weight each; three bytes
    an entry. For logs in which the order of items matters most; the history is then read in order, too. 0: no lists.
    None: 32 where such lists find new items better than popularity does, on late sessions that are held out; else 0."""
    max_history: int = Field(256, ge=1)
    """Most distinct items of a history; the latest ones are used."""

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """dim, hidden, heads and factor."""
        dim, hidden, heads = SIZES[self.size]
        dim = self.dim or dim
        return dim, self.hidden or hidden, self.heads or heads, 4 * dim if self.factor is None else self.factor


class DistillationConfig(Settings):
    """How the student learns from the teacher."""

    start_from: str | None = None
    """Folder of an earlier run whose student this one starts from, see edgerec refresh; None: random weights."""
    hard: NonNegativeFloat = 0.5
    """Loss weight of what the log says of rankings and related items."""
    hard_impressions: NonNegativeFloat = 0.1
    """Loss weight of the log's labels of impressions. One yes or no is mostly chance, and a student that learns it by
    heart ranks new impressions worse; the teacher's probability is not. Without a teacher it is 1."""
    probabilities: NonNegativeFloat = 0.9
    """Loss weight of the teacher's probabilities and regression outputs for impressions. Here and below, 0 leaves a
    term out; without any term of the teacher, the student is trained on the log alone and needs no teacher."""
    listwise: NonNegativeFloat = 0.5
    """Loss weight of the teacher's softmax over the whole catalogue, for retrieval and related tasks."""
    top_list: NonNegativeFloat = 1.0
    """Loss weight of the order of the teacher's top 20 items."""
    neighbours: NonNegativeFloat = 0.0
    """Loss weight of each item's nearest neighbours in the teacher's networks."""
    alignment: NonNegativeFloat = 0.0
    """Loss weight of the distance between the student's projected item vectors and the teacher's. It falls to 0 within
    the first 60 % of the training."""
    temperature: PositiveFloat = 1.0
    """Temperature that divides the catalogue logits of teacher and student; no unit."""
    confidence: bool = False
    """Weight each request by the confidence of the teacher."""
    early_teacher_epochs: int = Field(0, ge=0)
    """First epochs that use an early-checkpoint teacher: its networks after a third of their training, which have
    learned the easy patterns. The final teacher takes over afterwards. 0: the final teacher from the start."""
    qat: float = Field(0.25, ge=0, le=1)
    """Quantization-aware training: the last part of the training, 0 to 1, in which the item table is rounded to INT8 as
    in the bundle, with learned step sizes."""
    min_ndcg_retained: float = Field(0.8, ge=0)
    """Gate: the least share of the teacher's NDCG@10 (related tasks: capped recall@10) that the student must retain on
    the evaluation split. A figure fails if its one-sided 95 % confidence interval lies below the gate; the stage then
    ends with exit code 1."""
    max_auc_drop: float = Field(0.02, ge=0)
    """Gate: the largest drop from the teacher in AUC (binary tasks) or XAUC (regression tasks)."""
    pseudo_labelled: NonNegativeFloat = 1.0
    """Pseudo-labelled requests for each session: the same users at other times, labelled by the teacher alone."""
    future: NonNegativeFloat = 0.5
    """Future requests for each session: pseudo-labelled, at times after the end of the log, when the student will be
    used."""
    requests_per_epoch: int = Field(16_000, ge=1)
    """Sessions and pseudo-labelled requests in an epoch, drawn at random from all of them."""
    epochs: int = Field(16, ge=1)
    """Epochs of training."""
    learning_rate: PositiveFloat = 3e-3
    """Peak learning rate of the optimizer."""
    weight_decay: NonNegativeFloat = 1.0
    """Weight decay of the embeddings of item ids; all other weights have 0.01."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout probability of hidden units."""
    history_dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which each item is left out of a training history."""


class PruningConfig(Settings):
    """Structured pruning of the student, and which items leave the bundle."""

    hidden: float = Field(0.25, ge=0, lt=1)
    """Share of hidden units to cut, 0 to 1; the least important ones go."""
    dim: float = Field(0.0, ge=0, lt=1)
    """Share of the item table's dimensions to cut, 0 to 1."""
    heads: float = Field(0.0, ge=0, lt=1)
    """Share of the attention heads to cut, 0 to 1."""
    never_shown: Expression | None = None
    """SQL condition over item attributes and idle_days (days since an item's last event), such as "idle_days > 180".
    Items for which it is true leave the bundle: they are never recommended, and a history ignores them."""
    rounds: int = Field(1, ge=1)
    """Rounds of pruning. Each cuts a part, lets the student recover, and measures importance anew."""
    epochs: int = Field(2, ge=0)
    """Epochs of recovery training in each round; 0: none."""


class QuantizationConfig(Settings):
    """How the student becomes an INT8 bundle."""

    table: Literal["int8", "int4", "pq"] = "int8"
    """Storage of the item table. int8: a byte for each dimension; int4: four bits, for which the recovery after pruning
    trains the table; pq: product quantization, a byte for two dimensions and a codebook. int4 and pq save bytes, not
    time."""
    kernel: Literal["auto", "u8s8", "nbits8", "fp32"] = "auto"
    """Kernel with which the graphs multiply the item table, see `edgerec devices NAME`. auto: that of the device's
    profile, compared with float32 on this machine; float32 is used if INT8 is much slower or finds other items."""
    web: bool = False
    """Also write the catalogue as catalog.json for JavaScript; the profile of a browser always does."""
    newer_rows: str | None = None
    """A log with rows that are newer than the dataset, with columns as in [data]: item priors then follow what is
    popular now. The model does not change, so that a delta to the new bundle is small."""
    items_now: str | None = None
    """A table of today's items, with columns as in [data.items] and optionally available (0 or 1). New items are
    cold-start items: their rows come from their texts and attributes. Items that the table lacks are no longer
    recommended."""
    conformance: int = Field(200, ge=1)
    """Number of requests stored in the bundle with their answers, against which every runtime checks itself."""
