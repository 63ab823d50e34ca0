// SPDX-License-Identifier: 0BSD

import BenchCore
import Foundation

/// A small network as JSON, computed by the plainest loops there are: a runtime whose every result can be followed.
///
/// `{"input": {"name", "shape": [1, h, w, c]}, "output": "name", "layers": [{"kind": "conv", "shape": [h, w, in, out],
/// "weights": […], "bias": […], "stride": 2}, {"kind": "relu"}, {"kind": "mean"}, {"kind": "dense", "shape": [in, out],
/// "weights": […], "bias": […]}, {"kind": "softmax"}]}`; `conv` is without padding, `mean` goes over height and width.
struct ReferenceEngine: InferenceEngine {
    let target = "reference"
    let runtime = "palmtop reference"
    let runtimeVersion = "1.0"
    let accelerators = ["cpu"]

    func prepare(_ model: URL) throws -> URL { model }

    func open(_ prepared: URL, accelerator: String, threads: Int) throws -> any InferenceSession {
        do {
            return ReferenceSession(try JSONDecoder().decode(ReferenceNet.self, from: Data(contentsOf: prepared)))
        } catch let error as DecodingError {
            throw BenchFailure("load_failed", "\(prepared.lastPathComponent) is no reference network: \(error)")
        }
    }
}

struct ReferenceNet: Decodable {
    struct Input: Decodable {
        let name: String
        let shape: [Int]
    }

    struct Layer: Decodable {
        enum Kind: String, Decodable { case conv, relu, mean, dense, softmax }

        let kind: Kind
        let shape: [Int]?
        let weights: [Float]?
        let bias: [Float]?
        let stride: Int?
    }

    let input: Input
    let output: String
    let layers: [Layer]
}

final class ReferenceSession: InferenceSession {
    let inputs: [TensorSpec]
    let outputs: [TensorSpec]
    private let net: ReferenceNet
    private var bound = Values(shape: [], values: [])
    private var result = Values(shape: [], values: [])

    private struct Values {
        var shape: [Int]
        var values: [Float]
    }

    init(_ net: ReferenceNet) {
        self.net = net
        inputs = [TensorSpec(name: net.input.name, type: .float32, shape: net.input.shape)]
        outputs = [TensorSpec(name: net.output, type: .float32, shape: [1, -1])]
    }

    func placement() throws -> Placement? {
        Placement(
            requested: "cpu", delegatedNodes: net.layers.count, totalNodes: net.layers.count, partitions: 1, source: "api",
            isFallback: false)
    }

    func bind(_ feeds: [String: Tensor]) throws {
        guard let feed = feeds[net.input.name], feed.type == .float32, feed.shape == net.input.shape else {
            throw BenchFailure("run_failed", "the input \(net.input.name) wants float32 \(net.input.shape)")
        }
        bound = Values(shape: Array(feed.shape.dropFirst()), values: feed.floats())
    }

    func predict() throws {
        result = try net.layers.reduce(bound) { try step($1, $0) }
    }

    func fetch() throws -> [String: Tensor] {
        [net.output: try Tensor(result.values, shape: [1] + result.shape)]
    }

    private func step(_ layer: ReferenceNet.Layer, _ given: Values) throws -> Values {
        switch layer.kind {
        case .relu: return Values(shape: given.shape, values: given.values.map { max($0, 0) })
        case .softmax:
            let powers = Postprocess.softmax(given.values.map(Double.init))
            return Values(shape: given.shape, values: powers.map(Float.init))
        case .mean: return mean(given)
        case .dense: return try dense(layer, given)
        case .conv: return try conv(layer, given)
        }
    }

    private func mean(_ given: Values) -> Values {
        let channels = given.shape.last ?? 1
        let area = given.values.count / channels
        let sums = (0..<channels).map { channel in
            (0..<area).reduce(Float(0)) { $0 + given.values[$1 * channels + channel] }
        }
        return Values(shape: [channels], values: sums.map { $0 / Float(area) })
    }

    private func dense(_ layer: ReferenceNet.Layer, _ given: Values) throws -> Values {
        guard let shape = layer.shape, shape.count == 2, let weights = layer.weights, let bias = layer.bias,
            given.values.count == shape[0], weights.count == shape[0] * shape[1], bias.count == shape[1]
        else { throw BenchFailure("load_failed", "a dense layer does not fit what comes into it") }
        let made = (0..<shape[1]).map { column in
            (0..<shape[0]).reduce(bias[column]) { $0 + given.values[$1] * weights[$1 * shape[1] + column] }
        }
        return Values(shape: [shape[1]], values: made)
    }

    private func conv(_ layer: ReferenceNet.Layer, _ given: Values) throws -> Values {
        guard let shape = layer.shape, shape.count == 4, let weights = layer.weights, let bias = layer.bias,
            given.shape.count == 3, given.shape[2] == shape[2], weights.count == Tensor.count(of: shape),
            bias.count == shape[3], given.shape[0] >= shape[0], given.shape[1] >= shape[1]
        else { throw BenchFailure("load_failed", "a convolution does not fit what comes into it") }
        let pace = max(layer.stride ?? 1, 1)
        let (tall, wide) = ((given.shape[0] - shape[0]) / pace + 1, (given.shape[1] - shape[1]) / pace + 1)
        var made: [Float] = []
        made.reserveCapacity(tall * wide * shape[3])
        for row in 0..<tall {
            for column in 0..<wide {
                let corner = (row: row * pace, column: column * pace)
                for filter in 0..<shape[3] { made.append(bias[filter] + dot(shape, weights, filter, given, corner)) }
            }
        }
        return Values(shape: [tall, wide, shape[3]], values: made)
    }

    private func dot(
        _ shape: [Int], _ weights: [Float], _ filter: Int, _ given: Values, _ corner: (row: Int, column: Int)
    ) -> Float {
        var total: Float = 0
        for row in 0..<shape[0] {
            for column in 0..<shape[1] {
                let from = ((corner.row + row) * given.shape[1] + corner.column + column) * shape[2]
                let weight = (row * shape[1] + column) * shape[2]
                for channel in 0..<shape[2] {
                    total += given.values[from + channel] * weights[(weight + channel) * shape[3] + filter]
                }
            }
        }
        return total
    }
}
