// SPDX-License-Identifier: 0BSD

import Foundation
import Testing

@testable import BenchCore

/// The model folder of the app that this package lies in, so that its own goldens are checked without a phone.
enum AppModel {
    static let folder: URL? = {
        let named = ProcessInfo.processInfo.environment["PALMTOP_MODEL"].map(URL.init(fileURLWithPath:))
        let project = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../..")
        let beside = try? FileManager.default.contentsOfDirectory(at: project, includingPropertiesForKeys: nil)
        let folders = [named].compactMap { $0 } + (beside ?? []).map { $0.appendingPathComponent("Model") }
        return folders.first { FileManager.default.fileExists(atPath: $0.appendingPathComponent("model.json").path) }
    }()
}

@Suite(.enabled(if: AppModel.folder != nil)) struct AppModelTests {
    @Test func theDescriptionAndItsFilesFitTogether() throws {
        let folder = try ModelFolder(#require(AppModel.folder))
        #expect(try folder.labels().count == folder.spec.labels?.count ?? 0)
        let golden = try folder.golden()
        #expect(golden.count == folder.spec.golden?.samples ?? 0)
        for sample in golden {
            #expect(Set(sample.inputs.keys) == Set(folder.spec.inputs.map(\.name)))
            #expect(!sample.outputs.isEmpty)
        }
    }

    @Test func preprocessingMakesOfThePictureWhatTheBuildWasVerifiedWith() throws {
        let folder = try ModelFolder(#require(AppModel.folder))
        guard let golden = try folder.preprocessGolden() else { return }
        let input = try #require(folder.spec.inputs.first { $0.kind == .image })
        let made = try folder.spec.preprocess.tensor(of: golden.picture, for: input)
        #expect(made.shape == golden.expected.shape)
        #expect(made.type == golden.expected.type)
        let distance = zip(made.doubles(), golden.expected.doubles()).map { ($0 - $1).magnitude }.max() ?? 0
        #expect(distance <= golden.maxAbs)
    }
}

@Suite struct PreprocessTests {
    private static func rule(_ json: String) throws -> Preprocess {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Preprocess.self, from: Data(json.utf8))
    }

    private static func input(_ json: String) throws -> ModelSpec.TensorInfo {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(ModelSpec.TensorInfo.self, from: Data(json.utf8))
    }

    private let picture = try! Picture(width: 2, height: 1, rgb: [255, 0, 0, 0, 0, 255])

    @Test func scalesThenTakesMeanAndDeviationByChannel() throws {
        let rule = try Self.rule(
            #"{"colour": "rgb", "scale": 0.5, "mean": [1, 2, 3], "std": [2, 4, 8], "layout": "nhwc"}"#)
        let input = try Self.input(#"{"name": "x", "dtype": "float32", "shape": [1, 1, 2, 3], "kind": "image"}"#)
        #expect(try rule.tensor(of: picture, for: input).doubles() == [63.25, -0.5, -0.375, -0.5, -0.5, 15.5625])
    }

    @Test func turnsToPlanesAndSwapsColours() throws {
        let rule = try Self.rule(#"{"colour": "bgr", "scale": 1, "mean": [], "std": [], "layout": "nchw"}"#)
        let input = try Self.input(
            #"{"name": "x", "dtype": "uint8", "shape": [1, 3, 1, 2], "kind": "image", "layout": "nchw"}"#)
        #expect(try rule.tensor(of: picture, for: input).doubles() == [0, 255, 0, 0, 255, 0])
    }

    @Test func quantizesWhereTheInputIsQuantized() throws {
        let rule = try Self.rule(#"{"colour": "gray", "scale": 1, "mean": [], "std": [], "layout": "nhwc"}"#)
        let input = try Self.input(
            #"{"name": "x", "dtype": "int8", "shape": [1, 1, 2, 1], "kind": "image", "quantization": {"scale": 2, "zero_point": -100}}"#)
        #expect(try rule.tensor(of: picture, for: input).doubles() == [-62, -86])
    }

    @Test func refusesAPictureOfAnotherSize() throws {
        let rule = try Self.rule(#"{"colour": "rgb", "scale": 1, "mean": [], "std": [], "layout": "nhwc"}"#)
        let input = try Self.input(#"{"name": "x", "dtype": "float32", "shape": [1, 8, 8, 3], "kind": "image"}"#)
        #expect(throws: BenchFailure.self) { try rule.tensor(of: picture, for: input) }
    }

    @Test func resizesAnEvenRampToItsMeans() throws {
        let ramp = try Picture(width: 4, height: 1, channels: 1, pixels: [0, 80, 160, 240])
        #expect(try ramp.resized(height: 1, width: 2).pixels == [57, 183])
        #expect(try ramp.resized(height: 1, width: 4) == ramp)
        #expect(try ramp.resized(height: 2, width: 8).pixels == [0, 20, 60, 100, 140, 180, 220, 240, 0, 20, 60, 100, 140, 180, 220, 240])
    }

    @Test func aCropWindowTellsWhatTheModelSaw() throws {
        let rule = try Self.rule(
            #"{"resize": [100, 200], "crop": [50, 100], "colour": "rgb", "scale": 1, "mean": [], "std": [], "layout": "nhwc"}"#)
        #expect(rule.window(width: 999, height: 3) == Preprocess.Window(left: 0.25, top: 0.25, width: 0.5, height: 0.5))
    }
}

@Suite struct PostprocessTests {
    static func spec(_ outputs: String, _ postprocess: String) throws -> ModelSpec {
        try ModelSpec.read(
            Data(
                """
                {"schema": 1, "build": {"id": "b", "target": "coreml", "recipe": "r", "source": "s"}, "file": "m", "sha256": "",
                 "size_bytes": 1, "task": "tensor", "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 8, 4, 3],
                 "kind": "image", "layout": "nhwc"}], "outputs": \(outputs), "postprocess": \(postprocess),
                 "preprocess": {"colour": "rgb", "scale": 1, "mean": [], "std": [], "layout": "nhwc"}}
                """.utf8))
    }

    static let whole = Preprocess.Window(left: 0, top: 0, width: 1, height: 1)

    @Test func anotherSchemaIsRefused() {
        #expect(throws: BenchFailure.self) { try ModelSpec.read(Data(#"{"schema": 2}"#.utf8)) }
    }

    @Test func classesComeByShareAndAreDequantized() throws {
        let spec = try Self.spec(
            #"[{"name": "y", "dtype": "int8", "shape": [1, 3], "kind": "scores", "quantization": {"scale": 0.5, "zero_point": 1}}]"#,
            #"{"kind": "classification", "output": "y", "activation": "softmax", "top_k": 2}"#)
        let scores = try Tensor([Int64](arrayLiteral: 1, 3, 3), type: .int8, shape: [1, 3])
        let classes = try spec.postprocess.classes(of: ["y": scores], spec: spec)
        #expect(classes.map(\.index) == [1, 2])
        #expect((classes[0].score - 0.4223187982515182).magnitude < 1e-12)
    }

    @Test func yoloBoxesAreSuppressedClassByClass() throws {
        let spec = try Self.spec(
            #"[{"name": "y", "dtype": "float32", "shape": [1, 4, 6], "kind": "boxes"}]"#,
            #"{"kind": "detection", "layout": "yolo", "boxes": "y", "box_format": "cxcywh", "box_units": "pixels", "classes_first": false, "score_min": 0.25, "iou_max": 0.45, "most": 10}"#)
        let rows: [Float] = [
            2, 4, 2, 4, 0.9, 0.1,
            2, 4, 2, 4, 0.8, 0.1,
            2, 4, 2, 4, 0.1, 0.7,
            1, 1, 1, 1, 0.2, 0.2,
        ]
        let found = try spec.postprocess.objects(of: ["y": Tensor(rows, shape: [1, 4, 6])], spec: spec, window: Self.whole)
        #expect(found.map(\.index) == [0, 1])
        #expect([found[0].left, found[0].top, found[0].right, found[0].bottom] == [0.25, 0.25, 0.75, 0.75])
    }

    @Test func rawBoxesAndScoresAreReadTogether() throws {
        let spec = try Self.spec(
            #"[{"name": "b", "dtype": "float32", "shape": [1, 2, 4], "kind": "boxes"}, {"name": "s", "dtype": "float32", "shape": [1, 2, 2], "kind": "scores"}]"#,
            #"{"kind": "detection", "layout": "raw", "boxes": "b", "scores": "s", "box_format": "xyxy", "box_units": "normalised", "score_min": 0.5}"#)
        let boxes = try Tensor([Float](arrayLiteral: 0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1), shape: [1, 2, 4])
        let scores = try Tensor([Float](arrayLiteral: 0.1, 0.2, 0.3, 0.75), shape: [1, 2, 2])
        let window = Preprocess.Window(left: 0.5, top: 0, width: 0.5, height: 1)
        let found = try spec.postprocess.objects(of: ["b": boxes, "s": scores], spec: spec, window: window)
        #expect(found == [Detection(index: 1, score: 0.75, left: 0.75, top: 0.5, right: 1, bottom: 1)])
    }

    @Test func readySuppressedBoxesAreCountedAsTheModelSays() throws {
        let spec = try Self.spec(
            #"[{"name": "b", "dtype": "float32", "shape": [1, 2, 4], "kind": "boxes"}, {"name": "c", "dtype": "float32", "shape": [1, 2], "kind": "classes"}, {"name": "s", "dtype": "float32", "shape": [1, 2], "kind": "scores"}, {"name": "n", "dtype": "float32", "shape": [1], "kind": "count"}]"#,
            #"{"kind": "detection", "layout": "ssd", "boxes": "b", "scores": "s", "classes": "c", "count": "n", "box_format": "yxyx", "box_units": "normalised", "score_min": 0.5}"#)
        let boxes = try Tensor([Float](arrayLiteral: 0, 0.25, 0.5, 1, 0, 0, 1, 1), shape: [1, 2, 4])
        let outputs = [
            "b": boxes, "c": try Tensor([Float](arrayLiteral: 7, 8), shape: [1, 2]),
            "s": try Tensor([Float](arrayLiteral: 0.75, 0.75), shape: [1, 2]),
            "n": try Tensor([Float](arrayLiteral: 1), shape: [1]),
        ]
        let found = try spec.postprocess.objects(of: outputs, spec: spec, window: Self.whole)
        #expect(found == [Detection(index: 7, score: 0.75, left: 0.25, top: 0, right: 1, bottom: 0.5)])
    }

    @Test(arguments: [
        (#""utf8", "vocabulary": null, "lowercase": true"#, "Hé", [104, 195, 169, 0]),
        (#""vocabulary", "vocabulary": "vocab.txt", "lowercase": false"#, "b  c a b a", [2, 9, 1, 2]),
    ])
    func textBecomesNumbers(rule: String, text: String, numbers: [Int64]) throws {
        let json = #"{"input": "x", "length": 4, "padding": 0, "unknown": 9, "encoding": \#(rule)}"#
        let read = try JSONDecoder().decode(ModelSpec.Text.self, from: Data(json.utf8))
        #expect(TextTokens(rule: read, vocabulary: ["a": 1, "b": 2]).numbers(of: text) == numbers)
    }
}

@Suite struct ParityTests {
    @Test func distancesAreSummedOverSamples() throws {
        var distance = ParityDistance()
        distance.add(try Tensor([Float](arrayLiteral: 1, 0), shape: [1, 2]), golden: try Tensor([Float](arrayLiteral: 1, 0.5), shape: [1, 2]))
        distance.add(try Tensor([Float](arrayLiteral: 0, 2), shape: [1, 2]), golden: try Tensor([Float](arrayLiteral: 1, 0), shape: [1, 2]))
        #expect(distance.maxAbs == 2)
        #expect(distance.top1 == 0.5)
        #expect((distance.cosine - 1 / (5.0.squareRoot() * 2.25.squareRoot())).magnitude < 1e-12)
    }

    @Test func anotherShapeIsInfinitelyFarAndNanStays() throws {
        var distance = ParityDistance()
        distance.add(try Tensor([Float](arrayLiteral: 1), shape: [1]), golden: try Tensor([Float](arrayLiteral: 1, 2), shape: [2]))
        #expect(distance.maxAbs == .infinity)
        var undefined = ParityDistance()
        undefined.add(try Tensor([Float.nan], shape: [1]), golden: try Tensor([Float](arrayLiteral: 1), shape: [1]))
        undefined.add(try Tensor([Float](arrayLiteral: 1), shape: [1]), golden: try Tensor([Float](arrayLiteral: 1), shape: [1]))
        #expect(undefined.maxAbs.isNaN)
        #expect(!undefined.passes(GoldenInfo.Tolerance(output: "y", maxAbs: .infinity, cosineMin: nil)))
    }
}
