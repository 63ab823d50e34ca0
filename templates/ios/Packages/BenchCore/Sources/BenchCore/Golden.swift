// SPDX-License-Identifier: 0BSD

import Foundation

/// A sample that the build was run on when it was verified: inputs as they go into the model, outputs as they came out.
public struct GoldenSample: Sendable {
    public let inputs: [String: Tensor]
    public let outputs: [String: Tensor]

    public init(inputs: [String: Tensor], outputs: [String: Tensor]) {
        self.inputs = inputs
        self.outputs = outputs
    }
}

/// The part of `model.json` that says what lies where in `golden.bin`.
public struct GoldenInfo: Decodable, Sendable {
    public enum Role: String, Decodable, Sendable { case input, output }

    public struct Entry: Decodable, Sendable {
        public let sample: Int
        public let role: Role
        public let name: String
        public let dtype: ElementType
        public let shape: [Int]
        public let offset: Int
        public let sizeBytes: Int
    }

    public struct Tolerance: Decodable, Sendable {
        public let output: String
        public let maxAbs: Double
        public let cosineMin: Double?
    }

    public let file: String
    public let sha256: String
    public let sizeBytes: Int
    public let samples: Int
    public let tensors: [Entry]
    public let tolerances: [Tolerance]

    func samples(in bytes: [UInt8]) throws -> [GoldenSample] {
        try (0..<samples).map { number in
            var found: [Role: [String: Tensor]] = [.input: [:], .output: [:]]
            for entry in tensors where entry.sample == number {
                let raw = try slice(bytes, entry.offset, entry.sizeBytes, of: file)
                found[entry.role]?[entry.name] = try Tensor(type: entry.dtype, shape: entry.shape, bytes: raw)
            }
            return GoldenSample(inputs: found[.input] ?? [:], outputs: found[.output] ?? [:])
        }
    }
}

/// The part of `model.json` that says what lies where in `preprocess.bin`.
public struct PreprocessGolden: Decodable, Sendable {
    public struct Expected: Decodable, Sendable {
        public let dtype: ElementType
        public let shape: [Int]
        public let offset: Int
        public let sizeBytes: Int
    }

    public let file: String
    public let sha256: String
    public let width: Int
    public let height: Int
    public let pixelsOffset: Int
    public let tensor: Expected
    public let maxAbs: Double

    func picture(in bytes: [UInt8]) throws -> Picture {
        let size = (Tensor.count(of: [height, width, 3])) ?? -1
        return try Picture(width: width, height: height, rgb: slice(bytes, pixelsOffset, size, of: file))
    }

    func expected(in bytes: [UInt8]) throws -> Tensor {
        let raw = try slice(bytes, tensor.offset, tensor.sizeBytes, of: file)
        return try Tensor(type: tensor.dtype, shape: tensor.shape, bytes: raw)
    }
}

private func slice(_ bytes: [UInt8], _ offset: Int, _ size: Int, of file: String) throws -> [UInt8] {
    guard offset >= 0, size >= 0, offset <= bytes.count, size <= bytes.count - offset else {
        throw BenchFailure("bad_args", "\(file) is too short for what model.json says of it")
    }
    return Array(bytes[offset..<offset + size])
}
