// SPDX-License-Identifier: 0BSD

import Foundation

/// What a model wants or gives under one name.
public struct TensorSpec: Sendable, Equatable {
    public let name: String
    public let type: ElementType
    /// -1 stands for an axis of any length.
    public let shape: [Int]

    public init(name: String, type: ElementType, shape: [Int]) {
        self.name = name
        self.type = type
        self.shape = shape
    }
}

/// Where a runtime says that it executes a model.
public struct Placement: Sendable {
    public let requested: String
    public let delegatedNodes: Int
    public let totalNodes: Int
    public let partitions: Int
    /// `log`, `plan` or `api`: how the runtime's word was got.
    public let source: String
    public let isFallback: Bool

    public init(
        requested: String, delegatedNodes: Int, totalNodes: Int, partitions: Int, source: String, isFallback: Bool
    ) {
        self.requested = requested
        self.delegatedNodes = delegatedNodes
        self.totalNodes = totalNodes
        self.partitions = partitions
        self.source = source
        self.isFallback = isFallback
    }
}

/// A loaded model. Inputs are bound once and predicted from many times, so that only inference is timed.
public protocol InferenceSession: AnyObject {
    var inputs: [TensorSpec] { get }
    var outputs: [TensorSpec] { get }

    /// Copies the inputs, by name, into buffers that every prediction from now on reads.
    func bind(_ feeds: [String: Tensor]) throws
    func predict() throws
    /// The outputs of the last prediction, by name.
    func fetch() throws -> [String: Tensor]
    /// Where the runtime executes the model, if it tells; may take as long as a load, so it is never asked while timing.
    func placement() throws -> Placement?
}

/// A runtime: opens models, and says what it can open them on.
public protocol InferenceEngine: Sendable {
    /// The word of palmtop for builds of this runtime: `coreml` or `onnx`.
    var target: String { get }
    var runtime: String { get }
    var runtimeVersion: String { get }
    /// Of `auto`, `cpu`, `gpu` and `npu` those that a model may be opened on.
    var accelerators: [String] { get }

    /// Does what is done once for a model and belongs to no load: imports the library, compiles. The place to open.
    func prepare(_ model: URL) throws -> URL
    /// Opens a prepared model; `threads` 0 leaves their number to the runtime.
    func open(_ prepared: URL, accelerator: String, threads: Int) throws -> any InferenceSession
}
