"""The generated Android trees as files: what parses, what links, what the manifest asks for, what is pinned."""

from __future__ import annotations

import copy
import os
import re
import shutil
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import android_ladder
import pytest
import tree_sitter
import tree_sitter_kotlin
from android_apps import NAME, App, Apps

from toolkit.apps import contract, project, tree
from toolkit.core import process
from toolkit.core.tools import Tools

ANDROID = "{http://schemas.android.com/apk/res/android}"
MERGE = "{http://schemas.android.com/tools}node"
FRAMEWORK = Path(os.environ.get("PALMTOP_ANDROID_FRAMEWORK", android_ladder.ROOT / "build/android/framework-res.apk"))
for prefix, uri in (("android", ANDROID[1:-1]), ("tools", MERGE[1:-5])):
    ET.register_namespace(prefix, uri)


def manifest_of(app: App, source_set: str = "main") -> ET.Element:
    return ET.parse(app.root / f"app/src/{source_set}/AndroidManifest.xml").getroot()


def merged(app: App, library: Path) -> ET.Element:
    """Merge a library's manifest into the app's as the build does: by name, what the app removes staying out."""
    into = copy.deepcopy(manifest_of(app))
    for parent, theirs in (
        (into, ET.parse(library).getroot()),
        (into.find("application"), ET.parse(library).getroot().find("application")),
    ):
        assert parent is not None
        assert theirs is not None
        mine = {(element.tag, element.get(f"{ANDROID}name")) for element in parent}
        parent.extend(
            element
            for element in theirs
            if element.tag != "application" and (element.tag, element.get(f"{ANDROID}name")) not in mine
        )
        for element in [element for element in parent if element.get(MERGE) == "remove"]:
            parent.remove(element)
    return into


def names(root: ET.Element, path: str) -> set[str | None]:
    return {element.get(f"{ANDROID}name") for element in root.iterfind(path)}


def test_every_kotlin_source_parses(apps: Apps) -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_kotlin.language()))
    sources = [
        path
        for app in apps
        for path in app.root.rglob("*.kt*")
        if path.suffix in (".kt", ".kts") and ".palmtop" not in path.parts
    ]
    assert len(sources) > 70
    for path in sources:
        assert not parser.parse(path.read_bytes()).root_node.has_error, path
    assert parser.parse(b"class A { fun f( = 1 }").root_node.has_error


def test_no_source_holds_a_fact_of_the_model_or_the_display_name(apps: Apps) -> None:
    for app in apps:
        for path in app.root.rglob("*.kt"):
            text = path.read_text(encoding="utf-8")
            assert "[[" not in text.replace("[[Engine", ""), path
            assert not {NAME, "float32.onnx", "model.tflite"} & set(re.findall(r'"([^"]*)"', text)), path


def test_sources_stay_readable(apps: Apps) -> None:
    for path in [*apps.lite.root.rglob("*.kt"), *apps.lite.root.rglob("*.kts")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, path
        assert max(map(len, lines)) <= 140, path
        assert not [line for line in lines if line != line.rstrip()], path


def test_every_resource_that_the_screens_name_exists(apps: Apps) -> None:
    for app in apps:
        declared = set()
        for path in (app.root / "app/src/main/res/values").glob("*.xml"):
            declared |= {(element.tag, element.get("name")) for element in ET.parse(path).getroot()}
        used = set().union(*(android_ladder.used_resources(path.read_text()) for path in app.root.rglob("*.kt")))
        assert ("string", "choose_photo") in used
        assert used <= declared


def test_the_app_asks_for_no_permission_and_starts_nothing_by_itself(apps: Apps) -> None:
    for app, library in ((apps.lite, "litert"), (apps.ort, "onnx")):
        whole = merged(app, android_ladder.FAKES / "manifests" / f"{library}.xml")
        assert names(whole, "uses-permission") == set()
        assert names(whole, "application/provider") == {"androidx.core.content.FileProvider"}
        assert list(whole.iterfind("application/service")) == []
        assert "TelemetryInitializer" not in ET.tostring(whole, encoding="unicode")


def test_only_the_launcher_may_start_the_app(apps: Apps) -> None:
    for app in apps:
        application = manifest_of(app).find("application")
        assert application is not None
        parts = [
            element
            for kind in ("activity", "provider", "service", "receiver")
            for element in application.iterfind(kind)
        ]
        exported = {
            element.get(f"{ANDROID}name"): element.get(f"{ANDROID}exported")
            for element in parts
            if element.get(MERGE) != "remove"
        }
        assert exported == {".MainActivity": "true", "androidx.core.content.FileProvider": "false"}
        assert application.get(f"{ANDROID}debuggable") is None
        assert application.get(f"{ANDROID}usesCleartextTraffic") is None


def test_only_the_bench_build_type_can_be_measured(apps: Apps) -> None:
    for app in apps:
        assert list(manifest_of(app).iterfind("instrumentation")) == []
        bench = manifest_of(app, "bench")
        assert names(bench, "instrumentation") == {f"{app.package}.BenchInstrumentation"}
        assert (app.root / "app/src/bench/kotlin" / app.package.replace(".", "/") / "BenchInstrumentation.kt").is_file()
        described = tree.shipped("android").description.bench
        assert described.runner.format(package=app.package, product="P") == f"{app.package}.BenchInstrumentation"
        assert described.package.format(package=app.package, product="P").endswith(".bench")
        gradle = (app.root / "app/build.gradle.kts").read_text()
        assert 'create("bench")' in gradle
        assert 'applicationIdSuffix = ".bench"' in gradle


def test_versions_are_pinned_once_and_all_used(apps: Apps) -> None:
    for app in apps:
        catalog = tomllib.loads((app.root / "gradle/libs.versions.toml").read_text())
        scripts = "\n".join(path.read_text() for path in app.root.rglob("*.kts"))
        assert not re.search(r'"[\w.-]+:[\w.-]+:[\w.]+"', scripts), "a library is named outside the catalog"
        for alias in catalog["libraries"]:
            assert f"libs.{alias.replace('-', '.')}" in scripts, alias
        for alias in catalog["plugins"]:
            assert f"libs.plugins.{alias.replace('-', '.')}" in scripts, alias
        referred = {
            item["version"]["ref"]
            for table in ("libraries", "plugins")
            for item in catalog[table].values()
            if "version" in item
        }
        assert referred == set(catalog["versions"])
        assert all(re.fullmatch(r"[0-9]+(\.[0-9]+)+", version) for version in catalog["versions"].values())
        wrapper = (app.root / "gradle/wrapper/gradle-wrapper.properties").read_text()
        assert re.search(
            r"^distributionUrl=https\\://services\.gradle\.org/distributions/gradle-9\.7\.1-bin\.zip$", wrapper, re.M
        )
        assert re.search(r"^distributionSha256Sum=[0-9a-f]{64}$", wrapper, re.M)


def test_traps_of_the_runtimes_are_taken_care_of(apps: Apps) -> None:
    for app, own, other in (
        (apps.lite, "com.google.ai.edge.litert", "ai.onnxruntime"),
        (apps.ort, "ai.onnxruntime", "com.google.ai.edge.litert"),
    ):
        keep = (app.root / "app/src/main/keepRules/app.keep").read_text()
        assert own in keep
        everything = "\n".join(path.read_text(encoding="utf-8") for path in app.root.rglob("*.kt*"))
        assert other not in everything
        assert ("uniquePackageNames" in (app.root / "gradle.properties").read_text()) == (app is apps.lite)
        assert "org.jetbrains.kotlin.android" not in everything
    engine = (apps.ort.root / "app/src/main/kotlin/com/example/ort/engine/OrtEngine.kt").read_text()
    assert engine.index('setenv("ORT_DISABLE_TELEMETRY"') < engine.index("OrtEnvironment.getEnvironment()")


def test_both_flavours_share_the_module_and_come_out_the_same_twice(
    apps: Apps, android_tools: Tools, tmp_path: Path
) -> None:
    lite, ort = (
        {path.relative_to(app.root): path.read_bytes() for path in (app.root / "core").rglob("*") if path.is_file()}
        for app in apps
    )
    assert lite == ort
    request = contract.Request(folder=apps.ort.builds, target="onnx", labels=apps.ort.builds.parent / "labels.txt")
    wish = project.Wish(platform="android", build=request, name=NAME, id=apps.ort.package)
    project.create(project.design(tree.shipped("android"), wish), tmp_path / "again", android_tools)
    first, again = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (apps.ort.root, tmp_path / "again")
    )
    assert first == again


def linkable(app: App, folder: Path) -> Path:
    """Write the manifest as the build hands it to aapt2, without two elements that Debian's does not know yet."""
    root = merged(app, android_ladder.FAKES / "manifests" / ("litert.xml" if app.target == "tflite" else "onnx.xml"))
    application = root.find("application")
    assert application is not None
    for parent, newer in ((root, "queries"), (application, "uses-native-library")):
        for element in list(parent.iterfind(newer)):
            parent.remove(element)
    root.set("package", app.package)
    text = ET.tostring(root, encoding="unicode").replace("${applicationId}", app.package)
    path = folder / "AndroidManifest.xml"
    path.write_text(text, encoding="utf-8")
    return path


def test_resources_and_manifest_link(apps: Apps, tmp_path: Path) -> None:
    if shutil.which("aapt2") is None:
        pytest.skip("aapt2 is not installed (Debian's package aapt)")
    if not FRAMEWORK.is_file():
        pytest.skip(f"{FRAMEWORK.name} is absent (tests/android/framework_res.sh fetches it)")
    for app in apps:
        compiled = tmp_path / f"{app.target}.zip"
        made = process.run(
            ["aapt2", "compile", "--dir", str(app.root / "app/src/main/res"), "-o", str(compiled)], deadline_s=60
        )
        assert made.code == 0, made.stderr
        (tmp_path / app.target).mkdir()
        apk = tmp_path / f"{app.target}.apk"
        argv = [
            "aapt2",
            "link",
            "-I",
            str(FRAMEWORK),
            "--manifest",
            str(linkable(app, tmp_path / app.target)),
            "-o",
            str(apk),
        ]
        floors = ["--min-sdk-version", "26", "--target-sdk-version", "33"]
        linked = process.run([*argv, *floors, str(compiled)], deadline_s=60)
        assert linked.code == 0, linked.stderr
        badging = process.run(["aapt2", "dump", "badging", str(apk)], deadline_s=60).stdout
        assert f"package: name='{app.package}'" in badging
        assert "uses-permission" not in badging
        languages = re.findall(r"^application-label-([^:]+):'(.*)'$", badging, re.M)
        assert {label.replace('\\"', '"') for _, label in languages} == {NAME}
        strings = process.run(["aapt2", "dump", "resources", str(apk)], deadline_s=60).stdout
        for language in ("ar", "iw", "de", "ru", "b+sr+Latn", "b+zh+Hans"):
            assert f"({language})" in strings, language
