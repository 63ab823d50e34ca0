"""The training loop with a framework of a few lines: epochs, resuming, pruning, clustering, ends before the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_net import LinearNet

from toolkit.core.artifacts import DataRef, Signature
from toolkit.core.errors import ModelError, SettingsError
from toolkit.core.events import Event
from toolkit.core.recipe import load_recipe
from toolkit.training import checkpoints, loop, work
from toolkit.training.goals import Aim
from toolkit.training.loop import Course
from toolkit.training.material import Part, split
from toolkit.training.trainee import Goal, Weight
from toolkit.training.values import Plan, TrainingJob, Tuned

START = np.random.default_rng(3).normal(0, 1, (40, 8)).astype(np.float32)


def a_plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "recipe": load_recipe("static-int8"), "targets": ("onnx", "coreml"), "symmetric": (False, True), "epochs": 4,
        "rate": 0.05, "batch": 16, "seed": 1, "teacher": "distill", "output": None, "ranges": "frozen", "sparsity": 0.0,
        "clusters": 0, "patience": 9,
    }  # fmt: skip
    return Plan(**{**fields, **changes})


def a_course(folder: Path, plan: Plan, net: LinearNet, news: list[Event] | None = None) -> Course:
    x = np.random.default_rng(5).normal(0, 1, (120, 40)).astype(np.float32)
    wanted = (x @ (START * 0.9 + 0.05)).astype(np.float32)
    whole = Part({"x": x}, None, {"y": wanted}, np.arange(120))
    train, held_out, _ = split(whole)
    aim = Aim((Goal(output="y", kind="values", scale=float(wanted.var())),), by_labels=False, scored="", metric="")
    rounding = work.rounding_of(plan.recipe, net)
    net.arrange(rounding, aim.goals, learned=False)
    emit = (lambda _: None) if news is None else news.append
    return Course(trainee=net, plan=plan, rounding=rounding, aim=aim, train=train, held_out=held_out, folder=folder,
                  emit=emit)  # fmt: skip


def a_record(plan: Plan) -> Tuned:
    return Tuned(palmtop="0", key="k", source="m", source_sha256="", format="linear", finished=False, plan=plan)


def trained(folder: Path, plan: Plan, start: np.ndarray = START) -> tuple[LinearNet, Tuned]:
    net = LinearNet(start)
    return net, loop.run(a_course(folder, plan, net), a_record(plan))


def test_training_lowers_the_loss_and_ends_in_the_best_epoch(tmp_path: Path) -> None:
    news: list[Event] = []
    net, plan = LinearNet(START), a_plan()
    made = loop.run(a_course(tmp_path, plan, net, news), a_record(plan))
    assert [entry.epoch for entry in made.history] == [0, 1, 2, 3, 4]
    losses = [entry.held_out_loss for entry in made.history]
    assert min(losses) < losses[0] / 2
    assert made.best_epoch == int(np.argmin(losses))
    assert net.w.tolist() == checkpoints.load(tmp_path, made.best_epoch)["w"].tolist()
    assert {event.phase for event in news if event.subject == "tune"} == {f"epoch {n} of 4" for n in (1, 2, 3, 4)}
    ended = {event.subject: event.message for event in news if event.phase == "noted"}
    assert list(ended) == [f"epoch {number}" for number in range(5)]
    assert ended["epoch 2"] == f"loss {made.history[2].loss:.4g}, held-out loss {losses[2]:.4g}"
    assert set(net.grids) == {False, True}, "the grids of the targets take turns"
    assert made.history[0].loss is None
    assert net.surveys == -(-108 // 16), "ranges are measured once, as the warm-up is one epoch"


@pytest.mark.parametrize("changes", [{}, {"sparsity": 0.5, "clusters": 4}, {"clusters": 4}])
def test_an_interrupted_training_ends_as_if_it_had_not_been(changes: dict[str, Any], tmp_path: Path) -> None:
    plan = a_plan(**changes)
    whole, record = trained(tmp_path / "whole", plan)

    class Ended(Exception):
        pass

    class Interrupted(LinearNet):
        left = 17  # in the third of four epochs of six steps

        def step(self, *args: Any, **kwargs: Any) -> float:
            self.left -= 1
            if self.left == 0:
                raise Ended
            return super().step(*args, **kwargs)

    folder = tmp_path / "parts"
    with pytest.raises(Ended):
        loop.run(a_course(folder, plan, Interrupted(START)), a_record(plan))
    found = checkpoints.read(folder)
    assert found is not None
    assert [entry.epoch for entry in found.history] == [0, 1, 2]
    again, news = LinearNet(START), list[Event]()
    resumed = loop.run(a_course(folder, plan, again, news), found)
    assert (news[0].subject, news[0].message.partition(":")[0]) == ("epoch 2", "was done before")
    assert resumed.history == record.history
    assert {name: values.tolist() for name, values in again.state().items()} == {
        name: values.tolist() for name, values in whole.state().items()
    }


def test_a_diverging_loss_is_an_error_and_the_last_good_epoch_stays(tmp_path: Path) -> None:
    plan = a_plan(rate=0.9, epochs=60)
    wild = (START * 1e18).astype(np.float32)
    with np.errstate(all="ignore"), pytest.raises(ModelError, match=r"loss became (inf|nan) in epoch \d+") as failure:
        trained(tmp_path, plan, wild)
    assert "--resume" in failure.value.hint
    assert "--lr" in failure.value.hint
    found = checkpoints.read(tmp_path)
    assert found is not None
    assert np.isfinite(checkpoints.load(tmp_path, found.history[-1].epoch)["w"]).all()


def test_pruning_reaches_its_sparsity_and_only_epochs_that_have_it_count(tmp_path: Path) -> None:
    net, made = trained(tmp_path, a_plan(sparsity=0.75))
    assert made.best_epoch >= 2
    assert [round(entry.sparsity, 2) for entry in made.history] == [0.0, 0.66, 0.75, 0.75, 0.75]
    assert (net.weights()["line/w"].values == 0).mean() == pytest.approx(0.75)


def test_clustered_weights_have_few_values_and_pruned_ones_stay_zero(tmp_path: Path) -> None:
    for sparsity, clusters in ((0.5, 5), (0.1, 5)):
        net, made = trained(tmp_path / f"{sparsity}", a_plan(sparsity=sparsity, clusters=clusters))
        values = net.weights()["line/w"].values
        assert made.best_epoch >= 3
        assert len(np.unique(values)) <= clusters
        assert (values == 0).mean() >= sparsity


def test_it_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    net, made = trained(tmp_path, a_plan(rate=1e-9, patience=2, epochs=30))
    assert made.best_epoch + 2 <= made.history[-1].epoch < 15
    assert np.allclose(net.w, START, atol=1e-5)


def test_a_course_can_be_longer_the_second_time(tmp_path: Path) -> None:
    plan = a_plan(epochs=2)
    _, first = trained(tmp_path, plan)
    longer = dataclasses.replace(plan, epochs=5)
    made = loop.run(a_course(tmp_path, longer, LinearNet(START)), first)
    assert made.history[:3] == first.history
    assert made.history[-1].epoch == 5


def test_a_longer_course_prunes_and_clusters_at_the_pace_it_was_started_with(tmp_path: Path) -> None:
    plan = a_plan(sparsity=0.75, clusters=5)
    _, first = trained(tmp_path, plan)
    longer = dataclasses.replace(plan, epochs=10).going_on_from(plan)
    assert (longer.ramp, longer.warm_up) == (plan.ramp, plan.warm_up) == (2, 1)
    net = LinearNet(START)
    made = loop.run(a_course(tmp_path, longer, net), dataclasses.replace(first, plan=longer))
    assert made.history[:5] == first.history
    assert made.history[-1].epoch == 10
    assert made.best_epoch >= 3
    assert all(entry.sparsity >= 0.75 for entry in made.history[2:]), "pruning does not start anew"
    assert len(np.unique(net.weights()["line/w"].values)) <= 5
    assert dataclasses.replace(plan, epochs=12).going_on_from(longer).ramp == 2, "the first start counts"


def test_a_shorter_course_that_leaves_no_time_to_prune_is_refused() -> None:
    first = a_plan(sparsity=0.5, clusters=4, epochs=10)
    with pytest.raises(SettingsError, match="until epoch 6") as failure:
        a_plan(sparsity=0.5, clusters=4, epochs=5).going_on_from(first)
    assert "--epochs 6 or more" in failure.value.hint
    assert a_plan(sparsity=0.5, clusters=4, epochs=6).going_on_from(first).ramp == 5
    assert a_plan(epochs=1).going_on_from(a_plan(epochs=10)).warm_up == 3


def test_a_network_with_nothing_to_round_is_refused() -> None:
    class Bare(LinearNet):
        def weights(self) -> dict[str, Weight]:
            return {}

    ref = DataRef(format="npz", location="d", sha256="0" * 64, count=1, labelled=False)
    job = TrainingJob(model=Path("m.keras"), source="m.keras", source_sha256="", format="keras", shapes={},
                      signature=Signature(inputs=(), outputs=()), data=ref, val=None, plan=a_plan(), key="k", name="m",
                      out=Path("o"))  # fmt: skip
    work._check_weights(job, LinearNet(START))
    with pytest.raises(ModelError, match=r"m\.keras has no layer whose weights are rounded"):
        work._check_weights(job, Bare(START))
    floats = dataclasses.replace(job.plan.recipe, keep_float=("line",))
    with pytest.raises(SettingsError, match=r"keeps every layer of m\.keras"):
        work._check_weights(dataclasses.replace(job, plan=a_plan(recipe=floats)), LinearNet(START))
