// SPDX-License-Identifier: 0BSD

import BenchCore
import CoreML
import Foundation

/// Core ML: any `.mlpackage`, `.mlmodel` or compiled model, by the names of its inputs and outputs.
struct CoreMLEngine: InferenceEngine {
    let target = "coreml"
    let runtime = "Core ML"
    let accelerators = ["auto", "cpu", "gpu", "npu"]

    /// Core ML is part of the system and has its version.
    var runtimeVersion: String {
        let version = ProcessInfo.processInfo.operatingSystemVersion
        return "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
    }

    /// Compiles on the device what was not compiled by Xcode; loading, which is timed, then takes the compiled model.
    func prepare(_ model: URL) throws -> URL {
        model.pathExtension == "mlmodelc" ? model : try MLModel.compileModel(at: model)
    }

    func open(_ prepared: URL, accelerator: String, threads: Int) throws -> any InferenceSession {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = try CoreMLEngine.units(accelerator)
        let model = try MLModel(contentsOf: prepared, configuration: configuration)
        return try CoreMLSession(model, source: CoreMLSource(url: prepared, accelerator: accelerator))
    }

    static func units(_ accelerator: String) throws -> MLComputeUnits {
        switch accelerator {
        case "auto": return .all
        case "cpu": return .cpuOnly
        case "gpu": return .cpuAndGPU
        case "npu": return .cpuAndNeuralEngine
        default: throw BenchFailure("accelerator_unavailable", "Core ML knows no accelerator \(accelerator)")
        }
    }
}

/// What a session was opened from.
struct CoreMLSource: Sendable {
    let url: URL
    let accelerator: String

    /// Where the system plans to execute the model: a word of Core ML before the fact, not an observation.
    func plannedPlacement() async throws -> Placement? {
        guard #available(iOS 17.4, macOS 14.4, *) else { return nil }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = try CoreMLEngine.units(accelerator)
        let plan = try await MLComputePlan.load(contentsOf: url, configuration: configuration)
        guard case .program(let program) = plan.modelStructure, let main = program.functions["main"] else { return nil }
        let devices = main.block.operations.compactMap { plan.deviceUsage(for: $0)?.preferred }
        let isDelegated = devices.map { device in
            if case .cpu = device { false } else { true }
        }
        let delegated = isDelegated.filter { $0 }.count
        let starts = zip([false] + isDelegated, isDelegated).filter { !$0 && $1 }.count
        return Placement(
            requested: accelerator, delegatedNodes: delegated, totalNodes: devices.count, partitions: starts,
            source: "plan", isFallback: ["gpu", "npu"].contains(accelerator) && delegated == 0)
    }
}

/// Carries an answer from the task that makes it to the thread that waits for it.
private final class PlacementAnswer: @unchecked Sendable {
    private let lock = NSLock()
    private var result: Result<Placement?, any Error> = .success(nil)

    func set(_ made: Result<Placement?, any Error>) { lock.withLock { result = made } }
    func get() throws -> Placement? { try lock.withLock { result }.get() }
}

/// A loaded Core ML model whose inputs and outputs are arrays.
final class CoreMLSession: InferenceSession {
    let inputs: [TensorSpec]
    let outputs: [TensorSpec]
    private let model: MLModel
    private let source: CoreMLSource
    private var provider: MLDictionaryFeatureProvider?
    private var result: (any MLFeatureProvider)?

    init(_ model: MLModel, source: CoreMLSource) throws {
        self.model = model
        self.source = source
        inputs = try CoreMLSession.specs(model.modelDescription.inputDescriptionsByName)
        outputs = try CoreMLSession.specs(model.modelDescription.outputDescriptionsByName)
    }

    func bind(_ feeds: [String: Tensor]) throws {
        var values: [String: MLFeatureValue] = [:]
        for input in inputs {
            guard let feed = feeds[input.name] else {
                throw BenchFailure("run_failed", "the input \(input.name) has no value")
            }
            values[input.name] = MLFeatureValue(multiArray: try CoreMLSession.array(of: feed, as: input.type))
        }
        provider = try MLDictionaryFeatureProvider(dictionary: values)
    }

    /// What a prediction leaves to the autorelease pool is freed with it: a measurement makes thousands.
    func predict() throws {
        guard let provider else { throw BenchFailure("run_failed", "no inputs were bound") }
        try autoreleasepool { result = try model.prediction(from: provider) }
    }

    func fetch() throws -> [String: Tensor] {
        guard let result else { throw BenchFailure("run_failed", "nothing was predicted") }
        var tensors: [String: Tensor] = [:]
        for output in outputs {
            guard let array = result.featureValue(for: output.name)?.multiArrayValue else {
                throw BenchFailure("run_failed", "the model gave no array \(output.name)")
            }
            tensors[output.name] = try CoreMLSession.tensor(of: array)
        }
        return tensors
    }

    /// Waits for the plan, which the system only gives asynchronously: to be called from a thread of one's own.
    func placement() throws -> Placement? {
        let answer = PlacementAnswer()
        let source = source
        let isThere = DispatchSemaphore(value: 0)
        Task.detached {
            do { answer.set(.success(try await source.plannedPlacement())) } catch { answer.set(.failure(error)) }
            isThere.signal()
        }
        isThere.wait()
        return try answer.get()
    }

    private static func specs(_ described: [String: MLFeatureDescription]) throws -> [TensorSpec] {
        try described.values.sorted { $0.name < $1.name }.map { feature in
            guard let constraint = feature.multiArrayConstraint else {
                throw BenchFailure("load_failed", "\(feature.name) is no array; palmtop's builds have arrays only")
            }
            return TensorSpec(
                name: feature.name, type: try elementType(constraint.dataType),
                shape: constraint.shape.map { Int(truncating: $0) })
        }
    }

    private static func elementType(_ type: MLMultiArrayDataType) throws -> ElementType {
        switch type {
        case .float16: return .float16
        case .float32: return .float32
        case .double: return .float64
        case .int32: return .int32
        default: throw BenchFailure("load_failed", "an array of Core ML's type \(type.rawValue) is not supported")
        }
    }

    private static func dataType(_ type: ElementType) throws -> MLMultiArrayDataType {
        switch type {
        case .float16: return .float16
        case .float32: return .float32
        case .float64: return .double
        case .int32: return .int32
        default: throw BenchFailure("run_failed", "Core ML takes no \(type.rawValue)")
        }
    }

    /// A new array is dense and in C order, so that the bytes can go in as they are.
    private static func array(of tensor: Tensor, as type: ElementType) throws -> MLMultiArray {
        let fitting = tensor.type == type ? tensor : try Tensor(tensor.floats(), type: type, shape: tensor.shape)
        let array = try MLMultiArray(shape: fitting.shape.map { NSNumber(value: $0) }, dataType: dataType(type))
        array.withUnsafeMutableBytes { target, _ in
            fitting.bytes.withUnsafeBytes { target.copyMemory(from: $0) }
        }
        return array
    }

    /// An output may have gaps between its rows: it is read by its strides.
    private static func tensor(of array: MLMultiArray) throws -> Tensor {
        let type = try elementType(array.dataType)
        let (shape, strides) = (array.shape.map { Int(truncating: $0) }, array.strides.map { Int(truncating: $0) })
        let size = type.byteCount
        var bytes: [UInt8] = []
        bytes.reserveCapacity(array.count * size)
        array.withUnsafeBytes { source in
            var place = [Int](repeating: 0, count: shape.count)
            for _ in 0..<array.count {
                let offset = zip(place, strides).reduce(0) { $0 + $1.0 * $1.1 } * size
                bytes.append(contentsOf: source[offset..<offset + size])
                for axis in shape.indices.reversed() {
                    place[axis] += 1
                    if place[axis] < shape[axis] { break }
                    place[axis] = 0
                }
            }
        }
        return try Tensor(type: type, shape: shape, bytes: bytes)
    }
}
