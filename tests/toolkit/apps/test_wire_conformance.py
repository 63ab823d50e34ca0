"""The conformance corpus and the JSON Schema of palmtop-bench/1 against the implementations that palmtop itself has."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import wire_schema

from mobile_harness.stats import percentile
from mobile_harness.wire import frames, messages, transcript
from mobile_harness.wire.messages import Malformed, Samples
from toolkit.host_runner import channel, order

ROOT = Path(__file__).parents[3]
WIRE = ROOT / "tests" / "samples" / "wire"
CORPUS: dict[str, Any] = json.loads((WIRE / "conformance.json").read_text(encoding="ascii"))
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "wire.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PREAMBLE = {"schema", "about"}


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case.get("name", str(at))) for at, case in enumerate(CORPUS[name])]


def test_the_readme_names_every_duty() -> None:
    said = (WIRE / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in said for name in CORPUS.keys() - PREAMBLE)
    assert all(len(CORPUS[name]) > 4 for name in CORPUS.keys() - PREAMBLE)


@pytest.mark.parametrize("case", cases("frames"))
def test_both_encoders_write_the_frames(case: dict[str, Any]) -> None:
    assert list(frames.encode(case["run"], case["seq"], case["text"])) == case["frames"]
    assert channel.frames(case["run"], case["seq"], case["text"]) == case["frames"]
    assert all(len(frame) <= frames.FRAME_MAX for frame in case["frames"])
    found = [chunk for frame in case["frames"] for chunk in frames.scan(frame).chunks]
    assert frames.join(tuple(chunk.payload for chunk in found)) == case["text"]


@pytest.mark.parametrize("case", cases("lines"))
def test_the_scanner_finds_what_is_in_a_line(case: dict[str, Any]) -> None:
    found = frames.scan(case["line"])
    assert [dataclasses.asdict(chunk) for chunk in found.chunks] == case["chunks"]
    assert found.damaged == case["damaged"]


@pytest.mark.parametrize("case", cases("records"))
def test_the_parser_and_the_schema_agree_on_what_a_record_is(case: dict[str, Any]) -> None:
    if case["valid"]:
        messages.from_text(case["text"])
    else:
        with pytest.raises(Malformed):
            messages.from_text(case["text"])
    if case["schema_valid"] is not None:
        assert VALIDATOR.is_valid(json.loads(case["text"])) == case["schema_valid"]


@pytest.mark.parametrize("case", cases("strings"))
def test_texts_are_ascii_json_without_the_mark(case: dict[str, Any]) -> None:
    text = "".join(map(chr, case["code_points"]))
    written = messages.to_text(messages.Record(seq=0, at_ns=0, body=messages.Warn(code="", msg=text)))
    assert f'"msg":{case["json"]},' in written
    assert "@" not in written
    assert written.isascii()
    assert json.loads(case["json"]) == text


@pytest.mark.parametrize("case", cases("numbers"))
def test_numbers_read_back_to_the_last_bit(case: dict[str, Any]) -> None:
    value = struct.unpack(">d", bytes.fromhex(case["bits"]))[0]
    body = messages.ParityReading(output_index=0, output="y", max_abs=value, cos=1.0, n=1)
    written = messages.to_text(messages.Record(seq=0, at_ns=0, body=body))
    assert f'"max_abs":{case["text"]},' in written
    read = messages.from_text(written).body
    assert isinstance(read, messages.ParityReading)
    assert struct.pack(">d", read.max_abs).hex() == case["bits"] or math.isnan(value)


@pytest.mark.parametrize("case", cases("series"))
def test_latencies_travel_and_are_summed_up_alike(case: dict[str, Any]) -> None:
    told = case["result"]
    parts = [Samples(phase="measure", first_index=one["first_index"], dns=tuple(one["dns"])) for one in case["samples"]]
    assert list(transcript.latencies_ns(parts, "measure")) == case["latencies_ns"]
    assert transcript.samples_sha256(case["latencies_ns"]) == told["samples_sha256"]
    for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99")):
        assert percentile(case["latencies_ns"], share) == told[name]
    assert sum(case["latencies_ns"]) / told["n"] == pytest.approx(told["mean"], rel=1e-12)


@pytest.mark.parametrize("case", cases("hashes"))
def test_the_checksums_are_the_usual_ones(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["hex"])
    assert hashlib.sha256(raw).hexdigest() == case["sha256"]
    assert f"{zlib.crc32(raw):08x}" == case["crc32"]


@pytest.mark.parametrize("case", cases("orders"))
def test_orders_are_read_or_refused(case: dict[str, Any]) -> None:
    if case["order"] is None:
        with pytest.raises(order.BadOrder):
            order.read([f"--palmtop={case['word']}"])
        return
    read = order.read([f"--palmtop={case['word']}"])
    plain = dataclasses.asdict(read)
    told = {key: str(value) if isinstance(value, Path) else value for key, value in plain.items()}
    assert told == case["order"]


def test_the_schema_is_that_of_the_records_that_the_parser_reads() -> None:
    """``python tests/wire_schema.py`` writes it again."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert wire_schema.schema() == SCHEMA
    assert SCHEMA["$defs"]["beat"]["properties"]["done"] == {"$ref": "#/$defs/count"}
    assert SCHEMA["$defs"]["power"]["properties"]["current_raw"]["anyOf"][0] == {"$ref": "#/$defs/whole"}


@pytest.mark.parametrize("line", (WIRE / "complete.jsonl").read_text(encoding="ascii").splitlines())
def test_every_record_of_the_complete_transcript_fits_the_schema(line: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(json.loads(line))] == []
