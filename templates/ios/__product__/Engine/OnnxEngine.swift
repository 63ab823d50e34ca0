// SPDX-License-Identifier: 0BSD

import BenchCore
import Foundation
@preconcurrency import OnnxRuntimeBindings

/// ONNX Runtime: any `.onnx` file that is pushed for measuring, on the CPU or with what Core ML takes over (`auto`).
struct OnnxEngine: InferenceEngine {
    let target = "onnx"
    let runtime = "ONNX Runtime"
    let accelerators = ["auto", "cpu"]

    var runtimeVersion: String { ORTVersion() ?? "unknown" }

    /// Makes the runtime's environment once, so that no load has its costs. Telemetry, where a version has any, is off.
    func prepare(_ model: URL) throws -> URL {
        setenv("ORT_DISABLE_TELEMETRY", "1", 1)
        _ = try OnnxSession.environment.get()
        return model
    }

    func open(_ prepared: URL, accelerator: String, threads: Int) throws -> any InferenceSession {
        let options = try ORTSessionOptions()
        if threads > 0 { try options.setIntraOpNumThreads(Int32(threads)) }
        if accelerator == "auto" {
            guard ORTIsCoreMLExecutionProviderAvailable() else {
                throw BenchFailure("accelerator_unavailable", "this build of ONNX Runtime has no Core ML provider")
            }
            try options.appendCoreMLExecutionProvider(with: ORTCoreMLExecutionProviderOptions())
        }
        let environment = try OnnxSession.environment.get()
        return try OnnxSession(ORTSession(env: environment, modelPath: prepared.path, sessionOptions: options))
    }
}

/// A loaded ONNX model. The bindings tell names alone, so that types and shapes are those of what is bound.
final class OnnxSession: InferenceSession {
    nonisolated(unsafe) static let environment = Result { try ORTEnv(loggingLevel: .warning) }

    private(set) var inputs: [TensorSpec] = []
    private(set) var outputs: [TensorSpec]
    private let session: ORTSession
    private let names: Set<String>
    private var bound: [String: ORTValue] = [:]
    private var result: [String: ORTValue] = [:]

    init(_ session: ORTSession) throws {
        self.session = session
        let found = try session.outputNames()
        names = Set(found)
        outputs = found.map { TensorSpec(name: $0, type: .float32, shape: []) }
    }

    func bind(_ feeds: [String: Tensor]) throws {
        let wanted = try session.inputNames()
        guard Set(feeds.keys) == Set(wanted) else {
            throw BenchFailure("run_failed", "the inputs are \(wanted), \(feeds.keys.sorted()) were given; send golden samples")
        }
        bound = try feeds.mapValues { feed in
            let data = NSMutableData(data: Data(feed.bytes))
            let shape = feed.shape.map { NSNumber(value: $0) }
            return try ORTValue(tensorData: data, elementType: OnnxSession.elementType(feed.type), shape: shape)
        }
        inputs = feeds.map { TensorSpec(name: $0.key, type: $0.value.type, shape: $0.value.shape) }
    }

    func predict() throws {
        try autoreleasepool { result = try session.run(withInputs: bound, outputNames: names, runOptions: nil) }
    }

    func placement() throws -> Placement? { nil }

    func fetch() throws -> [String: Tensor] {
        try result.mapValues { value in
            let info = try value.tensorTypeAndShapeInfo()
            let data = try value.tensorData() as Data
            return try Tensor(
                type: OnnxSession.elementType(info.elementType), shape: info.shape.map { Int(truncating: $0) },
                bytes: [UInt8](data))
        }
    }

    private static func elementType(_ type: ElementType) throws -> ORTTensorElementDataType {
        switch type {
        case .float32: return .float
        case .int8: return .int8
        case .uint8: return .uInt8
        case .int32: return .int32
        case .uint32: return .uInt32
        case .int64: return .int64
        case .uint64: return .uInt64
        default: throw BenchFailure("run_failed", "ONNX Runtime's bindings take no \(type.rawValue)")
        }
    }

    private static func elementType(_ type: ORTTensorElementDataType) throws -> ElementType {
        switch type {
        case .float: return .float32
        case .int8: return .int8
        case .uInt8: return .uint8
        case .int32: return .int32
        case .uInt32: return .uint32
        case .int64: return .int64
        case .uInt64: return .uint64
        default: throw BenchFailure("run_failed", "an output has ONNX Runtime's element type \(type.rawValue)")
        }
    }
}
