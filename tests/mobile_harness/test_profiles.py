"""Device profiles: what ships is sound, devices find theirs, selectors choose, the fit linter says what is known."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import json
from pathlib import Path

import pytest
from bench_builds import make_folder
from hypothesis import given
from hypothesis import strategies as st

from mobile_harness import profiles
from mobile_harness.profiles import DeviceProfile, Network, best_match, match, parse, shipped
from mobile_harness.profiles.delegates import DELEGATES
from mobile_harness.profiles.fit import Finding, download_s, downloads, fit, memory_factor, worst
from mobile_harness.profiles.selector import NUMBER_KEYS, TEXT_KEYS, Traits, parse_selector, selects, traits_of
from mobile_harness.profiles.survey import obstacles, survey
from mobile_harness.records import DeviceInfo
from toolkit.cli.main import execute
from toolkit.core.artifacts import Requirements, Signature
from toolkit.core.errors import SettingsError
from toolkit.core.manifest import BuildEntry
from toolkit.core.tools import Tools

SHIPPED = {profile.name: profile for profile in shipped()}
PAIRS = tuple(itertools.permutations(SHIPPED.values(), 2))

PHONE = DeviceInfo(
    transport="adb",
    serial="R5CX",
    platform="android",
    model="CPH2581",
    soc="QTI SM8650",
    os_version="15",
    abis=("arm64-v8a", "armeabi-v7a"),
    ram_mb=11_300,
    kind="phone",
)
MINIMAL = """
summary = "A phone"
kind = "phone"
platform = "android"
[match]
models = ["Model X"]
[[sources]]
facts = "match"
source = "its maker"
confidence = "documented"
"""


def build(target: str = "tflite", size_mb: float = 5.0, **needs: object) -> BuildEntry:
    runtime = {"tflite": "TensorFlow Lite or LiteRT", "onnx": "onnxruntime"}.get(target, "Core ML program")
    stated = {"runtime": runtime, "runtime_min": "1", "operators": ("CONV_2D",), **needs}
    return BuildEntry(
        id=f"{target}-x",
        target=target,
        recipe="x",
        path="x",
        sha256="0" * 64,
        size_bytes=int(size_mb * 1_000_000),
        signature=Signature(inputs=(), outputs=()),
        kept_float=(),
        requirements=Requirements(**stated),  # type: ignore[arg-type]
    )


def found(entry: BuildEntry, profile: DeviceProfile | str, check: str) -> Finding:
    known = SHIPPED[profile] if isinstance(profile, str) else profile
    (finding,) = (one for one in fit(entry, known) if one.check == check)
    return finding


def changed(profile: str, part: str, **values: object) -> DeviceProfile:
    known = SHIPPED[profile]
    return dataclasses.replace(known, **{part: dataclasses.replace(getattr(known, part), **values)})


# what ships


def test_there_are_classes_of_every_kind_from_every_maker() -> None:
    kinds = [profile.kind for profile in SHIPPED.values()]
    assert kinds.count("phone") >= 24
    assert {"emulator", "simulator", "virtual", "host"} <= set(kinds)
    assert sum(name.startswith("iphone-") and SHIPPED[name].kind == "phone" for name in SHIPPED) >= 10
    processors = " ".join(profile.soc.name for profile in SHIPPED.values())
    for maker in ("Snapdragon", "Tensor", "Exynos", "Dimensity", "Helio", "Unisoc", "Apple"):
        assert maker in processors


@pytest.mark.parametrize("name", SHIPPED)
def test_each_says_where_every_group_of_facts_is_from_and_shows_no_placeholder(name: str) -> None:
    profile = SHIPPED[name]
    facts = [source.facts for source in profile.sources]
    assert len(facts) == len(set(facts))
    assert {"match"} <= set(facts)
    assert all(len(source.source) > 8 for source in profile.sources)
    assert profile.summary.strip() == profile.summary
    if profile.kind == "phone":
        assert {"os", "memory", "soc", "accelerators", "bench", "networks"} <= set(facts)
        assert profile.match.models or profile.match.model_patterns
        assert profile.memory.app_budget_mb is not None
        assert profile.memory.app_budget_mb < min(profile.memory.ram_mb) / 2
    for accelerator in profile.accelerators:
        assert (accelerator.target, accelerator.name) in DELEGATES


def test_no_model_belongs_to_two_classes() -> None:
    models = [(profile.platform, model.lower()) for profile in SHIPPED.values() for model in profile.match.models]
    assert len(models) == len(set(models))
    for one, other in PAIRS:
        if (one.kind, one.platform) == (other.kind, other.platform) and one.kind == "phone":
            for model, pattern in itertools.product(one.match.models, other.match.model_patterns):
                assert not fnmatch.fnmatchcase(model, pattern), (
                    f"{model} of {one.name} is like {pattern} of {other.name}"
                )


@pytest.mark.parametrize("name", [name for name, profile in SHIPPED.items() if profile.match.models])
def test_a_device_with_a_listed_model_finds_its_class(name: str) -> None:
    profile = SHIPPED[name]
    info = dataclasses.replace(PHONE, platform=profile.platform, kind=profile.kind, soc="")
    for model in profile.match.models:
        matched = best_match(SHIPPED.values(), dataclasses.replace(info, model=model.upper()))
        assert matched is not None
        assert (matched.profile.name, matched.by) == (name, "model")


# reading


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL.replace("models =", "model ="), "did you mean 'models'?"),
        (MINIMAL.replace("kind =", "kindd =") + "", "did you mean 'kind'?"),
        (MINIMAL.replace('"phone"', '"fridge"'), "kind"),
        (MINIMAL.replace('models = ["Model X"]', ""), "nothing says how to recognise it"),
        (MINIMAL.replace('summary = "A phone"', 'summary = ""'), "its summary is empty"),
        (MINIMAL.replace('summary = "A phone"', 'name = "x"'), "name twice"),
        (MINIMAL + "[memory]\nram_mb = [4096]\n", "memory has no source"),
        (MINIMAL + "[memory]\nram_mb = [0]\n", "not above 0"),
        (MINIMAL + "[memory]\napp_budget_mb = 100\n", "no reason"),
        (MINIMAL + '[os]\nmin = "34"\nmax = "30"\n', "is above its last"),
        (MINIMAL + '[os]\nmax = "fourteen"\n', "is not a version"),
        (MINIMAL + '[[networks]]\nname = "4g"\ndownlink_mbit_s = -1\n', "not above 0"),
        (MINIMAL + "[bench]\nmin_battery_percent = 101\n", "not between 0 and 100"),
        ("summary = ", "not valid"),
    ],
)
def test_a_profile_that_is_off_says_what_is(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as told:
        parse("a-phone", text)
    assert says in str(told.value)


def test_a_minimal_profile_is_enough_and_its_name_is_the_files() -> None:
    assert parse("a-phone", MINIMAL).name == "a-phone"
    with pytest.raises(SettingsError, match="small letters"):
        parse("A phone", MINIMAL)


@given(st.text(max_size=200))
def test_hostile_text_is_a_typed_error(text: str) -> None:
    with pytest.raises(SettingsError):
        parse("a-phone", text)


# matching


def test_the_chip_alone_makes_a_device_like_a_class_not_of_it() -> None:
    unlisted = dataclasses.replace(PHONE, model="23127PN0CG")
    matched = best_match(SHIPPED.values(), unlisted)
    assert matched is not None
    assert (matched.profile.soc.model, matched.by) == ("SM8650", "soc")
    assert traits_of(unlisted, matched).profile == ""
    assert traits_of(PHONE, best_match(SHIPPED.values(), PHONE)).profile == "oneplus-12"


def test_a_class_of_another_kind_or_platform_never_matches() -> None:
    profile = SHIPPED["oneplus-12"]
    assert match(profile, PHONE)
    assert not match(profile, dataclasses.replace(PHONE, kind="emulator"))
    assert not match(profile, dataclasses.replace(PHONE, platform="ios"))
    assert best_match(SHIPPED.values(), dataclasses.replace(PHONE, model="Nobody", soc="")) is None


def test_a_pattern_is_no_regular_expression_and_a_model_no_pattern() -> None:
    dots = dataclasses.replace(PHONE, model="SMXS928B", soc="")
    stars = dataclasses.replace(PHONE, model="*", soc="")
    assert best_match(SHIPPED.values(), dots) is None
    assert best_match(SHIPPED.values(), stars) is None


@pytest.mark.parametrize(("kind", "platform", "name"), [("virtual", "android", "virtual"), ("host", "linux", "host")])
def test_virtual_devices_and_hosts_are_their_own_classes_whatever_they_say(kind: str, platform: str, name: str) -> None:
    info = dataclasses.replace(PHONE, kind=kind, platform=platform, model="Pixel 9", soc="Tensor G4")
    matched = best_match(SHIPPED.values(), info)
    assert matched is not None
    assert matched.profile.name == name


# selectors


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("soc=*SM8650", True),
        ("soc=sm8550", False),
        ("ram>=6000", True),
        ("ram<6000", False),
        ("api>=35", True),
        ("api>35", False),
        ("api=35,abi=arm64-v8a,kind=phone", True),
        ("abi=x86_64", False),
        ("abi!=x86_64", True),
        ("model=CPH25*", True),
        ("model!=CPH25*", False),
        ("oneplus-12", True),
        ("profile=oneplus-*", True),
        ("profile!=oneplus-12", False),
        ("kind=emulator", False),
        (" kind = phone , ram > 8000 ", True),
    ],
)
def test_a_selector_holds_or_not(text: str, holds: bool) -> None:
    traits = traits_of(PHONE, best_match(SHIPPED.values(), PHONE))
    assert selects(parse_selector(text, SHIPPED), traits) is holds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("socc=SM8650", "Did you mean 'soc'?"),
        ("kind=phon", "Did you mean 'phone'?"),
        ("pixel-99", "Unknown profile 'pixel-99'. Did you mean 'pixel-9'?"),
        ("abi=arm64-v8", "Did you mean 'arm64-v8a'?"),
        ("platform=andriod", "Did you mean 'android'?"),
        ("ram>=6GB", "not a whole number"),
        ("os>=latest", "is not a version"),
        ("soc>=SM8650", "takes = and != only"),
        ("ram>=", "is not a condition"),
        ("kind=phone,", "is not a condition"),
        ("", "is not a condition"),
        ("ram=>6000", "is not a condition"),
    ],
)
def test_a_selector_that_is_off_names_the_nearest(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as told:
        parse_selector(text, SHIPPED)
    assert says in str(told.value)


@pytest.mark.parametrize(
    ("release", "api"),
    [("14", 34), ("9", 28), ("12L", 32), ("8.1.0", 27), ("3.2", None), ("13 (API 33)", 33), ("", None), ("R", None)],
)
def test_the_api_level_is_read_from_the_release_or_said_unknown(release: str, api: int | None) -> None:
    assert traits_of(dataclasses.replace(PHONE, os_version=release), None).api == api


def test_what_a_device_does_not_tell_is_never_held_to_be_so() -> None:
    silent = Traits(profile="", model="", soc="", kind="phone", platform="ios", os="", api=None, ram_mb=0, abis=())
    for text in (
        "soc=*",
        "soc!=SM8650",
        "ram>0",
        "ram<99999",
        "api>=1",
        "api<99",
        "os>=1",
        "abi!=x86",
        "profile!=virtual",
    ):
        assert not selects(parse_selector(text, SHIPPED), silent)


NUMBERS = st.integers(0, 10**6)


@given(key=st.sampled_from(("ram", "api")), told=st.integers(1, 10**6), bound=NUMBERS)
def test_signs_on_numbers_are_the_signs_of_arithmetic(key: str, told: int, bound: int) -> None:
    traits = Traits(
        profile="", model="", soc="", kind="phone", platform="android", os="", api=told, ram_mb=told, abis=()
    )
    truth = {"=": told == bound, "!=": told != bound, ">=": told >= bound, "<": told < bound, "<=": told <= bound}
    for sign, holds in truth.items():
        assert selects(parse_selector(f"{key}{sign}{bound}", ()), traits) is holds


@given(
    st.lists(st.tuples(st.sampled_from(("model", "soc")), st.text("abcXYZ-0189 ", min_size=1, max_size=8)), min_size=1)
)
def test_a_selector_written_out_reads_back_equal_and_commas_mean_and(terms: list[tuple[str, str]]) -> None:
    kept = [(key, value.strip()) for key, value in terms if value.strip()]
    if not kept:
        return
    selector = parse_selector(",".join(f"{key}={value}" for key, value in kept), ())
    assert parse_selector(str(selector), ()) == selector
    traits = Traits(
        profile="", model="abc", soc="XYZ", kind="phone", platform="android", os="", api=None, ram_mb=1, abis=()
    )
    singles = [selects(parse_selector(f"{key}={value}", ()), traits) for key, value in kept]
    assert selects(selector, traits) is all(singles)


@given(st.text(max_size=60))
def test_hostile_selectors_are_a_typed_error_or_a_selector_of_known_keys(text: str) -> None:
    try:
        selector = parse_selector(text, ("pixel-8",))
    except SettingsError:
        return
    assert {term.key for term in selector.terms} <= {*TEXT_KEYS, *NUMBER_KEYS}


# the fit linter


def test_core_ml_on_android_is_one_blocker_and_nothing_else_is_said() -> None:
    (finding,) = fit(build("coreml", ios_min="16"), SHIPPED["pixel-8"])
    assert (finding.level, finding.what) == ("blocker", "Core ML does not exist on Android.")
    assert finding.do == "Ship one of these there: onnx, tflite."
    assert found(build("coreml", ios_min="16"), "iphone-16", "runtime").level == "ok"


def test_a_target_of_a_third_party_is_unknown_not_blocked() -> None:
    findings = fit(build("executorch"), SHIPPED["pixel-8"])
    assert {finding.level for finding in findings if finding.check == "runtime"} == {"unknown"}
    assert "blocker" not in {finding.level for finding in findings}


@pytest.mark.parametrize(
    ("profile", "needs", "level"),
    [
        ("pixel-4", {"android_api_min": 24}, "ok"),
        ("pixel-4", {"android_api_min": 31}, "warn"),
        ("pixel-4", {"android_api_min": 34}, "blocker"),
        ("pixel-4", {}, "unknown"),
        ("redmi-9a", {"android_api_min": 31}, "unknown"),
        ("iphone-11", {"ios_min": "13.0"}, "ok"),
        ("iphone-11", {"ios_min": "17"}, "warn"),
        ("iphone-se-2", {"ios_min": "28"}, "blocker"),
        ("iphone-se-2", {"ios_min": "13.3"}, "ok"),
        ("iphone-se-2", {"ios_min": "13.10"}, "warn"),
        ("iphone-16", {"android_api_min": 24}, "unknown"),
    ],
)
def test_the_system_floor(profile: str, needs: dict[str, object], level: str) -> None:
    assert found(build("tflite", **needs), profile, "os").level == level


def test_a_32_bit_system_takes_what_is_published_for_it() -> None:
    assert found(build("onnx"), "redmi-9a", "abi").level == "ok"
    older = found(build("tflite"), "redmi-9a", "abi")
    assert (older.level, "LiteRT 1.4" in older.do) == ("warn", True)
    assert found(build("tflite", runtime="LiteRT"), "redmi-9a", "abi").level == "blocker"
    assert found(build("tflite"), dataclasses.replace(SHIPPED["redmi-9a"], abis=()), "abi").level == "unknown"


@pytest.mark.parametrize(("size_mb", "level"), [(50, "ok"), (100, "warn"), (200, "blocker")])
def test_memory_counts_the_file_its_weights_and_as_much_again(size_mb: float, level: str) -> None:
    finding = found(build("onnx", size_mb), "redmi-9a", "memory")
    assert SHIPPED["redmi-9a"].memory.app_budget_mb == 512
    assert finding.level == level
    assert "3 times its size" in finding.what
    assert "low-memory killer" in finding.why


@pytest.mark.parametrize(
    ("target", "operators", "factor"),
    [
        ("tflite", ("CONV_2D",), 3),
        ("tflite", ("CONV_2D", "QUANTIZE", "DEQUANTIZE"), 3),
        ("tflite", ("CONV_2D", "DEQUANTIZE"), 6),
        ("onnx", ("Conv", "DequantizeLinear"), 6),
        ("onnx", ("Conv", "DequantizeLinear", "QuantizeLinear"), 3),
        ("coreml", ("conv", "constexpr_affine_dequantize"), 4),
        ("coreml", ("conv", "constexpr_lut_to_dense"), 6),
    ],
)
def test_weights_that_are_unpacked_count_in_full(target: str, operators: tuple[str, ...], factor: float) -> None:
    assert memory_factor(build(target, operators=operators))[0] == factor


def test_a_fact_nobody_published_is_unknown() -> None:
    blank = changed("pixel-8", "memory", app_budget_mb=None)
    assert found(build(), blank, "memory").level == "unknown"
    assert found(build(), changed("pixel-8", "soc", page_bytes=()), "pages").level == "unknown"
    assert "16 KB" in found(build(), "pixel-8", "pages").what
    assert not [one for one in fit(build(), SHIPPED["pixel-4"]) if one.check == "pages"]


@pytest.mark.parametrize(
    ("profile", "size_mb", "level", "says"),
    [
        ("oneplus-13", 150, "ok", "base module"),
        ("oneplus-13", 300, "warn", "above 200 MB"),
        ("oneplus-13", 600, "warn", "above 500 MB"),
        ("oneplus-13", 4100, "blocker", "at most 4 GB"),
        ("iphone-17-pro", 199, "ok", "without asking"),
        ("iphone-17-pro", 201, "warn", "over cellular"),
        ("iphone-17-pro", 4100, "blocker", "The App Store"),
    ],
)
def test_the_stores_limits(profile: str, size_mb: float, level: str, says: str) -> None:
    finding = found(build("onnx", size_mb), profile, "store")
    assert finding.level == level
    assert says in finding.what


@pytest.mark.parametrize(
    ("profile", "target", "name", "operators", "level"),
    [
        ("pixel-4", "tflite", "gpu", ("CONV_2D", "SOFTMAX"), "ok"),
        ("pixel-4", "tflite", "gpu", ("CONV_2D", "MEAN"), "warn"),
        ("pixel-4", "tflite", "gpu", ("CONV_2D", "QUANTIZE", "DEQUANTIZE"), "warn"),
        ("oneplus-12", "onnx", "qnn", ("Conv", "QuantizeLinear", "DequantizeLinear"), "ok"),
        ("oneplus-12", "tflite", "npu", ("CONV_2D",), "unknown"),
        ("iphone-16", "onnx", "coreml", ("Conv", "Softmax"), "ok"),
        ("iphone-16", "onnx", "coreml", ("Conv", "QuantizeLinear", "DequantizeLinear"), "warn"),
        ("iphone-16", "coreml", "ane", ("conv", "quantize"), "unknown"),
        ("iphone-16", "coreml", "gpu", ("conv", "quantize"), "warn"),
    ],
)
def test_accelerators_are_judged_by_published_lists_only(
    profile: str, target: str, name: str, operators: tuple[str, ...], level: str
) -> None:
    findings = fit(build(target, operators=operators), SHIPPED[profile])
    (finding,) = (one for one in findings if one.check == "accelerator" and one.what.startswith(f"{name}:"))
    assert finding.level == level
    for operator in ("MEAN", "QuantizeLinear"):
        assert (operator in finding.what) == (operator in operators and level == "warn")


def test_the_host_runs_everything_and_has_no_store() -> None:
    (finding,) = fit(build("coreml", 9000), SHIPPED["host"])
    assert finding.level == "ok"
    assert worst(()) == "ok"


@given(st.integers(1, 10**10), st.floats(0.1, 1000))
def test_twice_the_bytes_take_twice_the_time(size: int, rate: float) -> None:
    network = Network(name="4g", downlink_mbit_s=rate)
    assert download_s(2 * size, network) == pytest.approx(2 * download_s(size, network))
    assert download_s(size, network) * rate == pytest.approx(size * 8 / 1e6)


def test_downloads_are_over_the_networks_of_the_class() -> None:
    profile = SHIPPED["redmi-9a"]
    times = downloads(build(size_mb=20), profile)
    assert [item.network for item in times] == [network.name for network in profile.networks]
    assert {item.network: item.seconds for item in times}["3g"] == pytest.approx(100)


def test_a_survey_has_a_cell_a_pair_and_says_each_obstacle_once() -> None:
    builds = (build("coreml", ios_min="16", operators=("conv",)), build("tflite", android_api_min=21, ios_min="12"))
    cells = survey(builds, SHIPPED.values())
    assert len(cells) == 2 * len(SHIPPED)
    android = {profile.name for profile in SHIPPED.values() if profile.platform == "android"}
    (blocked,) = obstacles(cells, "blocker")
    assert (set(blocked.profiles), blocked.builds) == (android, ("coreml-x",))
    assert all(item.finding.check == "accelerator" for item in obstacles(cells, "unknown", accelerators=True))


# the command


def test_the_command_lists_the_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices", "profiles", "-q"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("pixel-8", "iphone-13", "virtual"))
    assert execute(["devices", "profiles", "pixel-8", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [profile["name"] for profile in document["profiles"]] == ["pixel-8"]
    assert document["profiles"][0]["sources"][0].keys() == {"facts", "source", "confidence"}


def test_the_command_holds_builds_against_classes(
    tools: Tools, onnx_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(make_folder(tools, onnx_model, tmp_path / "builds"))
    words = ["devices", "profiles", "redmi-9a", "iphone-13", "--build", folder]
    assert execute(words) == 0
    said = capsys.readouterr().out
    assert "Download time of the build alone" in said
    assert "3g-slow, 0.4" in said
    assert execute([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {(cell["profile"], cell["build"]) for cell in document["fit"]} == set(
        itertools.product(("redmi-9a", "iphone-13"), ("onnx-float32", "onnx-static-int8"))
    )
    assert {finding["check"] for cell in document["fit"] for finding in cell["findings"]} >= {"abi", "os", "memory"}
    assert all(item["seconds"] > 0 for cell in document["fit"] for item in cell["downloads"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["devices", "profiles", "pixel-88"], 3, "Did you mean 'pixel-8'?"),
        (["devices", "profiles", "--build", "nowhere"], 3, "holds no build.json"),
        (["devices", "profile"], 2, "No such command"),
        (["devices", "--nonsense"], 2, "No such option"),
    ],
)
def test_words_of_the_command_that_are_off(
    words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words) == code
    assert says in capsys.readouterr().err


def test_profiles_ship_where_the_package_looks_for_them() -> None:
    folder = profiles.resources.folder(profiles.FOLDER)
    assert {path.stem for path in folder.glob("*.toml")} == set(SHIPPED)
