// The part of Core ML that the app uses, by signature only: the compiler checks calls against it where Apple's is absent.
import Foundation

public enum MLComputeUnits: Int, Sendable { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }

public class MLModelConfiguration: NSObject {
    public var computeUnits: MLComputeUnits = .all
}

public enum MLMultiArrayDataType: Int, Sendable { case double, float64, float32, float16, float, int32 }

public class MLMultiArray: NSObject {
    public let shape: [NSNumber]
    public let strides: [NSNumber]
    public let dataType: MLMultiArrayDataType
    public let count: Int
    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws { fatalError() }
    public func withUnsafeMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R) rethrows -> R { fatalError() }
    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { fatalError() }
}

public class MLFeatureValue: NSObject {
    public init(multiArray: MLMultiArray) {}
    public var multiArrayValue: MLMultiArray? { nil }
}

public protocol MLFeatureProvider {
    func featureValue(for name: String) -> MLFeatureValue?
}

public class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    public func featureValue(for name: String) -> MLFeatureValue? { nil }
}

public class MLMultiArrayConstraint: NSObject {
    public var shape: [NSNumber] { [] }
    public var dataType: MLMultiArrayDataType { .float32 }
}

public class MLFeatureDescription: NSObject {
    public var name: String { "" }
    public var multiArrayConstraint: MLMultiArrayConstraint? { nil }
}

public class MLModelDescription: NSObject {
    public var inputDescriptionsByName: [String: MLFeatureDescription] { [:] }
    public var outputDescriptionsByName: [String: MLFeatureDescription] { [:] }
}

public class MLModel: NSObject {
    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {}
    public class func compileModel(at url: URL) throws -> URL { url }
    public var modelDescription: MLModelDescription { MLModelDescription() }
    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { fatalError() }
}

public final class MLCPUComputeDevice: NSObject, Sendable {}
public final class MLGPUComputeDevice: NSObject, Sendable {}
public final class MLNeuralEngineComputeDevice: NSObject, Sendable {}

public enum MLComputeDevice: Sendable {
    case cpu(MLCPUComputeDevice)
    case gpu(MLGPUComputeDevice)
    case neuralEngine(MLNeuralEngineComputeDevice)
}

public enum MLModelStructure: Sendable {
    public struct Program: Sendable {
        public struct Operation: Sendable {}
        public struct Block: Sendable { public let operations: [Operation] }
        public struct Function: Sendable { public let block: Block }
        public let functions: [String: Function]
    }
    case program(Program)
    case unsupported
}

public final class MLComputePlan: Sendable {
    public struct DeviceUsage: Sendable {
        public let preferred: MLComputeDevice
        public let supported: [MLComputeDevice]
    }
    init(modelStructure: MLModelStructure) { self.modelStructure = modelStructure }
    public let modelStructure: MLModelStructure
    public class func load(contentsOf url: URL, configuration: sending MLModelConfiguration) async throws -> MLComputePlan { fatalError() }
    public func deviceUsage(for operation: MLModelStructure.Program.Operation) -> DeviceUsage? { nil }
}
