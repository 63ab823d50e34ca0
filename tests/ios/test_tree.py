"""The generated tree as far as no Apple tool is needed: Swift parses, the project holds together, data reads."""

from __future__ import annotations

import json
import plistlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_swift
from ios_apps import NAME, App
from pbxproj import XcodeProject

from toolkit.apps import strings
from toolkit.core import resources

_ID = re.compile(r"\b[0-9A-F]{24}\b")
_LOCALISED = re.compile(
    r'(?:Text|Button|Section|Picker|TextField|LabeledContent|PhotosPicker|ProgressView|filled|localized:|because:|forKey:)\(?\s*"([a-z_]+)"'
)
_REASONS = {
    "NSPrivacyAccessedAPICategorySystemBootTime": {"35F9.1"},
    "NSPrivacyAccessedAPICategoryFileTimestamp": {"C617.1"},
}


def _faults(node: tree_sitter.Node) -> list[str]:
    if node.type == "ERROR" or node.is_missing:
        return [f"{node.start_point[0] + 1}: {node.text[:60] if node.text else b''!r}"]
    return [fault for child in node.children if child.has_error or child.is_missing for fault in _faults(child)]


def test_all_swift_parses(apps: tuple[App, App]) -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))
    files = apps[1].swift_files()
    assert len(files) > 25
    faults = {path.name: found for path in files if (found := _faults(parser.parse(path.read_bytes()).root_node))}
    assert faults == {}
    assert _faults(parser.parse(b"func f( { let = }").root_node)


def _objects(app: App) -> XcodeProject:
    return XcodeProject.load(str(app.root / f"{app.product}.xcodeproj" / "project.pbxproj"))


def test_every_id_of_the_project_is_an_object_and_every_object_is_used(apps: tuple[App, App]) -> None:
    for app in apps:
        text = (app.root / f"{app.product}.xcodeproj" / "project.pbxproj").read_text(encoding="utf-8")
        project = _objects(app)
        made = {item.get_id() for item in project.objects.get_objects_in_section(*project.objects.get_sections())}
        named = _ID.findall(text)
        assert set(named) == made
        assert {one for one in made if named.count(one) < 2} == set()


def test_a_dangling_id_is_found(apps: tuple[App, App], tmp_path: Path) -> None:
    source = apps[0].root / f"{apps[0].product}.xcodeproj" / "project.pbxproj"
    text = source.read_text(encoding="utf-8")
    gone = re.sub(r"(?m)^\t\t[0-9A-F]{24} /\* BenchCore \*/ = \{\n.*\n.*\n\t\t\};\n", "", text, count=1)
    assert gone != text
    (tmp_path / "project.pbxproj").write_text(gone, encoding="utf-8")
    project = XcodeProject.load(str(tmp_path / "project.pbxproj"))
    made = {item.get_id() for item in project.objects.get_objects_in_section(*project.objects.get_sections())}
    assert set(_ID.findall(gone)) - made


def test_the_project_has_what_its_flavour_needs(apps: tuple[App, App]) -> None:
    for app in apps:
        project = _objects(app)
        assert project.objectVersion == "77"
        assert {target.name for target in project.objects.get_targets()} == {app.product, f"{app.product}Tests"}
        folders = project.objects.get_objects_in_section("PBXFileSystemSynchronizedRootGroup")
        assert all((app.root / folder.path).is_dir() for folder in folders)
        files = project.objects.get_objects_in_section("PBXFileReference")
        configs = [file.path for file in files if file.path.endswith(".xcconfig")]
        assert sorted(configs) == sorted(path.name for path in (app.root / "Config").iterdir())
        remote = project.objects.get_objects_in_section("XCRemoteSwiftPackageReference")
        assert [one.repositoryURL.rpartition("/")[2] for one in remote] == (
            ["onnxruntime-swift-package-manager"] if app.engine == "coreml+onnx" else []
        )
        local = project.objects.get_objects_in_section("XCLocalSwiftPackageReference")
        assert [(app.root / one.relativePath / "Package.swift").is_file() for one in local] == [True]


def test_both_schemes_name_the_targets_of_the_project(apps: tuple[App, App]) -> None:
    for app in apps:
        targets = {target.get_id(): target.name for target in _objects(app).objects.get_targets()}
        schemes = sorted((app.root / f"{app.product}.xcodeproj" / "xcshareddata" / "xcschemes").iterdir())
        assert [path.stem for path in schemes] == [f"{app.product}-Bench", app.product]
        for path in schemes:
            found = ET.parse(path).findall(".//BuildableReference")
            assert found
            assert all(targets[one.attrib["BlueprintIdentifier"]] == one.attrib["BlueprintName"] for one in found)
        launched = ET.parse(schemes[0]).find("LaunchAction")
        assert launched is not None
        assert (launched.attrib["buildConfiguration"], launched.attrib["selectedDebuggerIdentifier"]) == ("Release", "")


def test_the_privacy_manifest_declares_reasons_and_collects_nothing(apps: tuple[App, App]) -> None:
    manifest = plistlib.loads((apps[0].root / apps[0].product / "Resources" / "PrivacyInfo.xcprivacy").read_bytes())
    assert manifest["NSPrivacyTracking"] is False
    assert manifest["NSPrivacyTrackingDomains"] == manifest["NSPrivacyCollectedDataTypes"] == []
    given = {
        one["NSPrivacyAccessedAPIType"]: set(one["NSPrivacyAccessedAPITypeReasons"])
        for one in manifest["NSPrivacyAccessedAPITypes"]
    }
    assert given == _REASONS


def test_the_name_people_read_is_the_one_that_was_given(apps: tuple[App, App]) -> None:
    for app in apps:
        catalog = json.loads((app.root / app.product / "Resources" / "InfoPlist.xcstrings").read_text(encoding="utf-8"))
        names = catalog["strings"]["CFBundleDisplayName"]["localizations"]
        assert {one["stringUnit"]["value"] for one in names.values()} == {NAME}
        usage = catalog["strings"]["NSCameraUsageDescription"]["localizations"]
        assert set(usage) == set(names) == set(strings.load().languages)


def test_every_text_that_the_app_shows_is_in_the_catalog(apps: tuple[App, App]) -> None:
    app = apps[1]
    catalog = json.loads((app.root / app.product / "Resources" / "Localizable.xcstrings").read_text(encoding="utf-8"))
    assert catalog["version"] == "1.0"
    sources = [path.read_text(encoding="utf-8") for path in (app.root / app.product).rglob("*.swift")]
    shown = {key for text in sources for key in _LOCALISED.findall(text)}
    assert len(shown) > 25
    assert shown - set(catalog["strings"]) == set()


def test_every_text_of_the_source_is_shown_by_an_app() -> None:
    folder = resources.folder("templates")
    kinds = {".swift", ".kt", ".xml", ".j2"}
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in kinds and path.is_file()]
    whole = "\n".join(texts)
    unused = [text.key for text in strings.load().texts if not re.search(rf"\b{text.key}\b", whole)]
    assert unused == []


def test_build_settings_are_lines_that_xcode_reads(apps: tuple[App, App]) -> None:
    line = re.compile(r'//.*|#include "[\w.]+"|[A-Z0-9_]+ =.*|')
    for path in sorted((apps[0].root / "Config").iterdir()):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [one for one in lines if not line.fullmatch(one)] == []
        for name in re.findall(r'#include "(.+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / name).is_file()
    base = (apps[0].root / "Config" / "Base.xcconfig").read_text(encoding="utf-8")
    assert "PALMTOP_BUNDLE_ID = com.example.digits-app\n" in base


@pytest.mark.parametrize("word", ["TODO", "FIXME", "fatalError(", "try!", " as! ", "print("])
def test_no_source_of_the_app_has_a_shortcut(apps: tuple[App, App], word: str) -> None:
    sources = [path for path in apps[1].swift_files() if "Tests" not in path.parts[-2]]
    assert [path.name for path in sources if word in path.read_text(encoding="utf-8")] == []
