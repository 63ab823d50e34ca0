// SPDX-License-Identifier: 0BSD

import Foundation

/// From a model's outputs to what a person reads: classes with shares, boxes, or plain numbers.
public struct Postprocess: Decodable, Sendable {
    public enum Kind: String, Decodable, Sendable { case classification, detection, tensor }
    public enum Activation: String, Decodable, Sendable { case none, softmax }
    public enum BoxLayout: String, Decodable, Sendable { case ssd, raw, yolo }
    public enum BoxFormat: String, Decodable, Sendable { case yxyx, xyxy, cxcywh }
    public enum BoxUnits: String, Decodable, Sendable { case normalised, pixels }

    public let kind: Kind
    public let output: String?
    public let activation: Activation?
    public let topK: Int?
    public let layout: BoxLayout?
    public let boxes: String?
    public let scores: String?
    public let classes: String?
    public let count: String?
    public let boxFormat: BoxFormat?
    public let boxUnits: BoxUnits?
    public let classesFirst: Bool?
    public let scoreMin: Double?
    public let iouMax: Double?
    public let most: Int?
}

/// A class and how sure the model is of it.
public struct Classification: Sendable, Equatable {
    public let index: Int
    public let score: Double
}

/// An object: its class, how sure the model is, and where it lies in fractions of the picture's width and height.
public struct Detection: Sendable, Equatable {
    public let index: Int
    public let score: Double
    public let left: Double
    public let top: Double
    public let right: Double
    public let bottom: Double

    fileprivate var area: Double { max(right - left, 0) * max(bottom - top, 0) }

    fileprivate func overlap(_ other: Detection) -> Double {
        let wide = min(right, other.right) - max(left, other.left)
        let tall = min(bottom, other.bottom) - max(top, other.top)
        guard wide > 0, tall > 0 else { return 0 }
        let shared = wide * tall
        return shared / (area + other.area - shared)
    }
}

extension Postprocess {
    /// The likeliest classes, the likeliest first; of equal ones the smaller index comes first.
    public func classes(of outputs: [String: Tensor], spec: ModelSpec) throws -> [Classification] {
        var scores = try real(output ?? spec.outputs.first?.name ?? "", outputs, spec)
        if activation == .softmax { scores = Postprocess.softmax(scores) }
        let ranked = scores.enumerated().filter { !$0.element.isNaN }.sorted {
            $0.element != $1.element ? $0.element > $1.element : $0.offset < $1.offset
        }
        return ranked.prefix(topK ?? 5).map { Classification(index: $0.offset, score: $0.element) }
    }

    /// The objects above the threshold, the surest first, in fractions of the picture that was given to preprocessing.
    public func objects(of outputs: [String: Tensor], spec: ModelSpec, window: Preprocess.Window) throws -> [Detection] {
        let found: [Detection]
        switch layout ?? .ssd {
        case .ssd: found = try suppressedAlready(outputs, spec)
        case .raw: found = suppressed(try rawObjects(outputs, spec))
        case .yolo: found = suppressed(try yoloObjects(outputs, spec))
        }
        return found.prefix(most ?? 100).map { one in
            Detection(
                index: one.index, score: one.score,
                left: window.left + one.left * window.width, top: window.top + one.top * window.height,
                right: window.left + one.right * window.width, bottom: window.top + one.bottom * window.height)
        }
    }

    /// Numerically stable: the largest score is taken off before the exponential.
    public static func softmax(_ scores: [Double]) -> [Double] {
        let largest = scores.max() ?? 0
        let powers = scores.map { exp($0 - largest) }
        let total = powers.reduce(0, +)
        return powers.map { $0 / total }
    }

    /// Real values of an output, dequantized where it is quantized.
    public func real(_ name: String, _ outputs: [String: Tensor], _ spec: ModelSpec) throws -> [Double] {
        guard let tensor = outputs[name], let info = spec.output(named: name) else {
            throw BenchFailure("run_failed", "the model gave no output \(name)")
        }
        guard let quantization = info.quantization else { return tensor.doubles() }
        return tensor.doubles().map { quantization.scale * ($0 - Double(quantization.zeroPoint)) }
    }

    private func suppressedAlready(_ outputs: [String: Tensor], _ spec: ModelSpec) throws -> [Detection] {
        let corners = try real(boxes ?? "", outputs, spec)
        let sure = try real(scores ?? "", outputs, spec)
        let kinds = try classes.map { try real($0, outputs, spec) }
        let said = try count.map { try real($0, outputs, spec).first ?? 0 } ?? Double(sure.count)
        let most = min(corners.count / 4, sure.count, kinds?.count ?? sure.count, Int(min(max(said, 0), 1e6)))
        return (0..<most).filter { sure[$0] >= scoreMin ?? 0 }.map { at in
            object(Array(corners[at * 4..<at * 4 + 4]), index: Int(kinds?[at] ?? 0), score: sure[at], spec)
        }.sorted { $0.score > $1.score }
    }

    private func rawObjects(_ outputs: [String: Tensor], _ spec: ModelSpec) throws -> [Detection] {
        let corners = try real(boxes ?? "", outputs, spec)
        let sure = try real(scores ?? "", outputs, spec)
        let places = corners.count / 4
        guard places > 0, sure.count % places == 0 else { return [] }
        let kinds = sure.count / places
        return (0..<places).compactMap { at in
            best(sure[at * kinds..<(at + 1) * kinds]).map {
                object(Array(corners[at * 4..<at * 4 + 4]), index: $0.index, score: $0.score, spec)
            }
        }
    }

    private func yoloObjects(_ outputs: [String: Tensor], _ spec: ModelSpec) throws -> [Detection] {
        let values = try real(boxes ?? "", outputs, spec)
        guard let shape = outputs[boxes ?? ""]?.shape, shape.count == 3, shape[1] > 0, shape[2] > 0 else { return [] }
        let first = classesFirst ?? false
        let (places, parts) = first ? (shape[2], shape[1]) : (shape[1], shape[2])
        guard parts > 4 else { return [] }
        return (0..<places).compactMap { place in
            let row = (0..<parts).map { values[first ? $0 * places + place : place * parts + $0] }
            return best(row[4...]).map { object(Array(row[..<4]), index: $0.index, score: $0.score, spec) }
        }
    }

    private func best(_ scores: ArraySlice<Double>) -> Classification? {
        guard let top = scores.indices.max(by: { scores[$0] < scores[$1] }), scores[top] >= scoreMin ?? 0 else { return nil }
        return Classification(index: top - scores.startIndex, score: scores[top])
    }

    private func object(_ four: [Double], index: Int, score: Double, _ spec: ModelSpec) -> Detection {
        let (wide, tall) = boxUnits == .pixels ? inputSize(spec) : (1, 1)
        let (left, top, right, bottom): (Double, Double, Double, Double)
        switch boxFormat ?? .yxyx {
        case .yxyx: (left, top, right, bottom) = (four[1], four[0], four[3], four[2])
        case .xyxy: (left, top, right, bottom) = (four[0], four[1], four[2], four[3])
        case .cxcywh:
            (left, right) = (four[0] - four[2] / 2, four[0] + four[2] / 2)
            (top, bottom) = (four[1] - four[3] / 2, four[1] + four[3] / 2)
        }
        return Detection(
            index: index, score: score, left: left / wide, top: top / tall, right: right / wide, bottom: bottom / tall)
    }

    private func inputSize(_ spec: ModelSpec) -> (Double, Double) {
        guard let input = spec.inputs.first(where: { $0.kind == .image }), input.shape.count == 4 else { return (1, 1) }
        let tall = input.layout == .nchw ? 2 : 1
        return (Double(max(input.shape[tall + 1], 1)), Double(max(input.shape[tall], 1)))
    }

    /// Greedy, class by class: of boxes that overlap more than the limit only the surest stays.
    private func suppressed(_ found: [Detection]) -> [Detection] {
        var kept: [Detection] = []
        for one in found.sorted(by: { $0.score > $1.score }) where kept.count < most ?? 100 {
            let covered = kept.contains { $0.index == one.index && $0.overlap(one) > iouMax ?? 0.45 }
            if !covered { kept.append(one) }
        }
        return kept
    }
}
