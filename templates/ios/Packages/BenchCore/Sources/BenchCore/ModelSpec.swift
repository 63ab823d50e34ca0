// SPDX-License-Identifier: 0BSD

import Foundation

/// What `model.json` says: the one description of the build that all code of the app goes by.
public struct ModelSpec: Decodable, Sendable {
    public static let schema = 1

    public struct Build: Decodable, Sendable {
        public let id: String
        public let target: String
        public let recipe: String
        public let source: String
    }

    /// real = scale · (quantized − zeroPoint)
    public struct Quantization: Decodable, Sendable, Equatable {
        public let scale: Double
        public let zeroPoint: Int
    }

    public enum Layout: String, Decodable, Sendable { case nhwc, nchw }
    public enum Task: String, Decodable, Sendable { case classification, detection, text, tensor }
    public enum Kind: String, Decodable, Sendable {
        case image, tokens, tensor, scores, boxes, classes, count
    }

    public struct TensorInfo: Decodable, Sendable {
        public let name: String
        public let dtype: ElementType
        public let shape: [Int]
        public let kind: Kind
        public let layout: Layout?
        public let quantization: Quantization?

        /// The shape with every axis of any length taken as 1.
        public var leastShape: [Int] { shape.map { max($0, 1) } }
    }

    public struct Text: Decodable, Sendable {
        public enum Encoding: String, Decodable, Sendable { case utf8, vocabulary }

        public let input: String
        public let encoding: Encoding
        public let length: Int
        public let padding: Int
        public let vocabulary: String?
        public let unknown: Int
        public let lowercase: Bool
    }

    public struct Labels: Decodable, Sendable {
        public let file: String
        public let count: Int
        public let languages: [String]
    }

    public struct Score: Decodable, Sendable {
        public let metric: String
        public let floatValue: Double
        public let value: Double
        public let drop: Double
        public let n: Int
    }

    public let schema: Int
    public let build: Build
    public let file: String
    public let sha256: String
    public let sizeBytes: Int64
    public let task: Task
    public let inputs: [TensorInfo]
    public let outputs: [TensorInfo]
    public let preprocess: Preprocess
    public let postprocess: Postprocess
    public let text: Text?
    public let labels: Labels?
    public let golden: GoldenInfo?
    public let preprocessGolden: PreprocessGolden?
    public let score: Score?

    /// Reads `model.json`; unknown keys are ignored, another schema is refused.
    public static func read(_ data: Data) throws -> ModelSpec {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            let found = try decoder.decode(Version.self, from: data).schema
            guard found == schema else {
                throw BenchFailure("bad_args", "model.json is of schema \(found); this app reads \(schema)")
            }
            return try decoder.decode(ModelSpec.self, from: data)
        } catch let error as DecodingError {
            throw BenchFailure("bad_args", "model.json cannot be read: \(ModelSpec.words(error))")
        }
    }

    private struct Version: Decodable { let schema: Int }

    private static func words(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): "\(key.stringValue) is missing"
        case .typeMismatch(_, let at), .valueNotFound(_, let at), .dataCorrupted(let at):
            "\(at.codingPath.map(\.stringValue).joined(separator: ".")): \(at.debugDescription)"
        @unknown default: "\(error)"
        }
    }

    public func input(named name: String) -> TensorInfo? { inputs.first { $0.name == name } }
    public func output(named name: String) -> TensorInfo? { outputs.first { $0.name == name } }
}

/// A folder with `model.json` and the files that it names.
public struct ModelFolder: Sendable {
    public let url: URL
    public let spec: ModelSpec

    public init(_ url: URL) throws {
        self.url = url
        let place = url.appendingPathComponent("model.json")
        guard let data = try? Data(contentsOf: place) else {
            throw BenchFailure("model_missing", "there is no model.json in \(url.lastPathComponent)")
        }
        spec = try ModelSpec.read(data)
    }

    public var model: URL { url.appendingPathComponent(spec.file) }

    /// The labels in the first of the preferred languages that they exist in, else as the model's makers wrote them.
    public func labels(preferring languages: [String] = []) throws -> [String] {
        guard let labels = spec.labels else { return [] }
        let tag = languages.lazy.compactMap { ModelFolder.match($0, labels.languages) }.first
        let file = tag.map { "labels-\($0).txt" } ?? labels.file
        let lines = try lines(of: file)
        guard lines.count == labels.count else {
            throw BenchFailure("bad_args", "\(file) has \(lines.count) labels, model.json says \(labels.count)")
        }
        return lines
    }

    /// The words of a text model by their number; empty for one that reads bytes.
    public func vocabulary() throws -> [String: Int] {
        guard let file = spec.text?.vocabulary else { return [:] }
        return Dictionary(try lines(of: file).enumerated().map { ($0.element, $0.offset) }) { first, _ in first }
    }

    public func golden() throws -> [GoldenSample] {
        guard let info = spec.golden else { return [] }
        return try info.samples(in: bytes(of: info.file, sha256: info.sha256))
    }

    /// The picture and what preprocessing has to make of it, or nil where the model takes no image.
    public func preprocessGolden() throws -> (picture: Picture, expected: Tensor, maxAbs: Double)? {
        guard let info = spec.preprocessGolden else { return nil }
        let bytes = try bytes(of: info.file, sha256: info.sha256)
        return (try info.picture(in: bytes), try info.expected(in: bytes), info.maxAbs)
    }

    private func bytes(of file: String, sha256: String) throws -> [UInt8] {
        guard let data = try? Data(contentsOf: url.appendingPathComponent(file)) else {
            throw BenchFailure("model_missing", "there is no \(file)")
        }
        let bytes = [UInt8](data)
        guard Sha256.hex(bytes) == sha256 else { throw BenchFailure("model_hash", "\(file) is not the build's") }
        return bytes
    }

    private func lines(of file: String) throws -> [String] {
        guard let text = try? String(contentsOf: url.appendingPathComponent(file), encoding: .utf8) else {
            throw BenchFailure("model_missing", "there is no \(file)")
        }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    /// BCP-47 lookup: the tag itself, else with its parts dropped from the end, else one with the same script.
    private static func match(_ wanted: String, _ known: [String]) -> String? {
        var parts = wanted.split(separator: "-")
        while !parts.isEmpty {
            let tag = parts.joined(separator: "-")
            if let found = known.first(where: { $0.lowercased() == tag.lowercased() }) { return found }
            parts.removeLast()
        }
        return nil
    }
}
