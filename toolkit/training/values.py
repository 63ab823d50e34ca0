"""What is asked of a tuning, what it is held against while it runs, and what it leaves behind: frozen values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from toolkit.core.artifacts import DataRef, Preprocess, Signature
from toolkit.core.errors import SettingsError
from toolkit.core.recipe import Recipe

Teacher = Literal["distill", "labels"]
"""What the outputs are held against: those of the float model, or the labels of the data."""
RangeRule = Literal["frozen", "learned"]
"""What becomes of activation ranges after the warm-up: they stay, or they are trained like weights."""

FILE = "tune.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRequest:
    """Train ``model`` on ``data`` so that it bears ``recipe`` on ``targets``; write it, and how it went, to ``out``.

    ``val`` are samples to choose the best epoch on (None: every tenth of ``data`` is held back for it). ``data`` None
    is for a model that was trained with quantization elsewhere and is only converted. ``output`` is what labels speak
    of (None: the only one that fits). ``sparsity`` is the share of weights to become zero, ``clusters`` how many
    values a layer's weights may have (0: any). ``patience`` epochs without a better one end the training.
    """

    model: Path
    out: Path
    data: str | None
    val: str | None = None
    recipe: str = "static-int8"
    targets: tuple[str, ...] = ()
    epochs: int = 10
    rate: float = 5e-4
    batch: int = 32
    seed: int = 0
    teacher: Teacher = "distill"
    output: str | None = None
    ranges: RangeRule = "frozen"
    sparsity: float = 0.0
    clusters: int = 0
    patience: int = 5
    resume: bool = False
    samples: int | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The numbers of a training. ``symmetric`` lists the activation grids of the targets, which take turns.

    ``paced_by`` is the number of epochs that the training was first started with (0: ``epochs``). Pruning and the
    measuring of ranges keep its pace where a resumed training gets longer, as part of them may be over.
    """

    recipe: Recipe
    targets: tuple[str, ...]
    symmetric: tuple[bool, ...]
    epochs: int
    rate: float
    batch: int
    seed: int
    teacher: Teacher
    output: str | None
    ranges: RangeRule
    sparsity: float
    clusters: int
    patience: int
    paced_by: int = 0

    @property
    def rounds_activations(self) -> bool:
        """Whether activations lie on a grid whose ranges are learned from data."""
        return self.recipe.activation_mode == "static"

    @property
    def warm_up(self) -> int:
        """Epochs at whose start activation ranges are measured anew: the first third, one at least."""
        return max(1, (self.paced_by or self.epochs) // 3)

    @property
    def ramp(self) -> int:
        """Epochs after which the full sparsity is reached: the first half; 0 where nothing is pruned."""
        return max(1, (self.paced_by or self.epochs) // 2) if self.sparsity else 0

    def going_on_from(self, first: Plan) -> Plan:
        """Return this plan at the pace of the one that a training was started with.

        Raises:
            SettingsError: it ends before pruning, and the clustering after it, are done.
        """
        plan = dataclasses.replace(self, paced_by=first.paced_by or first.epochs)
        least = plan.ramp + 1 if plan.sparsity and plan.clusters else plan.ramp
        if plan.epochs < least:
            raise SettingsError(
                f"--epochs is {plan.epochs}: this training was started with {plan.paced_by}, and prunes and clusters "
                f"until epoch {least}.",
                hint=f"Resume it with --epochs {least} or more, or choose another folder with -o.",
            )
        return plan


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What the child process gets. ``key`` names the inputs that a checkpoint belongs to; ``out`` exists.

    ``model`` is the file to load, ``source`` what the user named.
    """

    model: Path
    source: str
    source_sha256: str
    format: str
    shapes: dict[str, tuple[int, ...]]
    signature: Signature
    data: DataRef
    val: DataRef | None
    plan: Plan
    key: str
    name: str
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEntry:
    """One epoch: the mean loss while training, and loss and score of the simulated build on held-back samples.

    Epoch 0 is the model as it came. ``sparsity`` is the share of prunable weights that are zero.
    """

    epoch: int
    rate: float
    loss: float | None
    held_out_loss: float
    score: float | None
    sparsity: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightBytes:
    """What the weights that the recipe speaks of take, before and after, in bytes.

    ``raw`` is their packed size in the recipe's bits. ``deflated_before`` and ``deflated`` are the same bytes as a
    download compresses them (DEFLATE, RFC 1951, zlib level 9). ``sparse`` is Core ML's sparse form: a bit for each
    weight and the weights that are not zero; ``table`` its look-up form: indices and the tables; None where the weights
    do not have that form.
    """

    count: int
    zeros: int
    raw: int
    deflated_before: int
    deflated: int
    sparse: int | None = None
    table: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The whole of ``tune.json``.

    ``metric`` names the score: ``top1`` where there are class labels, ``agreement`` with the float model's class
    where there are none, empty for other outputs. ``float_score`` is the float model's. Scores of epochs are those of
    a simulated build, the worst over the targets' grids; only ``palmtop verify`` measures builds. ``model``,
    ``state`` and ``ranges`` are file names in the folder, ``sha256`` is the model's.
    """

    schema: Literal[1] = 1
    palmtop: str
    key: str
    source: str
    source_sha256: str
    format: str
    finished: bool
    note: str = ""
    plan: Plan | None = None
    train_samples: int = 0
    held_out_samples: int = 0
    metric: str = ""
    float_score: float | None = None
    best_epoch: int = 0
    history: tuple[EpochEntry, ...] = ()
    weights: WeightBytes | None = None
    left_alone: dict[str, str] = field(default_factory=dict)
    model: str = ""
    sha256: str = ""
    state: str = ""
    ranges: str = ""
