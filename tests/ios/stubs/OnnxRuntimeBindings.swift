// The part of ONNX Runtime's Objective-C bindings that the app uses, as Swift sees it, by signature only.
import Foundation

public enum ORTLoggingLevel: Int32 { case verbose, info, warning, error, fatal }
public enum ORTTensorElementDataType: Int32 { case undefined, float, int8, uInt8, int32, uInt32, int64, uInt64, string }

public func ORTVersion() -> String? { nil }
public func ORTIsCoreMLExecutionProviderAvailable() -> Bool { false }

public class ORTEnv: NSObject {
    public init(loggingLevel: ORTLoggingLevel) throws {}
}

public class ORTCoreMLExecutionProviderOptions: NSObject {}

public class ORTSessionOptions: NSObject {
    public init(_: Void = ()) throws {}
    public func setIntraOpNumThreads(_ threads: Int32) throws {}
    public func appendCoreMLExecutionProvider(with options: ORTCoreMLExecutionProviderOptions) throws {}
}

public class ORTRunOptions: NSObject {}

public class ORTTensorTypeAndShapeInfo: NSObject {
    public var elementType: ORTTensorElementDataType { .undefined }
    public var shape: [NSNumber] { [] }
}

public class ORTValue: NSObject {
    public init(tensorData: NSMutableData, elementType: ORTTensorElementDataType, shape: [NSNumber]) throws {}
    public func tensorTypeAndShapeInfo() throws -> ORTTensorTypeAndShapeInfo { ORTTensorTypeAndShapeInfo() }
    public func tensorData() throws -> NSMutableData { NSMutableData() }
}

public class ORTSession: NSObject {
    public init(env: ORTEnv, modelPath: String, sessionOptions: ORTSessionOptions?) throws {}
    public func inputNames() throws -> [String] { [] }
    public func outputNames() throws -> [String] { [] }
    public func run(withInputs inputs: [String: ORTValue], outputNames: Set<String>, runOptions: ORTRunOptions?) throws -> [String: ORTValue] { [:] }
}
