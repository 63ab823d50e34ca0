"""The cells of one device, measured in turns; what fails is tried again as far as that may help, and explained."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

from mobile_harness import deployer, lab
from mobile_harness.deployer import Deployment
from mobile_harness.matrix import retry
from mobile_harness.matrix.cells import UTC, Setting, Slot, abba, baseline, resumed_doubt, with_session
from mobile_harness.matrix.retry import Health
from mobile_harness.matrix.telling import Teller
from mobile_harness.measurer.cooling import cool
from mobile_harness.measurer.loop import Cancelled, Watch, take
from mobile_harness.measurer.machine import Finish
from mobile_harness.measurer.session import Frame, figures
from mobile_harness.measurer.verdict import conclude
from mobile_harness.records import Cell, Failure, Session
from mobile_harness.transports.base import Device, DeviceFailed, Job
from mobile_harness.wire.messages import Hello
from toolkit.core.tools import Tools

_LOOK_S = 0.25


class Turns:
    """One device's part of a matrix. ``cancelled`` ends it between two looks, with the device clean."""

    def __init__(
        self, device: Device, slots: Sequence[Slot], setting: Setting, tools: Tools, cancelled: threading.Event
    ) -> None:
        self._device = device
        self._slots = {slot.cell.id: slot for slot in slots if slot.cell.outcome != "measured"}
        self._cells = {
            name: dataclasses.replace(slot.cell, started_utc=slot.cell.started_utc or _utc(tools))
            for name, slot in self._slots.items()
        }
        self._setting = setting
        self._tools = tools
        self._cancelled = cancelled
        self._tell = Teller(device, self._cells.values(), tools)
        self._health = Health()
        self._baseline = baseline(self._cells.values())
        self._deployed: dict[str, Deployment] = {}
        self._ended: set[str] = set()

    def run(self) -> None:
        """Measure all of them; the device is clean afterwards."""
        self._announce()
        with self._cleaned():
            sessions = max((cell.plan.sessions for cell in self._cells.values()), default=0)
            for name, index in abba(tuple(self._cells), sessions):
                self._give_up()
                if name not in self._ended:
                    self._turn(name, index)

    def _announce(self) -> None:
        count = len(self._cells)
        self._tell.device("planned", f"{count} cell{'' if count == 1 else 's'} to measure", level="debug")

    @contextmanager
    def _cleaned(self) -> Iterator[None]:
        """Leave the device as it was found, however the block ends, and never while another process measures on it."""
        try:
            yield
        finally:
            with ExitStack() as stack:
                try:
                    stack.enter_context(lab.reserve(self._device, self._tools, self._give_up))
                except Cancelled:
                    self._tell.device("ended", "cleaned up while another palmtop measures on it", level="debug")
                deployer.clean(self._device, self._tools)

    # one turn -----------------------------------------------------------------------------------------------------

    def _turn(self, name: str, index: int) -> None:
        if index not in {session.index for session in self._cells[name].sessions}:
            if not self._is_usable():
                self._skip(name)
                return
            failure = self._session(name, index)
            if failure is not None:
                self._end(name, failure)
                return
        if index == self._cells[name].plan.sessions - 1:
            self._end(name, None)

    def _session(self, name: str, index: int) -> Failure | None:
        """Take a session, several times if need be, while no other process uses the device."""
        begun_ns = self._tools.clock.monotonic_ns()
        with lab.reserve(self._device, self._tools, lambda: self._wait_for_device(name, index)):
            for tries in range(1, 100):
                got = self._attempt(name, index)
                if isinstance(got, Session):
                    self._health = retry.after(self._health, None)
                    self._tell.taken((self._tools.clock.monotonic_ns() - begun_ns) / 1e9)
                    self._keep(name, got)
                    return None
                self._health = retry.after(self._health, got)
                if not self._may_try_again(name, index, got, tries):
                    return got
        raise AssertionError("a failure was repeated a hundred times")

    def _wait_for_device(self, name: str, index: int) -> None:
        self._give_up()
        self._tell.cell(self._cells[name], "waiting", "another palmtop measures on the device", index=index)

    def _keep(self, name: str, session: Session) -> None:
        cell = self._cells[name] = with_session(self._cells[name], session)
        self._setting.sink.add_session(cell.run_id, cell.id, session)

    def _may_try_again(self, name: str, index: int, failure: Failure, tries: int) -> bool:
        rule = retry.rule_of(failure.kind)
        if tries > len(rule.pauses_s) or self._health.state != "well":
            return False
        if rule.find_first:
            self._tell.cell(self._cells[name], "resting", "the device is looked for", index=index)
            if not self._find(retry.BACK_PAUSES_S):
                self._health = retry.gone(self._health)
                return False
        self._tell.again(self._cells[name], index, failure)
        self._rest(rule.pauses_s[tries - 1])
        return True

    # the device's health --------------------------------------------------------------------------------------------

    def _is_usable(self) -> bool:
        """Whether the device may measure; one that failed too often is looked for before it is given up for good."""
        if self._health.state == "suspect":
            why = self._explained().message
            self._tell.device("quarantined", f"{why} It is looked for again.", level="warning", trouble=why)
            if self._find(retry.SECOND_PAUSES_S):
                self._health = retry.on_probation(self._health)
                self._tell.device("resting", "it is there again and gets another chance")
            else:
                self._health = retry.condemned(self._health)
        return self._health.state == "well"

    def _find(self, pauses_s: Sequence[float]) -> bool:
        for pause_s in pauses_s:
            self._rest(pause_s)
            if lab.absence(self._device, self._tools) is None:
                return True
        return False

    def _explained(self) -> Failure:
        again = "Once it is well, resume the run: its other cells are kept."
        return retry.explained(self._health, lab.selector(self._device), again)

    def _rest(self, seconds: float) -> None:
        clock = self._tools.clock
        end_ns = clock.monotonic_ns() + int(seconds * 1e9)
        while (left_s := (end_ns - clock.monotonic_ns()) / 1e9) > 0:
            self._give_up()
            clock.sleep(min(_LOOK_S, left_s))

    def _give_up(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    # one attempt ----------------------------------------------------------------------------------------------------

    def _attempt(self, name: str, index: int) -> Session | Failure:
        """Take a session once. Whatever the device does ends as a failure of this cell, also where we did not foresee
        it: no phone may stop the others.
        """
        try:
            finish, got = self._measured(name, index)
        except Cancelled:
            raise
        except DeviceFailed as error:
            got = Failure(kind=error.kind, message=error.message, hint=error.hint)
        except Exception as error:
            self._tell.device("resting", traceback.format_exc(), level="debug")
            got = Failure(
                kind="internal",
                message=f"palmtop failed on what {lab.selector(self._device)} did: {type(error).__name__}: {error}",
                hint="This is a bug of palmtop: `palmtop bench … -v` prints where, please report it.",
            )
        if isinstance(got, Failure):
            if got.kind in retry.OF_DEVICE:
                self._deployed.clear()  # it may have rebooted, or have been wiped: what is there is asked again
            return got
        got = dataclasses.replace(got, palmtop=version("palmtop"))
        return self._same_runtime(name, finish.transcript.bodies(Hello)) or got

    def _measured(self, name: str, index: int) -> tuple[Finish, Session | Failure]:
        cell = self._cells[name]
        if name not in self._deployed:
            self._tell.cell(cell, "pushing", "push", index=index)
            self._deployed[name] = deployer.deploy(self._device, self._setting.folder, self._slots[name].build)
        deployed = self._deployed[name]
        job = Job(
            run=secrets.token_hex(4),
            target=cell.target,
            model=deployed.model,
            model_sha256=cell.build_sha256,
            golden=deployed.golden,
            plan=cell.plan,
        )
        watch = self._watch(cell, index)
        cooling = dataclasses.replace(watch, progress=lambda phase, _: self._tell.cooling(cell, index, phase))
        cooled = cool(self._device, cell.plan, self._baseline, cooling)
        self._baseline = self._baseline or cooled.vitals
        frame = Frame(
            index=index,
            started_utc=_utc(self._tools),
            expected=deployed.expected,
            cooled=cooled,
            accelerator=cell.plan.accelerator,
        )
        limits = dataclasses.replace(self._setting.limits, deadline_s=cell.plan.session_deadline_s)
        finish = take(self._device, job, limits, watch)
        return finish, figures(finish, frame)

    def _watch(self, cell: Cell, index: int) -> Watch:
        return Watch(
            clock=self._tools.clock,
            cancelled=self._cancelled,
            progress=lambda phase, _: self._tell.progress(cell, index, phase),
            seen=self._tell.seen,
        )

    def _same_runtime(self, name: str, hellos: Sequence[Hello]) -> Failure | None:
        """Note the runtime of the first session, and refuse a later one with another: they would not be one cell."""
        cell, hello = self._cells[name], hellos[0] if hellos else None
        if hello is None:
            return Failure(kind="protocol", message="The result file has no record `hello`.")
        if not cell.runtime:
            cell = dataclasses.replace(cell, runtime=hello.runtime[:80], runtime_version=hello.runtime_ver[:80])
            self._cells[name] = cell
            self._setting.sink.save_cell(cell)
        elif (cell.runtime, cell.runtime_version) != (hello.runtime[:80], hello.runtime_ver[:80]):
            return Failure(
                kind="refused",
                message=f"This session ran on {hello.runtime} {hello.runtime_ver}, the others of its cell on "
                f"{cell.runtime} {cell.runtime_version}.",
                hint="Start a new run.",
            )
        return None

    # how a cell ends --------------------------------------------------------------------------------------------------

    def _skip(self, name: str) -> None:
        self._save(name, dataclasses.replace(self._cells[name], outcome="skipped", failure=self._explained()))

    def _end(self, name: str, failure: Failure | None) -> None:
        cell = dataclasses.replace(self._cells[name], outcome="failed" if failure else "measured", failure=failure)
        if failure is None:
            cell = conclude(cell)
            resumed = resumed_doubt(cell.sessions) if self._slots[name].cell.sessions else ()
            cell = dataclasses.replace(cell, doubts=(*cell.doubts, *resumed))
        self._save(name, cell)

    def _save(self, name: str, cell: Cell) -> None:
        cell = self._cells[name] = dataclasses.replace(cell, ended_utc=_utc(self._tools))
        self._ended.add(name)
        self._setting.sink.save_cell(cell)
        self._tell.ended(cell)


def _utc(tools: Tools) -> str:
    return tools.clock.utc().strftime(UTC)
